"""A few devices of a layout for most throughput filled anew, the rest of the fleet as it stands.

The compact model (`compact.py`) with real numbers for shares, which SCIP deals with much better
than CP-SAT with their ten-thousandths:

    x[m,k,d] in {0,1}, s[m,k,d] in [0, x]
    sum_k x[m,k,d] <= 1
    sum_{m,k} need·x <= room[d,r], or need·s where the resource scales
    sum_{k,d} x[m,k,d] >= replicas[m]
    least[m] <= carried[m] <= outside[m] + sum_{k,d} throughput/reference·s
    maximise sum weight[m]·min(1, carried[m])
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from placement.problem import PlacementProblem
from placement.problem.colocation import COVER, SHARES, Scale
from placement.problem.fleet import Unit
from placement.problem.options import reference, worthwhile
from placement.solver import rules
from placement.solver.assignment import Replica
from placement.solver.compact import Key, Outside
from placement.solver.linear import run
from placement.solver.result import Deadline

EFFORT = "separating/maxroundsroot = 2\nlimits/totalnodes = 50\n"
GAP = 0.001


def applies(problem: PlacementProblem) -> bool:
    """Whether the model above has all of the problem."""
    between = (problem.rules.apart, problem.rules.together, problem.rules.spread)
    return (
        problem.objective == "max-throughput"
        and problem.fairness == "sum"
        and problem.max_devices is None
        and problem.max_moves is None
        and not any(between)
        and not any(pool.partitions for pool in problem.pools)
        and not any(option.sensitivity for model in problem.models for option in model.options)
    )


def refill(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    deadline: Deadline,
    now: Iterable[Replica],
    outside: Mapping[str, Outside],
) -> tuple[Replica, ...] | None:
    """The best replicas on these units that a short search finds; None if it finds none.

    `now` is what sits there, from which the search starts; `outside` what models carry elsewhere.
    """
    from ortools.linear_solver import pywraplp

    mip = pywraplp.Solver.CreateSolver("SCIP")
    rooms = {kind.name: scale.room(kind) for kind in problem.types}
    x: dict[Key, Any] = {}
    s: dict[Key, Any] = {}
    needs: dict[Key, tuple[int, ...]] = {}
    on: dict[str, list[Key]] = defaultdict(list)
    goal: Any = 0
    for name, model in problem.copies():
        wanted = reference(model)
        rest = outside[name]
        mine: list[Key] = []
        amount: Any = rest.carried / (COVER * SHARES)
        for unit in fleet:
            seat = unit.seats[0]
            here: list[Key] = []
            for k, option in worthwhile(problem, model):
                key = (name, k, seat.name)
                needs[key] = scale.needs(option)
                if (
                    option.device_type != seat.device_type
                    or not rules.allowed(problem, name, model, unit, seat)
                    or not _fits(scale, {key: 0}, needs, rooms[seat.device_type])
                ):
                    continue
                x[key], s[key] = mip.BoolVar(""), mip.NumVar(0, 1, "")
                mip.Add(s[key] <= x[key])
                here.append(key)
                if wanted:
                    amount += option.throughput / wanted * s[key]
            if len(here) > 1:
                mip.Add(sum(x[key] for key in here) <= 1)
            on[seat.name] += here
            mine += here
        if mine:
            mip.Add(sum(x[key] for key in mine) >= model.min_replicas - rest.replicas)
        carried = mip.NumVar(rest.least / COVER, max(1.0, rest.least / COVER), "")
        mip.Add(carried <= amount)
        goal += model.weight * carried
    for unit in fleet:
        for r, limit in enumerate(rooms[unit.seats[0].device_type]):
            keys = on[unit.seats[0].name]
            if limit is not None and keys:
                terms = s if scale.resources[r].scales else x
                mip.Add(sum(needs[key][r] * terms[key] for key in keys) <= limit)
    mip.Maximize(goal)
    shares = {(r.model, r.k, r.seat): r.share for r in now}
    mip.SetHint(
        [*x.values(), *s.values()],
        [*(float(key in shares) for key in x), *(shares.get(key, 0) / SHARES for key in s)],
    )
    status = run(mip, deadline, GAP, EFFORT)
    if status not in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}:
        return None
    found = {
        key: min(SHARES, max(0, int(s[key].solution_value() * SHARES + 1e-6)))
        for key in x
        if x[key].solution_value() > 0.5
    }
    for unit in fleet:  # what SCIP's tolerance let through
        seated = {key: share for key, share in found.items() if key[2] == unit.seats[0].name}
        if not _fits(scale, seated, needs, rooms[unit.seats[0].device_type]):
            return None
    return tuple(Replica(*key, share) for key, share in found.items())


def _fits(
    scale: Scale,
    seated: Mapping[Key, int],
    needs: Mapping[Key, tuple[int, ...]],
    room: tuple[int | None, ...],
) -> bool:
    """Whether replicas with their shares fit on a device, in integers."""
    return all(
        limit is None
        or sum(
            needs[key][r] * (share if resource.scales else SHARES) for key, share in seated.items()
        )
        <= limit * SHARES
        for r, (resource, limit) in enumerate(zip(scale.resources, room, strict=True))
    )
