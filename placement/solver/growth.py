"""A first layout for most throughput, from a plan that is packed onto the fleet.

A plan says with which options and shares each model runs; the relaxation that gives the bound gives
it for free (`aggregate.py`). What it leaves out, that devices are whole, is a packing. A plan for a
little less than the fleet has (the sum), or for a little less than the bound (max-min: a rate of f
times each model's reference, f found by bisection), leaves the packing some air.

With f fixed the relaxation is much tighter than with f to be raised, since it counts replicas that
carry little as whole ones: so f is bisected for the bound as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from placement.problem import PlacementProblem
from placement.problem.colocation import Scale
from placement.problem.fleet import Unit
from placement.problem.options import reference
from placement.solver import planned
from placement.solver.aggregate import melt
from placement.solver.assignment import Replica
from placement.solver.heuristics import construct
from placement.solver.improve import worth
from placement.solver.result import Deadline
from placement.solver.shares import polish

TOLERANCE = 1e-5  # of a solver that counts in floats
LEAST = 1e-3  # of a factor: about standing by
FIRST = 0.06  # part of the bound that the first attempt gives up
SIMPLE = (0.8, 0.6, 0.4, 0.2)  # parts of the bound that one replica of each model may carry
CLOSE = 0.004  # parts of the bound that are not told apart any more
AIR = (0.02, 0.0, 0.05)  # parts of the capacities that plans for a factor leave free
TIGHTER, LOOSER = (0.02, 0.01, 0.005), (0.04, 0.07, 0.12, 0.2)  # likewise, for the sum
PART = 0.2  # of the time left, for one plan
TRY = 0.1  # of the time left, for one packing: those that come out do so soon

Plan = Mapping[str, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class Grown:
    """A layout and a bound of the objective, which may be lower than the one that was given."""

    replicas: tuple[Replica, ...] | None
    bound: float


def grow(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    bound: float,
    deadline: Deadline,
    seed: int = 0,
) -> Grown:
    """The best layout of some plans; None when even standing by was not found to fit."""
    if problem.fairness == "sum":
        best: tuple[Replica, ...] | None = None
        if planned.applies(problem):
            best = _sum(problem, scale, fleet, deadline, seed)
        return Grown(best or _least_of_all(problem, scale, fleet, deadline, seed), bound)
    low = 0.0
    best = None
    for part in SIMPLE if planned.applies(problem) else ():  # a footing, at little cost
        asked = asking(problem, part * bound)
        plan = planned.alone(asked)
        if plan:
            best = planned.settle(asked, scale, fleet, plan, deadline.part(TRY), seed)
        if best is not None:
            low = part * bound
            break
    bound = _refute(problem, scale, fleet, low, bound, deadline.part(0.4))
    high, step = bound, FIRST * bound
    factor = max(high - step, (low + high) / 2)
    while high - low > CLOSE * bound and deadline.left_s > 0 and factor > LEAST:
        found = _carry(asking(problem, factor), scale, fleet, deadline, seed)
        if found is not None:
            best, low = found, factor
            factor = (low + high) / 2
        else:
            high, step = factor, step * 2
            factor = (low + high) / 2 if low else high - step
    return Grown(best or _least_of_all(problem, scale, fleet, deadline, seed), bound)


def _refute(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    low: float,
    bound: float,
    deadline: Deadline,
) -> float:
    """A lower bound of the factor, by bisection: what melted devices do not carry, no devices do.

    With the factor fixed, whole replicas count: one that carries a part takes its whole memory.
    """
    high = bound
    factor = bound * (1 - CLOSE)
    while deadline.left_s > 0 and high - low > CLOSE * high:
        if melt(asking(problem, factor), scale, fleet, deadline.part(0.2)) is None:
            high = factor * (1 + TOLERANCE)
        else:
            low = factor
        factor = (low + high) / 2
    return high


def _least_of_all(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline, seed: int
) -> tuple[Replica, ...] | None:
    return _carry(asking(problem, LEAST), scale, fleet, deadline, seed)


def asking(problem: PlacementProblem, factor: float) -> PlacementProblem:
    """The least hardware that carries `factor` times each model's reference."""
    return replace(
        problem,
        objective="min-hardware",
        models=tuple(
            replace(model, rate=reference(model) * factor) if reference(model) else model
            for model in problem.models
        ),
        move_price=0.0,
    )


def _sum(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline, seed: int
) -> tuple[Replica, ...] | None:
    """The best layout of plans that leave less and less free, or more where none can be packed."""
    best: tuple[Replica, ...] | None = None
    for airs in (TIGHTER, LOOSER):
        for air in airs:
            if deadline.left_s <= 0:
                return best
            melted = melt(leaving(problem, air), scale, fleet, deadline.part(PART))
            if melted is None:
                break
            part = deadline.part(PART)
            packed = planned.settle(problem, scale, fleet, melted.plan, part, seed, merged=True)
            if packed:
                found = polish(problem, scale, fleet, packed)
                if best is None or worth(problem, fleet, found) > worth(problem, fleet, best):
                    best = found
            if bool(packed) == (airs is LOOSER):
                break
        if best is not None:
            break
    return best


def _carry(
    asked: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline, seed: int
) -> tuple[Replica, ...] | None:
    """Replicas that carry what is asked."""
    packs = planned.applies(asked)
    for air in AIR:
        melted = melt(leaving(asked, air), scale, fleet, deadline.part(PART))
        if melted is None and air == 0.0:
            return None
        if melted is None:
            continue
        plan = melted.plan or (planned.alone(asked) if packs else None)
        if not plan:
            break
        if packs:
            found = planned.settle(asked, scale, fleet, plan, deadline.part(TRY), seed)
        else:
            found = construct(asked, scale, fleet, deadline.part(PART), seed, plan)
        if found is not None:
            return found
    return construct(asked, scale, fleet, deadline.part(TRY), seed)


def leaving(problem: PlacementProblem, air: float) -> PlacementProblem:
    """The problem with so much of every capacity left free."""
    return replace(
        problem,
        types=tuple(
            replace(kind, capacity={n: c * (1 - air) for n, c in kind.capacity.items()})
            for kind in problem.types
        ),
    )
