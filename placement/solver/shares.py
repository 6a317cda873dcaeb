"""The best shares for replicas that stand where they stand: a linear program.

    s[i] in [0, 1]  the share that replica i carries
    sum_i need[i,r]·s[i] <= room[d,r]   on each device, for each resource that scales
    maximise sum_m weight·min(1, carried[m]), or the least carried[m]

Rounded down to whole SHARES afterwards, which no capacity minds.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

from placement.problem import PlacementProblem
from placement.problem.colocation import SHARES, Scale
from placement.problem.fleet import Unit
from placement.problem.options import reference
from placement.solver.assignment import Replica


def polish(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], replicas: tuple[Replica, ...]
) -> tuple[Replica, ...]:
    """The replicas with the shares that carry most; unchanged when the program has no answer."""
    from ortools.linear_solver import pywraplp

    lp = pywraplp.Solver.CreateSolver("GLOP")
    rooms = {kind.name: scale.room(kind) for kind in problem.types}
    kinds = {seat.name: seat.device_type for unit in fleet for seat in unit.seats}
    models = dict(problem.copies())
    shares = [lp.NumVar(0, 1, "") for _ in replicas]
    on: dict[str, list[int]] = defaultdict(list)
    amounts: dict[str, Any] = defaultdict(int)
    for i, replica in enumerate(replicas):
        on[replica.seat].append(i)
        model = models[replica.model]
        wanted = reference(model)
        if wanted:
            amounts[replica.model] += (model.options[replica.k].throughput / wanted) * shares[i]
    for seat, here in on.items():
        needs = {i: scale.needs(models[replicas[i].model].options[replicas[i].k]) for i in here}
        for r, resource in enumerate(scale.resources):
            room = rooms[kinds[seat]][r]
            if room is not None and resource.scales:
                lp.Add(sum(needs[i][r] * shares[i] for i in here) <= room)
    if problem.fairness == "max-min":
        factor = lp.NumVar(0, lp.infinity(), "")
        for name in models:
            lp.Add(factor <= amounts[name])
        # A little of the sum keeps what is free from lying idle.
        lp.Maximize(factor + 1e-6 * sum(amounts.values()))
    else:
        total: Any = 0
        for name, model in models.items():
            capped = lp.NumVar(0, 1, "")
            lp.Add(capped <= amounts[name])
            total += model.weight * capped
        lp.Maximize(total)
    if lp.Solve() != pywraplp.Solver.OPTIMAL:
        return replicas
    return tuple(
        replace(r, share=min(SHARES, max(0, int(share.solution_value() * SHARES + 1e-7))))
        for r, share in zip(replicas, shares, strict=True)
    )
