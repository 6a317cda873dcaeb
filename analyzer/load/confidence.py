"""Confidence intervals of throughput and latency.

Methods, for a series of completed requests in order of completion:

- Throughput: its inverse is the mean time between completions, whose confidence interval comes
  from non-overlapping batch means with Student's t (Law, "Simulation Modeling and Analysis",
  section 9.5). Batches hold at least as many requests as are in flight, since those that are
  served together complete together.
- Latency percentile: the order statistics whose ranks enclose it with 95 % by the binomial
  distribution's normal approximation (Conover, "Practical Nonparametric Statistics", section 3.2),
  with the number of requests reduced to that of independent ones by lag-one autocorrelation.
- Few requests, as slow models answer: completions that come together are one group, and the rate
  is a ratio of sums over groups, whose interval comes from the groups' residuals with Student's t
  (Law, section 9.5.3); that of latency is the mean's.
"""

from __future__ import annotations

import math

import numpy as np

from analyzer.load.steady_state import Floats, SteadyStateRule
from profiles.measurement import Confidence

BATCHES = 20
Z_95 = 1.959964  # two-sided 95 % of the normal distribution
T_95 = 2.093024  # of Student's t with 19 degrees of freedom: 20 batches
T_95_FEW = (  # by degrees of freedom, from one
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
)  # fmt: skip
TOGETHER = 0.25  # of the mean time between completions: less, and they came together
FEWEST_GROUPS = 3  # after the warm-up, of a slow model: what an interval can be said of


def throughput_half_width(ends: Floats, in_flight: int) -> float:
    """Relative half-width of the 95 % interval of the completion rate; infinite if unknown."""
    size = (len(ends) - 1) // BATCHES
    if size < 1 or size * BATCHES < 2 * in_flight:
        return math.inf
    edges = ends[-(size * BATCHES + 1) :: size]
    spans = np.diff(edges)
    mean = float(spans.mean())
    if mean <= 0:
        return math.inf
    return T_95 * float(spans.std(ddof=1)) / math.sqrt(BATCHES) / mean


def groups(ends: Floats) -> tuple[Floats, Floats]:
    """Completions that came together as one: the time since the group before, and their number.

    The first completion opens the span and belongs to none.
    """
    gaps = np.diff(ends)
    if len(gaps) == 0 or ends[-1] <= ends[0]:
        return np.zeros(0), np.zeros(0)
    starts = np.flatnonzero(gaps > TOGETHER * gaps.mean())
    sizes = np.diff(np.append(starts, len(gaps)))
    edges = ends[np.append(starts, len(gaps))]
    return np.diff(edges), sizes.astype(np.float64)


def few_half_widths(ends: Floats, latencies: Floats) -> tuple[float, float]:
    """Relative half-widths for throughput and mean latency of few requests; infinite if unknown.

    `ends` has the completion that opens the span before those that `latencies` are of.
    """
    spans, sizes = groups(ends)
    count = len(spans)
    if count < FEWEST_GROUPS:
        return math.inf, math.inf
    quantile = T_95_FEW[min(count - 1, len(T_95_FEW)) - 1]
    residuals = sizes - sizes.sum() / spans.sum() * spans
    rate = quantile * math.sqrt(count * float(residuals @ residuals) / (count - 1)) / sizes.sum()
    # Those of one group met the same load: there are as many independent ones as groups.
    spread = float(latencies.std(ddof=1)) / math.sqrt(count) / float(latencies.mean())
    return float(rate), quantile * spread


def percentile_half_width(latencies: Floats, percentile: int) -> float:
    """Relative half-width of the 95 % interval of a latency percentile; infinite if unknown."""
    share = percentile / 100
    total = len(latencies)
    effective = independent(latencies)
    if effective < 2:
        return math.inf
    spread = Z_95 * math.sqrt(share * (1 - share) / effective)
    low, high = share - spread, share + spread
    if high >= 1 + 0.5 / total or low <= 0:
        return math.inf  # too few requests beyond the percentile to enclose it
    ordered = np.sort(latencies)
    bounds = np.quantile(ordered, [low, min(high, 1.0), share])
    return float((bounds[1] - bounds[0]) / 2 / bounds[2])


def independent(latencies: Floats) -> float:
    """As many independent observations as the series is worth, by its lag-one autocorrelation."""
    return len(latencies) * _independence(latencies)


def _independence(series: Floats) -> float:
    """Share of independent observations in a series, from its lag-one autocorrelation."""
    centred = series - series.mean()
    variance = float((centred * centred).sum())  # `@` would wake threads of BLAS's for long series
    if len(series) < 3 or variance <= 0:
        return 1.0
    lag_one = float((centred[:-1] * centred[1:]).sum()) / variance
    return (1 - lag_one) / (1 + lag_one) if lag_one > 0 else 1.0


def confidence(
    ends: Floats, latencies: Floats, in_flight: int, rule: SteadyStateRule, *, few: bool = False
) -> Confidence:
    """Confidence intervals of throughput and of the rule's latency percentile.

    `few` says what can be said where there are too few requests for the usual intervals.
    """
    throughput = throughput_half_width(ends, in_flight)
    latency = percentile_half_width(latencies, rule.latency_percentile)
    windows = BATCHES
    if few and math.isinf(throughput):
        throughput, mean = few_half_widths(ends, latencies)
        latency = mean if math.isinf(latency) and rule.latency_percentile == 50 else latency
        windows = len(groups(ends)[0])
    return Confidence(
        throughput=min(throughput, 1.0),
        latency=min(latency, 1.0),
        latency_percentile=rule.latency_percentile,
        windows=windows,
        reached=max(throughput, latency) <= rule.relative_half_width,
    )
