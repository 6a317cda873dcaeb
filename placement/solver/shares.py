"""The best shares for replicas that stand where they stand: a linear program.

    s[i] in [0, 1]  the share that replica i carries
    sum_i standing[i,r] + (need - standing)[i,r]·s[i] <= room[d,r]
                                        on each device, for each resource that scales
    s[i] + b[i]·sum of neighbours' busy·s <= 1, and the latency limit, where slowdown is known
    min-hardware:   carried[m] >= (1 + margin)·rate[m], maximise the margin
    max-throughput: maximise sum_m weight·min(1, carried[m]), or the least carried[m]

GLOP's floats may exceed a limit by a hair, so shares are scaled down to it afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from placement.layout.replica import Replica
from placement.problem import Option, PlacementProblem
from placement.problem.options import reference
from placement.problem.slowdown import Runner, reached

PRECISE = "primal_feasibility_tolerance: 1e-10 dual_feasibility_tolerance: 1e-9"
MARGIN = 0.01  # more is not asked for
SHORT = -1e-9  # of a rate: what the checker lets pass


def settle(
    problem: PlacementProblem, kinds: dict[str, str], replicas: Iterable[Replica]
) -> tuple[Replica, ...] | None:
    """The replicas with the best shares; None when no shares carry every rate.

    `kinds`: device type by seat.
    """
    from ortools.linear_solver import pywraplp

    replicas = tuple(replicas)
    models = dict(problem.copies())
    flexible = problem.objective == "max-throughput"
    free = {
        i for i, r in enumerate(replicas) if flexible or models[r.model].rate is not None
    }  # fmt: skip
    if not free:
        return replicas
    lp = pywraplp.Solver.CreateSolver("GLOP")
    lp.SetSolverSpecificParametersAsString(PRECISE)
    shares: list[Any] = [lp.NumVar(0, 1, "") if i in free else 1.0 for i in range(len(replicas))]
    options = [models[r.model].options[r.k] for r in replicas]
    others = _reached_by_others(replicas, options, free)
    on: dict[str, list[int]] = defaultdict(list)
    of_model: dict[str, list[int]] = defaultdict(list)
    for i, r in enumerate(replicas):
        on[r.seat].append(i)
        of_model[r.model].append(i)
    rooms = {kind.name: kind for kind in problem.types}
    for seat, here in on.items():
        kind = rooms[kinds[seat]]
        for resource in problem.resources:
            limit = kind.capacity.get(resource.name)
            if limit is None or not resource.scales:
                continue
            room = (
                limit
                - kind.baseline.get(resource.name, 0.0)
                - _standing(resource.name, options, here)
            )
            load = sum(_moving(resource.name, options[i]) * shares[i] for i in here)
            if not isinstance(load, int | float):
                size = max(room, 1e-12)
                lp.Add(load * (1 / size) <= max(0.0, room) / size)
        _beside(lp, models, replicas, options, shares, others, here, free)
    amounts = {
        name: sum(options[i].throughput * shares[i] for i in mine)
        for name, mine in of_model.items()
    }
    if not flexible:
        margin = lp.NumVar(-1, MARGIN, "")
        for name, model in models.items():
            if model.rate:
                if name not in amounts:
                    return None
                lp.Add(amounts[name] * (1 / model.rate) >= 1 + margin)
        lp.Maximize(margin)
    else:
        _grow(lp, problem, models, amounts)
    if lp.Solve() != pywraplp.Solver.OPTIMAL:
        return None
    if not flexible and margin.solution_value() < SHORT:
        return None
    values = [
        min(1.0, max(0.0, s.solution_value())) if i in free else 1.0 for i, s in enumerate(shares)
    ]
    if flexible:
        _scale_down(problem, rooms, kinds, on, options, values)
    else:  # no more than the rate is carried
        for name, mine in of_model.items():
            rate = models[name].rate
            carried = sum(options[i].throughput * values[i] for i in mine)
            if rate and carried > rate:
                for i in mine:
                    values[i] *= rate / carried
    return tuple(replace(r, share=values[i]) for i, r in enumerate(replicas))


def _grow(lp: Any, problem: PlacementProblem, models: Any, amounts: Any) -> None:
    parts = {}
    for name, model in models.items():
        wanted = reference(model)
        parts[name] = amounts.get(name, 0.0) * (1 / wanted) if wanted else 0.0
    if problem.fairness == "max-min":
        factor = lp.NumVar(0, lp.infinity(), "")
        for part in parts.values():
            lp.Add(factor <= part)
        # A little of the sum keeps what is free from lying idle.
        lp.Maximize(factor + 1e-6 * sum(parts.values()))
        return
    total: Any = 0
    largest = max((model.weight for model in models.values()), default=1.0) or 1.0
    for name, model in models.items():
        capped = lp.NumVar(0, 1, "")
        lp.Add(capped <= parts[name])
        total += model.weight / largest * capped
    lp.Maximize(total)


def _beside(
    lp: Any, models: Any, replicas: tuple[Replica, ...], options: list[Option],
    shares: list[Any], others: dict[int, float], here: list[int], free: set[int],
) -> None:  # fmt: skip
    shares = [others.get(i, share) for i, share in enumerate(shares)]
    for i in here:
        option, model = options[i], models[replicas[i].model]
        if not option.sensitivity:
            continue
        lost = option.sensitivity * sum(options[j].busy * shares[j] for j in here if j != i)
        if i in free:
            lp.Add(shares[i] + lost <= 1)
        if model.latency_limit_ms is not None and option.latency_ms is not None:
            spare = 1 - option.latency_ms / model.latency_limit_ms
            if not isinstance(lost, int | float):
                lp.Add(lost <= spare)


def _reached_by_others(
    replicas: tuple[Replica, ...], options: list[Option], free: set[int]
) -> dict[int, float]:
    """What replicas without a rate reach beside the others, these at the shares given."""
    on: dict[str, list[int]] = defaultdict(list)
    for i, r in enumerate(replicas):
        on[r.seat].append(i)
    found: dict[int, float] = {}
    for here in on.values():
        if not any(options[i].sensitivity and i not in free for i in here):
            continue
        runners = [
            Runner(replicas[i].share, options[i].busy, options[i].sensitivity, paced=i in free)
            for i in here
        ]
        parts = reached(runners)
        found |= {i: part for i, part in zip(here, parts, strict=True) if i not in free}
    return found


def _standing(resource: str, options: list[Option], here: list[int]) -> float:
    """What replicas on a device need of a resource that scales, whatever they carry."""
    return sum(options[i].standing.get(resource, 0.0) for i in here)


def _moving(resource: str, option: Option) -> float:
    """What a replica needs beyond that at its full share."""
    return option.needs.get(resource, 0.0) - option.standing.get(resource, 0.0)


def _scale_down(
    problem: PlacementProblem, rooms: Any, kinds: dict[str, str], on: dict[str, list[int]],
    options: list[Option], values: list[float],
) -> None:  # fmt: skip
    for seat, here in on.items():
        kind = rooms[kinds[seat]]
        for resource in problem.resources:
            limit = kind.capacity.get(resource.name)
            if limit is None or not resource.scales:
                continue
            room = (
                limit
                - kind.baseline.get(resource.name, 0.0)
                - _standing(resource.name, options, here)
            )
            load = sum(_moving(resource.name, options[i]) * values[i] for i in here)
            if load > room and load > 0:
                for i in here:
                    values[i] *= max(0.0, room) / load
