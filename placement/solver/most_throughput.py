"""The most throughput of a fleet: bound, start, improve; the least factor is raised by bisection.

The weighted sum is a matter of penalties: what a model does not carry of its reference costs its
weight. The least relative throughput is as large as the largest factor f for which a layout
carries f times every reference, which is asked as a question of demands that must be met.
"""

from __future__ import annotations

import math
from dataclasses import replace
from math import inf

from placement.problem import PlacementProblem
from placement.problem.fleet import Places, Unit, number_of_units, units, wanted
from placement.problem.options import reference
from placement.solver import exact
from placement.solver.best import Best
from placement.solver.improve import improve
from placement.solver.incumbent import Incumbent
from placement.solver.instance import compile_instance
from placement.solver.least_hardware import Answer
from placement.solver.parallel import improve_on
from placement.solver.plan import pack, plan
from placement.solver.relaxation import Relaxation, relax
from placement.solver.result import Deadline
from placement.solver.shares import settle
from placement.solver.start import by_value, construct, seat_replicas

EXACT = 1_500  # 0/1 variables up to which the compact model is asked first
EFFORT = 3.0  # CP-SAT's deterministic seconds for that
LOOKED_AT = 20_000
CLOSE = 1e-5  # relative: values and bounds that are called equal; the result says so
STEP = 0.01  # of a factor, at which bisection ends
LOOSE, TIGHT = (0.06, 0.12, 0.2), (0.03, 0.02, 0.01, 0.005)  # parts left free by plans
AIRS = (0.02, 0.0)  # likewise, of plans for a factor
PART = 0.4  # of the time left, for one packing
LITTLE = 0.02  # of every reference, of a layout to start from
LEAST = 1e-4  # of the bound: about standing by


def most_throughput(
    best: Best, deadline: Deadline, seed: int, workers: int, *, first: bool = False
) -> Answer:
    """Search; layouts are offered to `best`. With `first` any layout will do."""
    problem = best.problem
    if not all(model.min_replicas == 0 or _can_run(problem, model) for model in problem.models):
        return Answer("infeasible", 0.0)
    many = number_of_units(problem, wanted(problem)) > LOOKED_AT
    fleet = [] if many else units(problem, wanted(problem))
    number = LOOKED_AT + 1 if many else exact.size(problem, fleet)
    bound = inf
    if number <= EXACT:
        status, bound = _prove(best, fleet, deadline.part(0.5), bound, seed, EFFORT, 1)
        if status == "infeasible":
            return Answer("infeasible", 0.0)
        if _close(best, bound) or (first and best.value is not None):
            return _answer(best, bound)
    if problem.fairness == "max-min":
        relaxed = _raise_factor(best, deadline, seed, first=first)
    else:
        relaxed = _weighted_sum(best, deadline, seed, workers, first=first)
    bound = min(bound, relaxed)
    if best.value is None and bound < 0:
        return Answer("infeasible", 0.0)
    if not first and not _close(best, bound) and number <= LOOKED_AT:
        status, bound = _prove(best, fleet, deadline, bound, seed, None, workers)
        if status == "infeasible":
            return Answer("infeasible", 0.0)
    return _answer(best, bound)


def _answer(best: Best, bound: float) -> Answer:
    if best.value is None:
        return Answer("unknown", bound)
    return Answer("optimal" if _close(best, bound) else "feasible", max(bound, best.value))


def _can_run(problem: PlacementProblem, model: object) -> bool:
    del problem
    return bool(model.options)  # type: ignore[attr-defined]


def _close(best: Best, bound: float) -> bool:
    if best.value is None:
        return False
    grain = 2.0 / exact.FACTOR if best.problem.fairness == "max-min" else 0.0
    return best.value >= bound - max(CLOSE * abs(bound), grain)


def _offer(best: Best, work: Incumbent, method: str) -> bool:
    """The layout with its best shares."""
    items = work.instance.items
    if any(item.replicas and work.missing(i)[1] for i, item in enumerate(items)):
        return False
    replicas = work.replicas()
    places = Places(best.problem)
    kinds = {r.seat: places.find(r.seat).device_type for r in replicas}  # type: ignore[union-attr]
    settled = settle(best.problem, kinds, replicas)
    return best.offer(settled or replicas, method)


def _weighted_sum(best: Best, deadline: Deadline, seed: int, workers: int, *, first: bool) -> float:
    """The bound; below zero when there is no layout."""
    problem = best.problem
    weight = math.fsum(model.weight for _, model in problem.copies())
    instance = compile_instance(problem)
    relaxation = relax(instance, deadline.part(0.2), close=1e-5)
    bound = weight - relaxation.bound
    work = Incumbent(instance, relaxation, free_devices=True)
    work = _planned(work, deadline.part(0.4), seed)
    if work.absent.any():
        _stand_by(work, best, deadline.part(0.3), seed)
    _offer(best, work, "insertion by dual prices")
    if first and best.value is not None:
        return bound
    part = deadline.part(0.8)
    improve_on(workers, work, part, seed, target=relaxation.bound, patience=20_000)
    _offer(best, work, "large neighbourhood search")
    return bound


def _stand_by(work: Incumbent, best: Best, deadline: Deadline, seed: int) -> None:
    """Start from a layout that carries little, but has every replica that must be there."""
    standing = _standing(best, LITTLE, deadline, seed)
    if standing is not None:
        work.clear()
        seat_replicas(work, standing.replicas())
        for i in by_value(work):
            work.top_up(i)


def _planned(work: Incumbent, deadline: Deadline, seed: int) -> Incumbent:
    """The best of some plans that is packed: one that leaves much room, then ever tighter ones."""
    instance, relaxation = work.instance, work.relaxation
    best: Incumbent | None = None
    for airs in (LOOSE, TIGHT):
        for air in airs:
            planned = plan(work, air, deadline) if deadline.left_s > 0 else None
            if planned is None:
                break
            packed = Incumbent(instance, relaxation, free_devices=True)
            part = deadline.part(PART)
            found = pack(packed, planned, part, seed, first=True)
            if found and (best is None or packed.cost < best.cost):
                best = packed
            if found == (airs is LOOSE):
                break
    if best is not None:
        return best
    _build(work, relaxation, deadline)
    return work


def _build(work: Incumbent, relaxation: Relaxation, deadline: Deadline) -> None:
    """Insert what the relaxation carries, the largest first; what it leaves out stands by."""
    items = work.instance.items
    carried = relaxation.values < work.penalties * (1 - 1e-9)
    parts = {i: float(carried[i]) for i, item in enumerate(items) if item.replicas or carried[i]}
    size = relaxation.values
    construct(work, sorted(parts, key=lambda i: -size[i]), deadline, parts=parts)
    construct(work, by_value(work), deadline)


def _raise_factor(best: Best, deadline: Deadline, seed: int, *, first: bool) -> float:
    """Bisection on the factor: what the relaxation refutes bounds it, what is found raises it."""
    problem = best.problem
    if not all(reference(model) for model in problem.models):
        zero = _carries(best, 0.0, deadline, seed)
        return 0.0 if zero or best.value is not None else inf
    high = _most_factor(problem, deadline.part(0.2))
    if high < 0:
        return -1.0
    low = 0.0
    step = 0.03
    found = _carries(best, LEAST * high, deadline.part(0.3), seed)
    if found and best.value is not None:
        low = best.value
    if first or best.value is None:
        return high
    factor = high * (1 - step)
    while deadline.left_s > 0 and high - max(low, 0) > STEP * high and not _close(best, high):
        if _carries(best, factor, deadline.part(0.3), seed):
            low = max(low, factor, best.value or 0.0)
            if factor >= high * (1 - STEP / 2):
                break
            factor = (
                (low + high) / 2
                if low > high * (1 - 2 * step)
                else min(high * (1 - STEP / 2), (low + high) / 2)
            )
        else:
            step *= 2
            factor = max(high * (1 - step), (low + factor) / 2)
            if factor - low < STEP * high / 2:
                break
    return high


def _most_factor(problem: PlacementProblem, deadline: Deadline) -> float:
    """The largest factor that the relaxation does not refute."""

    def refuted(factor: float) -> bool:
        instance = compile_instance(problem, factor)
        if any(i.rows.start == i.rows.stop and (i.replicas or factor) for i in instance.items):
            return True
        return relax(instance, deadline, feasibility=True).bound > 1e-9

    if refuted(0.0):
        return -1.0
    high = 1.0
    while not refuted(high) and high < 1e6:
        high *= 2
    low = high / 2 if high > 1 else 0.0
    while high - low > 1e-4 * high and deadline.left_s > 0:
        middle = (low + high) / 2
        if refuted(middle):
            high = middle
        else:
            low = middle
    return high


def _carries(best: Best, factor: float, deadline: Deadline, seed: int) -> bool:
    """Whether a layout that carries so much of every reference is found."""
    work = _standing(best, factor, deadline, seed)
    return work is not None and _offer(best, work, "large neighbourhood search")


def _standing(best: Best, factor: float, deadline: Deadline, seed: int) -> Incumbent | None:
    """A layout that carries so much of every reference, if one is found."""
    # Prices that tell which resources are scarce: of devices that cost the same.
    pools = tuple(replace(pool, price=1.0) for pool in best.problem.pools)
    instance = compile_instance(replace(best.problem, pools=pools), factor)
    relaxation = relax(instance, deadline.part(0.1))
    work = Incumbent(instance, relaxation, free_devices=True)
    construct(work, by_value(work), deadline)
    for air in AIRS:
        planned = plan(work, air, deadline) if len(work.lacking()) else None
        if planned is not None:
            packed = Incumbent(instance, relaxation, free_devices=True)
            found = pack(packed, planned, deadline.part(PART), seed, first=True)
            if found and packed.cost < work.cost:
                work = packed
    if len(work.lacking()):
        improve(work, deadline, seed, target=0.0, patience=4000)
    return None if len(work.lacking()) else work


def _prove(
    best: Best,
    fleet: list[Unit],
    deadline: Deadline,
    bound: float,
    seed: int,
    effort: float | None,
    workers: int,
) -> tuple[str, float]:
    """The compact model, for what is better than the best layout."""
    problem = best.problem
    places = Places(problem)
    found = exact.search(problem, fleet, deadline, seed, effort=effort, workers=workers)
    if found.status == "infeasible":
        return "infeasible", bound
    if found.bound is not None:
        bound = min(bound, float(found.bound))
    if found.status in {"optimal", "feasible"}:
        kinds = {r.seat: places.find(r.seat).device_type for r in found.replicas}  # type: ignore[union-attr]
        best.offer(settle(replace(problem), kinds, found.replicas), "CP-SAT")
    return found.status, bound
