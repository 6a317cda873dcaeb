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
    min-hardware:   sum_{k,d} cover[m,k]·s >= rate[m], or s = S·x without a rate
                    minimise sum price[u]·used[u] + move price · moves
    max-throughput: carried[m] <= sum_{k,d} cover[m,k]·s
                    maximise sum weight[m]·min(1, carried[m]), or the least carried[m]

The second goal follows with the first held: most headroom, or fewest devices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm
from typing import Any

from placement.colocation import COVER, SHARES, Scale, cover
from placement.fleet import Unit, is_singled_out, means
from placement.problem import Model, Option, PlacementProblem
from placement.result import Deadline, Status

HEADROOM = 1000  # headroom is counted in thousandths
WEIGHTS = 1000  # weights in thousandths
LARGE = 20_000  # 0/1 variables beyond which the second goal is left alone
STEP_S = 0.5  # deterministic time of a step that leaves the rest of the fleet alone
ALONE_S = 4.0  # deterministic time of the first attempt, in CP-SAT's seconds


@dataclass(frozen=True)
class Replica:
    """A replica that was decided upon."""

    model: str  # the copy's name
    k: int  # place of the option in the model's list
    seat: str
    share: int = SHARES


@dataclass(frozen=True)
class Answer:
    """What the search ended with: value and bound in the objective's own unit."""

    status: Status
    replicas: tuple[Replica, ...] = ()
    value: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Outside:
    """What a model has on devices that a search does not touch."""

    carried: int = 0  # of its reference, in COVER · SHARES
    replicas: int = 0
    least: int = 0  # that it has to carry in all, in COVER


@dataclass
class _Model:
    cp: Any
    x: dict[tuple[str, int, str], Any]
    s: dict[tuple[str, int, str], Any]
    used: list[Any]
    seated: dict[str, Any]
    carried: dict[str, Any]
    cost: Any
    cost_unit: Fraction
    goal: Any


def usable(model: Model) -> list[tuple[int, Option]]:
    """The model's options that meet its latency limit, with their place in its list."""
    limit = model.latency_limit_ms
    return [
        (k, option)
        for k, option in enumerate(model.options)
        if limit is None or (option.latency_ms is not None and option.latency_ms <= limit)
    ]


def worthwhile(problem: PlacementProblem, model: Model) -> list[tuple[int, Option]]:
    """The usable options that no other one on the same device type makes needless.

    Another one does with no more of any hard resource, no more per inference of any that scales
    (and no more in all where the model runs at its measured load), and as much throughput.
    """
    options = usable(model)
    if len(options) < 2:
        return options
    full = problem.objective == "min-hardware" and not model.rate
    hard = [r.name for r in problem.resources if full or not r.scales]
    scaled = [r.name for r in problem.resources if r.scales]

    def price(option: Option) -> tuple[float, ...]:
        needs = [option.needs.get(name, 0.0) for name in hard]
        if not full:
            each = option.throughput or 1e-300
            needs += [option.needs.get(name, 0.0) / each for name in scaled]
            needs.append(-option.throughput)
        return tuple(needs)

    prices = {k: price(option) for k, option in options}
    kept: list[tuple[int, Option]] = []
    for k, option in options:
        if not any(
            other.device_type == option.device_type
            and j != k
            and all(a <= b for a, b in zip(prices[j], prices[k], strict=True))
            and (prices[j] != prices[k] or j < k)
            for j, other in options
        ):
            kept.append((k, option))
    return kept


def reference(model: Model) -> float:
    """The throughput that counts as one: the demanded rate, else the model's own best."""
    return model.rate or max((o.throughput for _, o in usable(model)), default=0.0)


def allowed(problem: PlacementProblem, name: str, model: Model, unit: Unit, seat: Any) -> bool:
    """Whether the rules let the model onto the seat."""
    names = {name, model.name}
    pins = [device for rule, device in problem.rules.pins if rule in names]
    if pins and not any(means(unit, seat, device) for device in pins):
        return False
    return not any(
        rule in names and means(unit, seat, device) for rule, device in problem.rules.forbidden
    )


def search(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    deadline: Deadline,
    seed: int = 0,
    hint: Iterable[Replica] = (),
    bound: float | None = None,
    outside: Mapping[str, Outside] | None = None,
) -> Answer:
    """The best placement on these units that is found before the deadline.

    With `outside` the units are part of a fleet whose rest stands: no second goal then.
    """
    from ortools.sat.python import cp_model

    hint = tuple(hint)
    built = _build(problem, scale, fleet, outside or {})
    least = problem.objective == "min-hardware"
    if least:
        built.cp.minimize(built.goal)
        if bound is not None:
            built.cp.add(built.goal >= ceil(Fraction(bound) / built.cost_unit - Fraction(1, 10**6)))
    else:
        built.cp.maximize(built.goal)
    if hint:
        _hint(built, hint)
    if outside is None:
        status, solver = _run(built, deadline, seed)
    else:
        status, solver = _attempt(built.cp, deadline, seed, workers=1, deterministic=STEP_S)
    if status == cp_model.INFEASIBLE:
        return Answer("infeasible")
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return Answer("unknown")
    best = round(solver.objective_value)
    replicas = _replicas(built, solver)
    unit = float(built.cost_unit)
    answer = Answer(
        "optimal" if status == cp_model.OPTIMAL else "feasible",
        replicas,
        best * unit,
        solver.best_objective_bound * unit,
    )
    if deadline.left_s <= 0 or outside is not None or len(built.x) > LARGE:
        return answer
    return _second_goal(problem, scale, fleet, built, answer, best, deadline, seed)


def _second_goal(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    built: _Model,
    answer: Answer,
    best: int,
    deadline: Deadline,
    seed: int,
) -> Answer:
    from ortools.sat.python import cp_model

    cp = built.cp
    cp.clear_objective()
    if problem.objective == "min-hardware":
        cp.add(built.goal <= best)
        headroom = _headroom(problem, scale, fleet, built)
        cp.maximize(headroom)
    else:
        cp.add(built.goal >= best)
        cp.minimize(sum(built.used))
    cp.clear_hints()
    _hint(built, answer.replicas)
    # One worker, for a while: the same layout at every run, and no long wait for a nicety.
    status, solver = _attempt(cp, deadline, seed, workers=1, deterministic=ALONE_S)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return answer
    return Answer(
        answer.status,
        _replicas(built, solver),
        answer.value,
        answer.bound,
    )


def _run(built: _Model, deadline: Deadline, seed: int) -> tuple[Any, Any]:
    """Status and solver after one worker alone, then, if that proved nothing, a portfolio.

    One worker gives the same answer at every run; several race. CP-SAT's interleaved search would
    do both, but did not end on two-model problems (OR-Tools 9.15).
    """
    from ortools.sat.python import cp_model

    status, solver = _attempt(built.cp, deadline, seed, workers=1, deterministic=ALONE_S)
    if status in {cp_model.OPTIMAL, cp_model.INFEASIBLE} or deadline.left_s <= 0:
        return status, solver
    if status == cp_model.FEASIBLE:
        built.cp.clear_hints()
        _hint(built, _replicas(built, solver))
    again, second = _attempt(built.cp, deadline, seed, workers=8, deterministic=None)
    if again == cp_model.UNKNOWN:
        return status, solver
    return again, second


def _attempt(
    cp: Any, deadline: Deadline, seed: int, *, workers: int, deterministic: float | None
) -> tuple[Any, Any]:
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(0.01, deadline.left_s)
    if deterministic is not None:
        solver.parameters.max_deterministic_time = deterministic
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = workers
    solver.parameters.catch_sigint_signal = False  # the deadline is told instead
    deadline.watch(solver.stop_search)
    try:
        return solver.solve(cp), solver
    finally:
        deadline.unwatch(solver.stop_search)


def _build(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], outside: Mapping[str, Outside]
) -> _Model:
    from ortools.sat.python import cp_model

    cp = cp_model.CpModel()
    kinds = {kind.name: scale.room(kind) for kind in problem.types}
    models = dict(problem.copies())
    x: dict[tuple[str, int, str], Any] = {}
    s: dict[tuple[str, int, str], Any] = {}
    used = [cp.new_bool_var(f"used {unit.name}") for unit in fleet]
    seated: dict[str, Any] = {}
    on_seat: dict[str, list[tuple[tuple[str, int, str], tuple[int, ...]]]] = defaultdict(list)
    of_model: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    flexible = problem.objective == "max-throughput"
    for name, model in models.items():
        for k, option in worthwhile(problem, model):
            needs = scale.needs(option)
            for unit in fleet:
                for seat in unit.seats:
                    if seat.device_type != option.device_type or not allowed(
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
            by_model = defaultdict(list)
            for key, _ in on_seat[seat.name]:
                by_model[key[0]].append(x[key])
            for here in by_model.values():
                cp.add(sum(here) <= seated[seat.name])
    carried: dict[str, Any] = {}
    for name, model in models.items():
        rest = outside.get(name, Outside())
        _demand(cp, problem, name, model, of_model[name], x, s, carried, rest)
    _rules(cp, problem, fleet, x, of_model)
    moves = _moves(cp, problem, x)
    cost, cost_unit = _cost(problem, fleet, used, moves)
    _symmetry(cp, problem, scale, fleet, used, on_seat, x)
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
    return _Model(cp, x, s, used, seated, carried, cost, unit_of_goal, goal)


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
    here: list[tuple[tuple[str, int, str], tuple[int, ...]]],
    room: tuple[int | None, ...],
    x: Mapping[tuple[str, int, str], Any],
    s: Mapping[tuple[str, int, str], Any],
    seated: Any,
) -> None:
    for r, resource in enumerate(scale.resources):
        limit = room[r]
        if limit is None or not here:
            continue
        exact = not resource.scales or all(_whole(s[key]) for key, _ in here)
        if exact:
            cp.add(sum(needs[r] * x[key] for key, needs in here) <= limit * seated)
        else:
            cp.add(sum(needs[r] * s[key] for key, needs in here) <= limit * SHARES * seated)


def _whole(share: Any) -> bool:
    """Whether the share is S times a 0/1 variable, not a variable of its own."""
    from ortools.sat.python import cp_model

    return not isinstance(share, cp_model.IntVar)


def _demand(
    cp: Any,
    problem: PlacementProblem,
    name: str,
    model: Model,
    keys: list[tuple[str, int, str]],
    x: Mapping[tuple[str, int, str], Any],
    s: Mapping[tuple[str, int, str], Any],
    carried: dict[str, Any],
    outside: Outside,
) -> None:
    replicas = max(0, model.min_replicas - outside.replicas)
    flexible = problem.objective == "max-throughput"
    if keys:
        count = sum(x[key] for key in keys)
        cp.add(count >= replicas if flexible or model.rate else count == replicas)
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


def _rules(
    cp: Any,
    problem: PlacementProblem,
    fleet: list[Unit],
    x: Mapping[tuple[str, int, str], Any],
    of_model: Mapping[str, list[tuple[str, int, str]]],
) -> None:
    rules = problem.rules
    names: dict[str, list[str]] = defaultdict(list)
    for name, model in problem.copies():
        names[model.name].append(name)
        if name != model.name:
            names[name].append(name)

    def here(name: str) -> dict[str, Any]:
        sums: dict[str, Any] = defaultdict(int)
        for key in of_model[name]:
            sums[key[2]] += x[key]
        return sums

    for group in rules.apart:
        members = [here(name) for rule in group for name in names[rule]]
        for unit in fleet:
            for seat in unit.seats:
                present = [m[seat.name] for m in members if seat.name in m]
                if len(present) > 1:
                    cp.add(sum(present) <= 1)
    for group in rules.together:
        members = [here(name) for rule in group for name in names[rule]]
        for unit in fleet:
            for seat in unit.seats:
                for other in members[1:]:
                    cp.add(members[0].get(seat.name, 0) == other.get(seat.name, 0))
    for rule in rules.spread:
        for name in names[rule]:
            present_at = here(name)
            hosts: dict[str, Any] = defaultdict(int)
            for unit in fleet:
                for seat in unit.seats:
                    if seat.name in present_at:
                        hosts[unit.host] += present_at[seat.name]
            for present in hosts.values():
                cp.add(present <= 1)


def _moves(cp: Any, problem: PlacementProblem, x: Mapping[tuple[str, int, str], Any]) -> Any:
    running = {model for model, _ in problem.current}
    moved = [
        var
        for (name, _, seat), var in x.items()
        if name in running and (name, seat) not in problem.current
    ]
    if problem.max_moves is not None and moved:
        cp.add(sum(moved) <= problem.max_moves)
    return sum(moved) if moved else 0


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


def _symmetry(
    cp: Any,
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    used: list[Any],
    on_seat: Mapping[str, list[tuple[tuple[str, int, str], tuple[int, ...]]]],
    x: Mapping[tuple[str, int, str], Any],
) -> None:
    """Equal units are used in order, the fuller first."""
    hard = next((r for r, resource in enumerate(scale.resources) if not resource.scales), None)
    for a, b in zip(range(len(fleet)), range(1, len(fleet)), strict=False):
        first, second = fleet[a], fleet[b]
        if first.pool is not second.pool:
            continue
        if is_singled_out(problem, first) or is_singled_out(problem, second):
            continue
        cp.add(used[a] >= used[b])
        if hard is not None and len(first.seats) == 1:
            cp.add(
                sum(needs[hard] * x[key] for key, needs in on_seat[first.seats[0].name])
                >= sum(needs[hard] * x[key] for key, needs in on_seat[second.seats[0].name])
            )


def _headroom(problem: PlacementProblem, scale: Scale, fleet: list[Unit], built: _Model) -> Any:
    """The least free part of the capacity of any seat in use, over all resources."""
    kinds = {kind.name: kind for kind in problem.types}
    least = built.cp.new_int_var(0, HEADROOM, "headroom")
    by_seat: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
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


def _hint(built: _Model, hint: tuple[Replica, ...]) -> None:
    chosen = {(r.model, r.k, r.seat): r for r in hint}
    for key, var in built.x.items():
        replica = chosen.get(key)
        built.cp.add_hint(var, int(replica is not None))
        if not _whole(built.s[key]):
            built.cp.add_hint(built.s[key], replica.share if replica else 0)


def _replicas(built: _Model, solver: Any) -> tuple[Replica, ...]:
    found = []
    for key, var in built.x.items():
        if solver.boolean_value(var):
            share = solver.value(built.s[key])
            found.append(Replica(*key, share))
    return tuple(found)
