"""Coordinate search: the best point of a grid without measuring all of it.

Coordinate search: from a point that loads the server well, one dimension after another (batch
size, instances, backend parameters, concurrency, ...) is followed in the direction that gains, up
to the knee where a further step gains less than `KNEE`. It ends when no single step gains. A
goal that is not throughput alone starts from the best so far and from the most frugal variant.
What more in flight, or a larger batch, would only make later than a limit that is missed already is
not tried; less in flight of the same variant is tried last for throughput, since it seldom gives
more.
The store is the memory: what is known is never asked for again, and an interrupted search goes on
where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from analyzer.measure.grid import Point
from profiles.measurement import Measurement

Goal = Literal["throughput", "efficiency", "pareto"]
Score = Callable[[Measurement], float]
Coordinates = tuple[str, ...]
Figure = str  # of a measurement, that a limit is on: latency, first_response, between_responses


KNEE = 0.03  # a step that gains less is noise, or past the knee
SURELY = 1.1  # times the limit: more load would only be later still


@dataclass(frozen=True)
class Search:
    """The goal of a search, in place of measuring the whole grid."""

    goal: Goal = "throughput"
    latency_limit_ms: float | None = None
    latency_percentile: int = 95
    first_response_limit_ms: float | None = None  # of decoupled models
    between_responses_limit_ms: float | None = None

    @property
    def limits_ms(self) -> dict[Figure, float]:
        """By what they limit, the limits that are set."""
        limits = {
            "latency": self.latency_limit_ms,
            "first_response": self.first_response_limit_ms,
            "between_responses": self.between_responses_limit_ms,
        }
        return {figure: limit for figure, limit in limits.items() if limit is not None}


def next_point(
    grid: Sequence[Point],
    known: Mapping[Point, Measurement],
    goal: Goal = "throughput",
    latency_limit_ms: float | None = None,
    percentile: int = 95,
    limits_ms: Mapping[Figure, float] | None = None,
) -> Point | None:
    """The point of one model's grid to measure next; None when the search is over.

    Parameters
    ----------
    grid
        Every point of one model; values of a dimension in the order of the grid.
    known
        What was measured of them so far, failures included.
    goal
        `throughput`: most inferences per second; `efficiency`: most of them per share of memory
        and per share of utilization; `pareto`: both, which is what placement chooses from.
    latency_limit_ms
        At `percentile` of latency; a point above it is worse than any below it.
    limits_ms
        The same for several figures, by name; see `Search.limits_ms`.
    """
    space = _Space(grid)
    limits = dict(limits_ms or {})
    if latency_limit_ms is not None:
        limits["latency"] = latency_limit_ms
    late = [
        space.place(point)
        for point, m in known.items()
        if m.status == "ok" and SURELY < _lateness(m, limits, percentile) < math.inf
    ]
    most = len(space.values[-1]) - 1
    starts = [space.start((most + 1) // 2 if limits else most)]
    for number, score in enumerate(_scores(goal, limits, percentile)):
        summits = []
        for start in starts:
            best = start
            if best not in known:
                return best
            while True:
                # Only throughput is sure to grow with what is in flight.
                grows = number == 0 and goal != "efficiency"
                better, ask = _step(space, best, known, score, late, grows)
                if ask is not None:
                    return ask
                if better is None:
                    break
                best = better
            summits.append(best)
            if limits and score(known[best]) <= 0 and len(starts) == 1:
                starts.append(space.start(0))  # all around the middle is too late
        starts = [summits[0], space.frugal()]  # the next score is efficiency
    return None


class _Space:
    """A grid as coordinates: for each dimension the values in their order."""

    def __init__(self, grid: Sequence[Point]) -> None:
        self.at = {coordinates(point): point for point in grid}
        self.values = [list(dict.fromkeys(column)) for column in zip(*self.at, strict=True)]

    def start(self, load: int) -> Point:
        """The middle of every dimension, at the given index of loads.

        The most in flight shows what the server can do: starting from little, a second instance
        would look useless. Under a latency limit that would be far from where it is kept.
        """
        wanted = [values[(len(values) - 1) // 2] for values in self.values]
        wanted[-1] = self.values[-1][load]
        return self._nearest(wanted)

    def frugal(self) -> Point:
        """The first value of every variant setting, at the middle batch size and highest load."""
        wanted = [values[0] for values in self.values]
        wanted[0] = self.values[0][(len(self.values[0]) - 1) // 2]
        wanted[-1] = self.values[-1][-1]
        return self._nearest(wanted)

    def _nearest(self, wanted: Sequence[str]) -> Point:
        return max(
            self.at.items(),
            key=lambda item: sum(a == b for a, b in zip(item[0], wanted, strict=True)),
        )[1]

    def place(self, point: Point) -> tuple[int, ...]:
        """The point's index in each dimension."""
        return tuple(
            values.index(value)
            for values, value in zip(self.values, coordinates(point), strict=True)
        )

    def moved(self, point: Point, steps: Mapping[int, int]) -> Point | None:
        """The point that lies so many steps away by dimension, None beyond the grid's edge."""
        place = list(coordinates(point))
        for dimension, step in steps.items():
            values = self.values[dimension]
            index = values.index(place[dimension]) + step
            if not 0 <= index < len(values):
                return None
            place[dimension] = values[index]
        return self.at.get(tuple(place))

    def moves(self) -> Iterator[dict[int, int]]:
        """Single steps, then combined ones, such as a larger batch at lower concurrency.

        Larger batches with fewer in flight keep a latency limit, some only with more threads; a
        second instance needs more in flight before it gains.
        """
        load = len(self.values) - 1
        for dimension in range(len(self.values)):
            yield {dimension: 1}
            yield {dimension: -1}
        for dimension in range(load):
            yield {dimension: 1, load: -1}
            yield {dimension: 1, load: 1}
            yield {dimension: -1, load: 1}
        for dimension in range(1, load):
            yield {0: 1, dimension: 1, load: -1}


def coordinates(point: Point) -> Coordinates:
    """Where a point lies: client batch size, what the variant sets, and last the load."""
    variant, load = point.variant, point.load
    return (
        str(load.batch_size),
        str(variant.max_batch_size),
        str(variant.dynamic_batching),
        str(variant.instance_count),
        *(value for _, value in variant.parameters),
        str(variant.rate_limiter),
        str(variant.warm_up),
        str(variant.host_policy),
        *(str(member) for member in variant.members),
        str(load.concurrency if load.request_rate is None else load.request_rate),
    )


def _step(
    space: _Space,
    best: Point,
    known: Mapping[Point, Measurement],
    score: Score,
    late: Sequence[tuple[int, ...]],
    grows: bool,
) -> tuple[Point | None, Point | None]:
    """A known better neighbour, or else a neighbour to measure; both None at a summit."""
    reached, last = score(known[best]), len(space.values) - 1
    moves = list(space.moves())
    if grows and reached > 0:  # less in flight of the same variant seldom gives more: it comes last
        moves.sort(key=lambda m: all(s < 0 for s in m.values()) and m.keys() <= {0, last})
    for steps in moves:
        near = space.moved(best, steps)
        if near is None:
            continue
        if near in known:
            if score(known[near]) > reached + abs(reached) * KNEE:
                return near, None
            continue
        place = space.place(near)
        if any(_above(place, other) for other in late):
            continue
        return None, near
    return None, None


def _above(place: Sequence[int], other: Sequence[int]) -> bool:
    """Whether a place has the variant of another, and no smaller a batch and load."""
    return (
        place[0] >= other[0] and place[-1] >= other[-1] and tuple(place[1:-1]) == tuple(other[1:-1])
    )


def _lateness(m: Measurement, limits: Mapping[Figure, float], percentile: int) -> float:
    """The greatest figure, as a multiple of its limit; infinite where one was not measured."""
    shares = [0.0]
    for name, limit in limits.items():
        figure = getattr(m, name)
        shares.append(math.inf if figure is None else figure.percentile(percentile) / limit)
    return max(shares)


def _scores(goal: Goal, limits: Mapping[Figure, float], percentile: int) -> list[Score]:
    def within(value: Callable[[Measurement], float]) -> Score:
        def score(measurement: Measurement) -> float:
            if measurement.status != "ok" or measurement.latency is None:
                return float("-inf")
            lateness = _lateness(measurement, limits, percentile)
            if lateness > 1:
                return -lateness
            return value(measurement)

        return score

    throughput = within(lambda m: m.throughput)
    per_memory = within(lambda m: m.throughput / max(1, m.usage.memory_hot_bytes if m.usage else 1))
    per_use = within(lambda m: m.throughput / _used_percent(m))
    return {
        "throughput": [throughput],
        "efficiency": [per_memory, per_use],
        "pareto": [throughput, per_memory, per_use],
    }[goal]


def _used_percent(measurement: Measurement) -> float:
    """Utilization in percent, at least 1; 100 where the device does not report it."""
    used = measurement.usage.utilization_percent if measurement.usage else None
    return 100.0 if used is None else max(1.0, used)
