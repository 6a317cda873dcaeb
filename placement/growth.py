"""A first layout for most throughput, from a plan that is packed onto the fleet.

A plan says with which options and shares each model runs; the relaxation that gives the bound gives
it for free (`aggregate.py`). What it leaves out, that devices are whole, is a packing. A plan for a
little less than the fleet has (the sum), or for a little less than the bound (max-min: a rate of f
times each model's reference, f found by bisection), leaves the packing some air.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from placement import planned
from placement.aggregate import melt
from placement.assignment import Replica
from placement.colocation import Scale
from placement.fleet import Unit
from placement.heuristics import construct
from placement.improve import worth
from placement.options import reference
from placement.problem import PlacementProblem
from placement.result import Deadline
from placement.shares import polish

LEAST = 1e-3  # of a factor: about standing by
FIRST = 0.06  # part of the bound that the first attempt gives up
CLOSE = 0.004  # parts of the bound that are not told apart any more
AIR = (0.0, 0.02, 0.05)  # parts of the capacities that plans for a factor leave free
SUM_AIR = (0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2)  # likewise, for the sum
ENOUGH = 2  # plans that were packed
PART = 0.15  # of the time left, for one packing or one plan

Plan = Mapping[str, tuple[tuple[int, int], ...]]


def grow(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    bound: float,
    deadline: Deadline,
    seed: int = 0,
) -> tuple[Replica, ...] | None:
    """The best layout of some plans; None when even standing by fits nowhere."""
    if problem.fairness == "sum" and planned.applies(problem):
        best = _sum(problem, scale, fleet, deadline, seed)
        if best is not None:
            return best
    high = bound if problem.fairness == "max-min" else 1.0
    low, step = 0.0, FIRST * high
    best = None
    factor = high - step
    while high - low > CLOSE * bound and deadline.left_s > 0 and factor > LEAST:
        found = _carry(problem, scale, fleet, factor, deadline, seed)
        if found is not None:
            best, low = found, factor
            factor = (low + high) / 2
        else:
            high, step = factor, step * 2
            factor = (low + high) / 2 if low else high - step
    if best is None:
        best = _carry(problem, scale, fleet, LEAST, Deadline(max(1.0, deadline.left_s)), seed)
    return best


def _sum(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline, seed: int
) -> tuple[Replica, ...] | None:
    """The best layout of the first plans that can be packed: later ones ask for less."""
    found: list[tuple[Replica, ...]] = []
    for air in SUM_AIR:
        if deadline.left_s <= 0 or len(found) >= ENOUGH:
            break
        melted = melt(leaving(problem, air), scale, fleet, deadline.part(PART))
        if melted is None:
            break
        part = deadline.part(PART)
        packed = planned.settle(problem, scale, fleet, melted.plan, part, seed, merged=True)
        if packed:
            found.append(polish(problem, scale, fleet, packed))
    return max(found, key=lambda replicas: worth(problem, fleet, replicas), default=None)


def _carry(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    factor: float,
    deadline: Deadline,
    seed: int,
) -> tuple[Replica, ...] | None:
    """Replicas that carry `factor` times each model's reference."""
    asked = replace(
        problem,
        objective="min-hardware",
        models=tuple(
            replace(model, rate=reference(model) * factor) if reference(model) else model
            for model in problem.models
        ),
        move_price=0.0,
    )
    for air in AIR:
        melted = melt(leaving(asked, air), scale, fleet, deadline.part(PART))
        if melted is None:
            break
        if planned.applies(asked):
            found = planned.settle(asked, scale, fleet, melted.plan, deadline.part(PART), seed)
        else:
            found = construct(asked, scale, fleet, deadline.part(PART), seed, melted.plan)
        if found is not None and worth(problem, fleet, found) >= 0.99 * factor:
            return found
    return construct(asked, scale, fleet, deadline.part(PART), seed)


def leaving(problem: PlacementProblem, air: float) -> PlacementProblem:
    """The problem with so much of every capacity left free."""
    return replace(
        problem,
        types=tuple(
            replace(kind, capacity={n: c * (1 - air) for n, c in kind.capacity.items()})
            for kind in problem.types
        ),
    )
