"""The whole curve: what 1, 2, … N devices carry at most."""

from __future__ import annotations

from dataclasses import dataclass, replace

from placement.problem import PlacementProblem, Pool
from placement.result import Deadline, Status
from placement.solver import solve
from profiles.errors import InputError


@dataclass(frozen=True)
class Point:
    """The best that is known for so many devices."""

    devices: int
    price: float  # of the devices, used or not
    status: Status
    value: float | None = None  # as in Result
    bound: float | None = None
    throughput: float | None = None  # inferences per second of all models together


def frontier(problem: PlacementProblem, deadline: Deadline, seed: int = 0) -> list[Point]:
    """A point for every number of devices; the fleet's cheapest devices come first.

    Ends at the fleet's size, or, without one, where more devices carry no more. Raises InputError
    for a fleet without count whose growth factor has no end.
    """
    problem = replace(problem, objective="max-throughput")
    finite = all(pool.count is not None for pool in problem.pools)
    if not finite and problem.fairness == "max-min":
        raise InputError("--frontier with --fairness max-min needs a fleet of known size: --count.")
    most = (
        sum(pool.count or 0 for pool in problem.pools)
        if finite
        else sum(1 for _ in problem.copies())
    )
    points: list[Point] = []
    best = 0.0
    for devices in range(1, most + 1):
        pools, price = _cheapest(problem.pools, devices)
        share = deadline.left_s / (most - devices + 1)
        part = Deadline(share)
        deadline.watch(part.stop)
        result = solve(replace(problem, pools=pools), seed=seed, deadline=part)
        deadline.unwatch(part.stop)
        throughput = sum(result.layout.rates().values()) if result.layout else None
        points.append(Point(devices, price, result.status, result.value, result.bound, throughput))
        if result.value is not None:
            full = problem.fairness == "sum" and result.value >= _all(problem) - 1e-9
            if full and not finite:
                break
            best = max(best, result.value)
    return points


def _all(problem: PlacementProblem) -> float:
    """The weighted sum when every model runs in full."""
    return sum(model.weight for _, model in problem.copies())


def _cheapest(pools: tuple[Pool, ...], devices: int) -> tuple[tuple[Pool, ...], float]:
    left, price, chosen = devices, 0.0, {}
    for pool in sorted(pools, key=lambda p: p.price):
        take = left if pool.count is None else min(left, pool.count)
        chosen[pool.name] = take
        price += take * pool.price
        left -= take
    # A pool that keeps its count of one keeps its name; a cut one numbers its devices.
    return tuple(_cut(pool, chosen[pool.name]) for pool in pools if chosen[pool.name]), price


def _cut(pool: Pool, take: int) -> Pool:
    if pool.count == take:
        return pool
    if take == 1:
        return replace(pool, name=f"{pool.name}-1", count=1)
    return replace(pool, count=take)
