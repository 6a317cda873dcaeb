"""The whole curve: what 1, 2, … N devices carry at most, or cost at least."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from placement.layout import Layout
from placement.problem import PlacementProblem
from placement.problem.fleet import Places, wanted
from placement.solver.result import Deadline, Result, Status
from placement.solver.solve import solve
from profiles.errors import InputError

MOST = 256  # devices of a fleet without an end


@dataclass(frozen=True)
class Point:
    """The best that is known for at most so many devices, whichever of the fleet they are."""

    devices: int
    status: Status
    value: float | None = None  # as in Result: relative throughput, or price
    bound: float | None = None
    throughput: float | None = None  # inferences per second of all models together
    price: float | None = None  # of the devices in use
    used: dict[str, int] = field(default_factory=dict)  # devices in use, by pool type


def frontier(
    problem: PlacementProblem, deadline: Deadline, seed: int = 0, workers: int | None = None
) -> list[Point]:
    """A point for every number of devices up to the fleet's size.

    Without such a size the curve ends where more devices do no more. A layout for fewer devices
    is one for more, and a bound for more is one for fewer: no point is worse than its neighbour.
    Raises InputError for max-throughput on a fleet without count whose growth has no end.
    """
    flexible = problem.objective == "max-throughput"
    finite = all(pool.count is not None for pool in problem.pools)
    if flexible and not finite:
        if problem.fairness == "max-min":
            raise InputError(
                "--frontier with --fairness max-min needs a fleet of known size: --count."
            )
        enough = wanted(replace(problem, objective="min-hardware"))
        pools = tuple(
            replace(pool, count=min(MOST, enough)) if pool.count is None else pool
            for pool in problem.pools
        )
        problem = replace(problem, pools=pools)
    size = sum(pool.count or 0 for pool in problem.pools) if finite or flexible else MOST
    size = size if problem.max_devices is None else min(size, problem.max_devices)
    # The whole fleet first: nothing does better than its bound.
    part = deadline.part(1 / 3)
    best = solve(problem, seed=seed, deadline=part, tie_break=False, workers=workers)
    results: list[Result] = []
    for devices in range(1, size + 1):
        asked = replace(problem, max_devices=devices)
        before = results[-1] if results else None
        if before is not None and _reaches(before, best, flexible):
            if not finite or devices > MOST:
                break
            results.append(before)
            continue
        result = Result("unknown")
        if deadline.left_s > 0:
            part = deadline.part(1 / (size - devices + 1))
            result = solve(asked, seed=seed, deadline=part, tie_break=False, workers=workers)
        elif devices > MOST:
            break
        for other in (before, best if best.layout and best.layout.gpu_count <= devices else None):
            result = _better(result, other, flexible)
        results.append(result)
    return _points(problem, results, best, flexible)


def _reaches(result: Result, best: Result, flexible: bool) -> bool:
    """Whether the layout is as good as any on the whole fleet."""
    if result.value is None or best.bound is None:
        return best.status == "infeasible"
    if flexible:
        return result.value >= best.bound * (1 - 1e-9)
    return result.value <= best.bound + 1e-9


def _better(result: Result, other: Result | None, flexible: bool) -> Result:
    """The result with the other's layout where that is better."""
    if other is None or other.value is None or result.status == "optimal":
        return result
    worse = result.value is None or (
        other.value > result.value if flexible else other.value < result.value
    )
    if not worse:
        return result
    return replace(result, status="feasible", layout=other.layout, value=other.value)


def _used(problem: PlacementProblem, layout: Layout) -> dict[str, int]:
    """Devices in use by the type that they are as a whole."""
    places = Places(problem)
    found = [places.find(name) for name in {d.parent or d.name for d in layout.devices}]
    return dict(sorted(Counter(place.pool.device_type for place in found if place).items()))


def _dearest(problem: PlacementProblem, devices: int) -> float:
    """The price that no layout of so many devices exceeds, without end where moves cost, too."""
    if problem.move_price or problem.repair:
        return float("inf")
    prices = [
        price
        for pool in problem.pools
        for price in [pool.price] * min(devices, pool.count or devices)
    ]
    return float(sum(sorted(prices, reverse=True)[:devices]))


def _points(
    problem: PlacementProblem, results: list[Result], best: Result, flexible: bool
) -> list[Point]:
    points: list[Point] = []
    bound = best.bound
    for devices in range(len(results), 0, -1):
        result = results[devices - 1]
        if result.bound is not None:
            pick = min if flexible else max
            bound = result.bound if bound is None else pick(bound, result.bound)
        status, value, layout = result.status, result.value, result.layout
        # The bound holds for fewer devices, too: what costs more than all of them does not exist.
        dearest = float("inf") if flexible or bound is None else _dearest(problem, devices)
        if status == "unknown" and bound is not None and bound > dearest + 1e-9:
            status = "infeasible"
        if value is not None and bound is not None and status == "feasible":
            reached = value >= bound * (1 - 1e-9) if flexible else value <= bound + 1e-9
            status = "optimal" if reached else status
        points.append(
            Point(
                devices,
                status,
                value,
                None if status == "infeasible" else bound,
                sum(layout.rates().values()) if layout else None,
                layout.price if layout else None,
                _used(problem, layout) if layout else {},
            )
        )
    return points[::-1]
