"""When a latency percentile is known, and by how much it may be greater than it was seen.

The upper confidence limit is an order statistic (Conover, "Practical Nonparametric Statistics",
section 3.2): with t the greatest number for which P(Binomial(n, 1 - q) <= t) is at most
1 - CONFIDENCE, the (t + 1)-th greatest of n latencies is at least the percentile q with that
confidence. As in MLPerf's early stopping (Reddi et al., "MLPerf Inference Benchmark", ISCA 2020;
rules of LoadGen) one request at least must have taken longer: 11 are needed for p50, 64 for p90,
130 for p95, 662 for p99.
"""

from __future__ import annotations

from functools import cache
from math import exp, log, sqrt

CONFIDENCE = 0.99  # one-sided
Z_99 = 2.326348  # one-sided 99 % of the normal distribution
MANY = 100_000  # requests from which the binomial distribution is taken as normal


def longer(requests: float, percentile: int) -> int | None:
    """So many of the longest latencies lie above the upper limit; None: too few requests.

    `requests` may be fractional: as many independent ones as they are worth.
    """
    over = 1 - percentile / 100
    if requests > MANY:
        return int(requests * over - Z_99 * sqrt(requests * over * (1 - over)))
    term = requests * log(1 - over)  # the logarithm of the probability of t
    total, t = exp(term), 0
    while total <= 1 - CONFIDENCE:
        term += log((requests - t) / (t + 1) * over / (1 - over)) if requests > t else -1e9
        t += 1
        total += exp(term)
    return t - 1 if t > 1 else None


@cache
def requests_needed(percentile: int) -> int:
    """The fewest independent requests from which the percentile has an upper limit."""
    requests = 1
    while longer(requests, percentile) is None:
        requests += 1
    return requests
