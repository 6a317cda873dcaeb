"""Bounds from devices of one type melted together: what no layout can beat.

Sets as in `assignment.py`; t are device types, p pools, q a pool's partitions.

    n[p] in 0..count[p]    devices of pool p in use, of which y[p,q] cut by partition q
    N[t]                   seats of type t: whole devices and slices
    x[m,k] in 0..N[t]      replicas of m as k
    s[m,k] in [0, x]       the shares that they carry together

    sum_{m,k} need·x <= room[t]·N[t]     hard resources
    sum_{m,k} need·s <= room[t]·N[t]     resources that scale
    sum_k x >= replicas[m], sum_k throughput·s >= rate[m] or s = x, as in `assignment.py`

Any layout gives such counts, so the optimum here is a bound there. Where a replica's need is known
whatever it carries, dual feasible functions tighten it: a map f of needs with f(need) summing to at
most f(room) for whatever fits one device keeps the inequality (Fekete and Schepers, "New classes of
fast lower bounds for bin packing problems", 2001).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from placement.problem import Model, PlacementProblem
from placement.problem.colocation import SHARES, Scale
from placement.problem.fleet import Unit
from placement.problem.options import reference, worthwhile
from placement.solver.linear import run
from placement.solver.result import Deadline

GAP = 0.001  # a tenth of a per cent of a bound is not worth the time
TOLERANCE = 1e-6  # of a solver that counts in floats: a bound is moved by so much
FUNCTIONS = 12  # dual feasible functions of each kind, type and resource


@dataclass(frozen=True)
class _Item:
    """An option of a model."""

    x: Any
    s: Any
    needs: tuple[int, ...]
    fixed: bool  # it carries its full throughput


@dataclass(frozen=True)
class Melted:
    """No layout on these units has a lower price, or a higher throughput, than `bound`."""

    bound: float
    plan: dict[str, tuple[tuple[int, int], ...]]  # by model: (option, share) of each replica
    used: dict[str, int] = field(default_factory=dict)  # devices by pool


def melt(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline
) -> Melted | None:
    """The bound, and the replicas that reach it on melted devices; None: no layout exists.

    The linear relaxation comes first: it leaves a bound where the time is too short for more.
    """
    rough = _melt(problem, scale, fleet, deadline, "GLOP")
    if rough is None or deadline.left_s <= 0:
        return rough
    fine = _melt(problem, scale, fleet, deadline, "SCIP")
    if fine is None:
        return None
    tighter = max if problem.objective == "min-hardware" else min
    return replace(fine, bound=tighter(rough.bound, fine.bound))


def _melt(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline, solver: str
) -> Melted | None:
    from ortools.linear_solver import pywraplp

    mip = pywraplp.Solver.CreateSolver(solver)
    whole = mip.NumVar if solver == "GLOP" else mip.IntVar
    seats, prices = _seats(mip, whole, fleet)
    if problem.max_devices is not None:
        mip.Add(sum(used for _, used in prices.values()) <= problem.max_devices)
    rooms = {kind.name: scale.room(kind) for kind in problem.types}
    models = list(problem.copies())
    most = Counter(seat.device_type for unit in fleet for seat in unit.seats)
    x: dict[tuple[str, int], Any] = {}
    s: dict[tuple[str, int], Any] = {}
    on: dict[str, list[_Item]] = defaultdict(list)
    carried: dict[str, Any] = {}
    for name, model in models:
        fixed = problem.objective == "min-hardware" and not model.rate
        keys = []
        for k, option in worthwhile(problem, model):
            kind = option.device_type
            needs = scale.needs(option)
            if not most[kind] or any(
                limit is not None and need > limit and (fixed or not resource.scales)
                for need, limit, resource in zip(needs, rooms[kind], scale.resources, strict=True)
            ):
                continue
            key = (name, k)
            keys.append(key)
            x[key] = whole(0, most[kind], "")
            mip.Add(x[key] <= seats[kind])
            s[key] = x[key] if fixed else mip.NumVar(0, most[kind], "")
            if not fixed:
                mip.Add(s[key] <= x[key])
            on[kind].append(_Item(x[key], s[key], needs, fixed))
        if not keys:
            if model.min_replicas or (model.rate and problem.objective == "min-hardware"):
                return None
            carried[name] = 0.0
            continue
        mip.Add(sum(x[key] for key in keys) >= model.min_replicas)
        wanted = reference(model)
        amount = sum(
            (model.options[k].throughput / wanted if wanted else 0.0) * s[name, k] for _, k in keys
        )
        if problem.objective == "max-throughput":
            top = mip.infinity() if problem.fairness == "max-min" else 1.0
            carried[name] = mip.NumVar(0, top, "")
            mip.Add(carried[name] <= amount)
        elif model.rate:
            mip.Add(amount >= 1)
    for kind, here in on.items():
        _room(mip, scale, rooms[kind], here, seats[kind])
    least = _goal(mip, problem, models, prices, carried)
    status = run(mip, deadline, GAP)
    if status == pywraplp.Solver.INFEASIBLE:
        return None
    known = {pywraplp.Solver.OPTIMAL} if solver == "GLOP" else {
        pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE
    }  # fmt: skip
    if status not in known:
        return Melted(0.0 if least else _most(problem, models, most), {})
    best = mip.Objective().Value() if solver == "GLOP" else mip.Objective().BestBound()
    slack = TOLERANCE * max(1.0, abs(best))
    best = max(0.0, best - slack) if least else best + slack
    if solver == "GLOP":
        return Melted(best, {})
    plan = {
        name: tuple(
            piece
            for k, _ in worthwhile(problem, model)
            if (name, k) in x
            for piece in _even(
                k,
                round(x[name, k].solution_value()),
                ceil(s[name, k].solution_value() * SHARES - 1e-6),
            )
        )
        for name, model in models
    }
    used = {name: round(count.solution_value()) for name, (_, count) in prices.items()}
    return Melted(best, plan, used)


def _most(problem: PlacementProblem, models: list[tuple[str, Model]], seats: Counter[str]) -> float:
    """What cannot be exceeded whatever the devices' capacities."""
    if problem.fairness == "sum":
        return sum(model.weight for _, model in models)
    return min(
        (
            sum(
                seats[option.device_type] * option.throughput / reference(model)
                for _, option in worthwhile(problem, model)
            )
            for _, model in models
            if reference(model)
        ),
        default=0.0,
    )


def _even(k: int, replicas: int, shares: int) -> list[tuple[int, int]]:
    """The shares spread evenly over the replicas."""
    return [(k, min(SHARES, shares // replicas + (i < shares % replicas))) for i in range(replicas)]


def _seats(
    mip: Any, integer: Callable[..., Any], fleet: list[Unit]
) -> tuple[dict[str, Any], dict[str, tuple[float, Any]]]:
    """Seats in use by device type, and (price, devices in use) of each pool."""
    seats: dict[str, Any] = defaultdict(int)
    prices = {}
    counts = Counter(unit.pool.name for unit in fleet)
    pools = {unit.pool.name: unit.pool for unit in fleet}
    for name, count in counts.items():
        pool = pools[name]
        used = integer(0, count, "")
        prices[name] = pool.price, used
        if not pool.partitions:
            seats[pool.device_type] += used
            continue
        cuts = [integer(0, count, "") for _ in pool.partitions]
        whole = integer(0, count, "")
        mip.Add(whole + sum(cuts) == used)
        seats[pool.device_type] += whole
        for cut, partition in zip(cuts, pool.partitions, strict=True):
            for kind, times in Counter(partition).items():
                seats[kind] += times * cut
    return seats, prices


def _room(
    mip: Any, scale: Scale, room: tuple[int | None, ...], here: list[_Item], seats: Any
) -> None:
    for r, resource in enumerate(scale.resources):
        limit = room[r]
        if not limit:  # no limit, or a type without room, on which nothing sits that needs any
            continue
        carried = [
            (item.needs[r] / limit) * (item.s if resource.scales else item.x) for item in here
        ]
        mip.Add(sum(carried) <= seats)
        # Replicas with a need that does not depend on what they carry:
        whole = [item for item in here if item.fixed or not resource.scales]
        for function, value in _functions([item.needs[r] for item in whole], limit):
            terms = [(function(item.needs[r]) / value) * item.x for item in whole]
            mip.Add(sum(terms) <= seats)


def _functions(needs: list[int], room: int) -> Iterator[tuple[Callable[[int], int], int]]:
    """Dual feasible functions that may be worth their while, each with its value of `room`."""
    if room <= 0:
        return
    below = sorted({n for n in needs if 0 < n <= room // 2} | {room // 2})
    for small in below[:: max(1, len(below) // FUNCTIONS)]:
        yield lambda n, e=small: room if n > room - e else n if n >= e else 0, room  # type: ignore[misc]
    for k in range(2, 2 + FUNCTIONS // 2):
        yield lambda n, k=k: _staircase(n, k, room), k * room  # type: ignore[misc]


def _staircase(need: int, k: int, room: int) -> int:
    """Fekete and Schepers' u(k), times k and the room: (k+1)-ths of the room, rounded down."""
    steps, rest = divmod(need * (k + 1), room)
    return steps * room if rest else need * k


def _goal(
    mip: Any,
    problem: PlacementProblem,
    models: list[tuple[str, Model]],
    prices: dict[str, tuple[float, Any]],
    carried: dict[str, Any],
) -> bool:
    """Sets the objective; returns whether it is to be least."""
    if problem.objective == "min-hardware":
        mip.Minimize(sum(price * used for price, used in prices.values()))
        return True
    if problem.fairness == "max-min":
        factor = mip.NumVar(0, mip.infinity(), "")
        for name, _ in models:
            mip.Add(factor <= carried[name])
        mip.Maximize(factor)
    else:
        mip.Maximize(sum(model.weight * carried[name] for name, model in models))
    return False
