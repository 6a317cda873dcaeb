"""The compact model: every device one by one, solved by CP-SAT.

Sets: models m (each copy of several equal ones by itself), options k, seats d (devices and MIG
slices), units u (physical devices, each with its seats), resources r.

    x[m,k,d] in {0,1}      a replica of m runs as k on seat d
    s[m,k,d] in 0..S·x     the share of k's throughput that it carries, in 1/S
    used[u] in {0,1}       unit u is paid for

    sum_k x[m,k,d] <= 1                                    a server holds one option of a model
    sum_{m,k} need[k,r]·S·x        <= room[d,r]·S·used     hard resources
    sum_{m,k} need[k,r]·s          <= room[d,r]·S·used     resources that scale
    sum_{k,d} x[m,k,d] >= replicas[m]
    sum_u used[u] <= the most devices, if that is said
    min-hardware:   sum_{k,d} cover[m,k]·s >= rate[m], or s = S·x without a rate
                    minimise sum price[u]·used[u] + move price · moves
    max-throughput: carried[m] <= sum_{k,d} cover[m,k]·s
                    maximise sum weight[m]·min(1, carried[m]), or the least carried[m]
    where slowdown is known, with L = sum over the other models' felt[m,k; n,j]·s[n,j,d] / S:
    x[m,k,d] implies s[m,k,d] / S + L <= 1 (with a rate, or max-throughput)
                 and 1 - L >= latency[k] / limit[m]

The second goal follows with the first held: most headroom, or fewest devices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

from placement.problem import Model, PlacementProblem
from placement.problem.colocation import COVER, FELT, SHARES, Scale, cover, felt, spare_speed
from placement.problem.fleet import Unit
from placement.problem.options import reference, worthwhile
from placement.solver import rules, symmetry

HEADROOM = 1000  # headroom is counted in thousandths
WEIGHTS = 1000  # weights in thousandths

Key = tuple[str, int, str]  # model, option, seat


@dataclass(frozen=True)
class Outside:
    """What a model has on devices that a search does not touch."""

    carried: int = 0  # of its reference, in COVER · SHARES
    replicas: int = 0
    least: int = 0  # that it has to carry in all, in COVER


@dataclass
class Compact:
    """The variables and sums of the model; the goal counts in `cost_unit`."""

    cp: Any
    x: dict[Key, Any]
    s: dict[Key, Any]
    used: list[Any]
    seated: dict[str, Any]
    carried: dict[str, Any]
    cost: Any
    cost_unit: Fraction
    goal: Any


def build(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], outside: Mapping[str, Outside]
) -> Compact:
    """The model without its objective; `outside` is what stands on devices not in `fleet`."""
    from ortools.sat.python import cp_model

    cp = cp_model.CpModel()
    kinds = {kind.name: scale.room(kind) for kind in problem.types}
    models = dict(problem.copies())
    x: dict[Key, Any] = {}
    s: dict[Key, Any] = {}
    used = [cp.new_bool_var(f"used {unit.name}") for unit in fleet]
    seated: dict[str, Any] = {}
    on_seat: dict[str, list[tuple[Key, tuple[int, ...]]]] = defaultdict(list)
    of_model: dict[str, list[Key]] = defaultdict(list)
    flexible = problem.objective == "max-throughput"
    for name, model in models.items():
        for k, option in worthwhile(problem, model):
            needs = scale.needs(option)
            for unit in fleet:
                for seat in unit.seats:
                    if seat.device_type != option.device_type or not rules.allowed(
                        problem, name, model, unit, seat
                    ):
                        continue
                    room = kinds[seat.device_type]
                    hard = not (flexible or model.rate)
                    if any(
                        limit is not None and need > limit and (hard or not resource.scales)
                        for need, limit, resource in zip(needs, room, scale.resources, strict=True)
                    ):
                        continue
                    key = (name, k, seat.name)
                    x[key] = cp.new_bool_var("")
                    if hard:
                        s[key] = SHARES * x[key]
                    else:
                        s[key] = cp.new_int_var(0, SHARES, "")
                        cp.add(s[key] <= SHARES * x[key])
                    on_seat[seat.name].append((key, needs))
                    of_model[name].append(key)
    for number, unit in enumerate(fleet):
        _partition(cp, unit, used[number], seated)
        for seat in unit.seats:
            _capacity(
                cp,
                scale,
                on_seat[seat.name],
                kinds[seat.device_type],
                x,
                s,
                seated[seat.name],
            )
            _slowdown(cp, models, [key for key, _ in on_seat[seat.name]], x, s)
            by_model = defaultdict(list)
            for key, _ in on_seat[seat.name]:
                by_model[key[0]].append(x[key])
            for here in by_model.values():
                cp.add(sum(here) <= seated[seat.name])
    carried: dict[str, Any] = {}
    for name, model in models.items():
        rest = outside.get(name, Outside())
        _demand(cp, problem, name, model, of_model[name], x, s, carried, rest)
    rules.constrain(cp, problem, fleet, x, of_model)
    moves = rules.moves(cp, problem, x)
    if problem.max_devices is not None:
        cp.add(sum(used) <= problem.max_devices)
    cost, cost_unit = _cost(problem, fleet, used, moves)
    symmetry.constrain(cp, problem, scale, fleet, used, on_seat, x)
    goal, unit_of_goal = cost, cost_unit
    if flexible and problem.fairness == "max-min":
        factors = [len(of_model[name]) for name in models]
        goal = cp.new_int_var(0, COVER * (max(factors, default=0) + 1) * 1000, "factor")
        for name in models:
            cp.add(goal <= carried[name])
        unit_of_goal = Fraction(1, COVER)
    elif flexible:
        goal = sum(round(model.weight * WEIGHTS) * carried[name] for name, model in models.items())
        unit_of_goal = Fraction(1, COVER * WEIGHTS)
    return Compact(cp, x, s, used, seated, carried, cost, unit_of_goal, goal)


def _partition(cp: Any, unit: Unit, used: Any, seated: dict[str, Any]) -> None:
    """A unit is used whole or in one of its legal partitions."""
    whole, *slices = unit.seats
    if not slices:
        seated[whole.name] = used
        return
    modes = [cp.new_bool_var("") for _ in unit.pool.partitions]
    seated[whole.name] = cp.new_bool_var("")
    cp.add(seated[whole.name] + sum(modes) == used)
    for seat in slices:
        seated[seat.name] = sum(
            mode
            for mode, partition in zip(modes, unit.pool.partitions, strict=True)
            if partition.count(seat.device_type) >= (seat.slice_number or 0)
        )


def _capacity(
    cp: Any,
    scale: Scale,
    here: list[tuple[Key, tuple[int, ...]]],
    room: tuple[int | None, ...],
    x: Mapping[Key, Any],
    s: Mapping[Key, Any],
    seated: Any,
) -> None:
    for r, resource in enumerate(scale.resources):
        limit = room[r]
        if limit is None or not here:
            continue
        exact = not resource.scales or all(is_whole(s[key]) for key, _ in here)
        if exact:
            cp.add(sum(needs[r] * x[key] for key, needs in here) <= limit * seated)
        else:
            cp.add(sum(needs[r] * s[key] for key, needs in here) <= limit * SHARES * seated)


def _slowdown(
    cp: Any,
    models: Mapping[str, Model],
    here: list[Key],
    x: Mapping[Key, Any],
    s: Mapping[Key, Any],
) -> None:
    """What sits on a seat carries no more than its neighbours leave, and meets its limit there."""
    options = {key: models[key[0]].options[key[1]] for key in here}
    for key, option in options.items():
        if not option.sensitivity:
            continue
        lost = sum(
            felt(option, other) * s[neighbour]
            for neighbour, other in options.items()
            if neighbour[0] != key[0] and other.busy
        )
        if isinstance(lost, int):  # none that it feels
            continue
        spare = spare_speed(option, models[key[0]].latency_limit_ms)
        if spare < FELT:
            cp.add(lost <= spare * SHARES).only_enforce_if(x[key])
        if not is_whole(s[key]):
            cp.add(FELT * s[key] + lost <= FELT * SHARES).only_enforce_if(x[key])


def is_whole(share: Any) -> bool:
    """Whether the share is S times a 0/1 variable, not a variable of its own."""
    from ortools.sat.python import cp_model

    return not isinstance(share, cp_model.IntVar)


def _demand(
    cp: Any,
    problem: PlacementProblem,
    name: str,
    model: Model,
    keys: list[Key],
    x: Mapping[Key, Any],
    s: Mapping[Key, Any],
    carried: dict[str, Any],
    outside: Outside,
) -> None:
    replicas = max(0, model.min_replicas - outside.replicas)
    flexible = problem.objective == "max-throughput"
    if keys:
        count = sum(x[key] for key in keys)
        # What stands by another may need to be where that one has more replicas.
        more = (
            flexible
            or model.rate
            or any({name, model.name} & set(g) for g in problem.rules.together)
        )
        cp.add(count >= replicas if more else count == replicas)
    elif replicas:
        cp.add_bool_or([])
    wanted = reference(model)
    amount = outside.carried + sum(
        cover(model.options[key[1]].throughput, wanted) * s[key] for key in keys if wanted
    )
    if flexible:
        most = COVER * 1000 * (len(keys) + 1) if problem.fairness == "max-min" else COVER
        carried[name] = cp.new_int_var(outside.least, max(most, outside.least), "")
        cp.add(carried[name] * SHARES <= amount)
    elif model.rate:
        cp.add(amount >= COVER * SHARES)


def _cost(
    problem: PlacementProblem, fleet: list[Unit], used: list[Any], moves: Any
) -> tuple[Any, Fraction]:
    """Price plus moves in whole units of money, as fine as the prices are written."""
    prices = [Fraction(repr(float(unit.pool.price))) for unit in fleet]
    move = Fraction(repr(float(problem.move_price)))
    denominator = 1
    for price in {*prices, move}:
        denominator = lcm(denominator, price.denominator)
    whole = [int(price * denominator) for price in prices]
    cost = sum(p * u for p, u in zip(whole, used, strict=True)) + int(move * denominator) * moves
    return cost, Fraction(1, denominator)


def headroom(problem: PlacementProblem, scale: Scale, fleet: list[Unit], built: Compact) -> Any:
    """The least free part of the capacity of any seat in use, over all resources."""
    kinds = {kind.name: kind for kind in problem.types}
    least = built.cp.new_int_var(0, HEADROOM, "headroom")
    by_seat: dict[str, list[Key]] = defaultdict(list)
    for key in built.x:
        by_seat[key[2]].append(key)
    models = dict(problem.copies())
    for unit in fleet:
        for seat in unit.seats:
            kind = kinds[seat.device_type]
            for r, limit in enumerate(scale.room(kind)):
                if limit is None or not by_seat[seat.name]:
                    continue
                resource = scale.resources[r]
                whole = kind.capacity[resource.name] * 10.0 ** scale.decimals[resource.name]
                terms = built.s if resource.scales else built.x
                times = SHARES if resource.scales else 1
                load = sum(
                    scale.needs(models[key[0]].options[key[1]])[r] * terms[key]
                    for key in by_seat[seat.name]
                )
                size = int(whole)
                # load + headroom·size <= room where the seat is in use, no limit elsewhere
                built.cp.add(
                    load * HEADROOM + least * size * times
                    <= limit * times * HEADROOM
                    + size * times * HEADROOM * (1 - built.seated[seat.name])
                )
    return least
