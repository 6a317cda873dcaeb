"""When a measurement may end: warm-up, drift, Little's law; confidence is in `confidence.py`.

Methods, for a series of completed requests in order of completion:

- Warm-up: MSER-5 (White, "An effective truncation heuristic for bias reduction in simulation
  output", Simulation 69(6), 1997): leave out as many leading batches of five latencies as make the
  standard error of the rest smallest.
- A percentile above the median that is asked for (`latency_percentile`) has its requests: as many
  as its upper confidence limit takes (`profiles/percentile.py`). The run goes on for these beyond
  its cap, `TAIL` times as long at most, and not where even that would be too short.
- Drift: the slope of the batch means of latency, by least squares with Student's t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MSER_BATCH = 5
BATCHES = 20
T_99_SLOPE = 2.878440  # two-sided 99 % of Student's t with 18 degrees of freedom
TAIL = 6.0  # times the cap
DRIFT = 0.10  # a change within the span that matters
LITTLE = 0.03  # how far throughput times latency may be from the concurrency


@dataclass(frozen=True)
class SteadyStateRule:
    """When a measurement may end."""

    relative_half_width: float = 0.05  # of the 95 % intervals of throughput and latency
    latency_percentile: int = 50  # the tail needs many times the requests of the median
    min_duration_s: float = 0.5
    max_duration_s: float = 10.0  # then the measurement ends, with the precision reached
    min_requests: int = 40
    answer_timeout_s: float = 60.0  # without any answer for so long the server hangs

    @property
    def tail_duration_s(self) -> float:
        """Until then a percentile above the median may wait for its requests, beyond the cap."""
        return TAIL * self.max_duration_s


def warm_up(latencies: Floats, in_flight: int) -> int | None:
    """The number of leading requests that are warm-up (MSER-5); None while not yet settled.

    The first `in_flight` requests always are: they met an idle server together.
    """
    batches = (len(latencies) - in_flight) // MSER_BATCH
    if batches < 4:
        return None
    means = latencies[in_flight : in_flight + batches * MSER_BATCH].reshape(-1, MSER_BATCH).mean(1)
    left = np.arange(batches, 0, -1)
    sums = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum(means[::-1] ** 2)[::-1]
    errors = np.maximum(squares - sums**2 / left, 0.0) / left**2
    candidates = errors[: batches // 2 + 1]
    cut = int(np.argmin(candidates))
    if cut == batches // 2 and batches > 8:
        return None  # the best cut is the last one allowed: it is still settling
    return in_flight + cut * MSER_BATCH


def in_flight_by_littles_law(ends: Floats, latencies: Floats) -> float:
    """Requests in flight as throughput times mean latency; the first completion opens the span.

    It equals the concurrency up to what the requests in flight at both ends of the span differ
    in age, so that a span which is too short, or in which latency drifts, shows here.
    """
    return float(latencies[1:].sum() / (ends[-1] - ends[0]))


def drift(latencies: Floats) -> str | None:
    """A note when latency drifted significantly and by more than `DRIFT`, else None."""
    size = len(latencies) // BATCHES
    if size < 1:
        return None
    means = latencies[-size * BATCHES :].reshape(BATCHES, size).mean(1)
    x = np.arange(BATCHES) - (BATCHES - 1) / 2
    slope = float(x @ means / (x @ x))
    residuals = means - means.mean() - slope * x
    error = math.sqrt(float(residuals @ residuals) / (BATCHES - 2) / float(x @ x))
    change = slope * BATCHES / float(means.mean())
    if abs(change) < DRIFT or abs(slope) < T_99_SLOPE * error:
        return None
    way = "rose" if change > 0 else "fell"
    return f"latency {way} by {abs(change):.0%} during the measurement"
