"""The compact model, solved by CP-SAT in integers that leave no layout out.

Sets: models m (each copy by itself), options k, seats d (devices and MIG slices), units u
(physical devices, each with its seats), resources r.

    x[m,k,d] in {0,1}      a replica of m runs as k on seat d
    s[m,k,d] in 0..S·x     ceil(S · the share of k's throughput that it carries)
    used[u] in {0,1}       unit u is paid for

    sum_k x[m,k,d] <= 1                                      a server holds one option of a model
    sum_{m,k} need[k,r]·x            <= room[d,r]·used       hard resources
    sum_{m,k} standing[k,r]·S·x + (need - standing)[k,r]·(s - x)
                                     <= room[d,r]·S·used     resources that scale
    units with a replica of m        >= replicas[m]
    sum_u used[u] <= the most devices, if that is said
    min-hardware:   sum_{k,d} throughput[k]·s >= rate[m]·S, or s = S·x without a rate
                    minimise sum price[u]·used[u] + move price · moves
    max-throughput: carried[m]·S <= sum_{k,d} throughput[k] / reference[m]·s
                    maximise sum weight[m]·min(1, carried[m]), or the least carried[m]
    where slowdown is known, with L = sum over the other models' busy[n,j]·(s - x)[n,j,d]:
    x[m,k,d] implies (s - x)[m,k,d] + b[k]·L <= S (with a rate, or max-throughput)
                 and b[k]·L <= S·(1 - latency[k] / limit[m])

Figures become integers by a common denominator. A share is rounded up where it has to suffice and
counted one grain less where it has to fit; figures too fine for 64 bits are rounded so that nothing
is left out. So what the model refutes is refuted, its bound is a bound, and what it finds becomes a
layout only when exact shares for it are found by a linear program (`shares.py`) and checked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor, gcd, lcm
from typing import Any, Literal

from placement.layout.replica import Replica
from placement.problem import Model, Option, PlacementProblem, PoolType
from placement.problem.fleet import Seat, Unit, is_singled_out, means
from placement.problem.numbers import common_unit, fraction
from placement.problem.options import reference, worthwhile
from placement.solver.result import Deadline

GRAINS = 1_000_000  # S: a share is counted in millionths
LARGEST = 2**27  # figures stay below, where shares are multiplied in
DEAREST = 2**42  # prices stay below
HEADROOM = 1000  # headroom is counted in thousandths
MOST = 2**58  # of CP-SAT's coefficients and sums, which are 64-bit integers
STATED_PER_S = 3_000  # 0/1 variables that are stated in a second, and time for CP-SAT to read them
FACTOR = 10**7  # parts in which throughput relative to the reference is counted
PORTFOLIO = 8  # threads with which CP-SAT has all of its ways to search and to prove
MOST_FACTOR = 10**10  # a replica carries a thousand times its reference at most

Key = tuple[str, int, str]  # model, option, seat


@dataclass
class Compact:
    """The variables of the model; the goal counts in `unit`."""

    cp: Any
    x: dict[Key, Any] = field(default_factory=dict)
    s: dict[Key, Any] = field(default_factory=dict)
    used: list[Any] = field(default_factory=list)
    in_use: dict[str, Any] = field(default_factory=dict)  # by seat
    goal: Any = 0
    unit: Fraction = Fraction(1)
    headroom_rows: list[tuple[Any, int, int, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """What CP-SAT said; value and bound are exact, in the objective's unit."""

    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    replicas: tuple[Replica, ...] = ()
    value: Fraction | None = None
    bound: Fraction | None = None


def size(problem: PlacementProblem, fleet: list[Unit]) -> int:
    """About as many 0/1 variables as the model would have."""
    seats: dict[str, int] = defaultdict(int)
    for unit in fleet:
        for seat in unit.seats:
            seats[seat.device_type] += 1
    return sum(
        model.count * sum(seats[option.device_type] for _, option in worthwhile(problem, model))
        for model in problem.models
    )


def enough(problem: PlacementProblem, fleet: list[Unit], value: float) -> list[Unit]:
    """The devices that a layout of at most this price can use, those that rules name included."""
    kept: list[Unit] = []
    counts: dict[str, int] = defaultdict(int)
    for unit in fleet:
        pool = unit.pool
        if pool.count is None and pool.price > 0 and not is_singled_out(problem, unit):
            counts[pool.name] += 1
            if counts[pool.name] > value / pool.price + 1e-9:
                continue
        kept.append(unit)
    return kept


def build(problem: PlacementProblem, fleet: list[Unit]) -> Compact:
    """The model with its goal, which is not yet set as the objective."""
    from ortools.sat.python import cp_model

    built = Compact(cp_model.CpModel())
    cp = built.cp
    models = dict(problem.copies())
    kinds = {kind.name: kind for kind in problem.types}
    built.used = [cp.new_bool_var("") for _ in fleet]
    rules = _Rules(problem)
    on_seat: dict[str, list[Key]] = defaultdict(list)
    of_model: dict[str, list[Key]] = defaultdict(list)
    flexible = problem.objective == "max-throughput"
    for name, model in models.items():
        rated = flexible or bool(model.rate)
        for k, option in worthwhile(problem, model):
            if not _fits(problem, kinds[option.device_type], option, rated=rated):
                continue
            for unit in fleet:
                for seat in unit.seats:
                    if seat.device_type != option.device_type:
                        continue
                    if not rules.allowed(name, model, unit, seat):
                        continue
                    key = (name, k, seat.name)
                    built.x[key] = cp.new_bool_var("")
                    if rated:
                        built.s[key] = cp.new_int_var(0, GRAINS, "")
                        cp.add(built.s[key] <= GRAINS * built.x[key])
                    on_seat[seat.name].append(key)
                    of_model[name].append(key)
    for number, unit in enumerate(fleet):
        _partition(built, unit, built.used[number])
        for seat in unit.seats:
            here = on_seat[seat.name]
            _capacity(built, problem, models, kinds[seat.device_type], here, seat.name)
            _slowdown(built, problem, models, here)
            by_model: dict[str, list[Any]] = defaultdict(list)
            for key in here:
                by_model[key[0]].append(built.x[key])
            for mine in by_model.values():
                cp.add(sum(mine) <= built.in_use[seat.name])
    carried: dict[str, Any] = {}
    for name, model in models.items():
        _demand(built, problem, fleet, name, model, of_model[name], carried)
    rules.constrain(built, fleet, of_model)
    if problem.max_devices is not None:
        cp.add(sum(built.used) <= problem.max_devices)
    _in_order(built, problem, fleet, on_seat, models)
    moved = _moved(built, problem)
    if flexible:
        _throughput(built, problem, models, carried)
    else:
        _cost(built, problem, fleet, moved)
    return built


def search(
    problem: PlacementProblem,
    fleet: list[Unit],
    deadline: Deadline,
    seed: int = 0,
    *,
    better_than: Fraction | None = None,
    at_least: Fraction | None = None,
    forbidden: Iterable[tuple[str, frozenset[tuple[str, int]]]] = (),
    effort: float | None = None,
    workers: int = 1,
) -> Found:
    """The best placement on these units that is found before the deadline.

    With `better_than` only layouts that are at least as good as that are looked for, so that
    `infeasible` proves that there is none; `at_least` is a proven bound.
    `forbidden`: residents, as (model, option), that no device of a type holds just so. `effort`:
    CP-SAT's deterministic seconds.
    """
    from ortools.sat.python import cp_model

    if size(problem, fleet) > STATED_PER_S * deadline.left_s:
        return Found("unknown")  # stating the model alone would take longer
    built = build(problem, fleet)
    cp = built.cp
    _forbid(built, fleet, forbidden)
    least = problem.objective == "min-hardware"
    if least:
        cp.minimize(built.goal)
        if better_than is not None:
            cp.add(built.goal <= floor(better_than / built.unit))
        if at_least is not None:
            cp.add(built.goal >= floor(at_least / built.unit))
    else:
        cp.maximize(built.goal)
        if better_than is not None:
            cp.add(built.goal >= ceil(better_than / built.unit))
    status, solver = run(cp, deadline, seed, workers, effort)
    if status == cp_model.INFEASIBLE:
        return Found("infeasible")
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return Found("unknown")
    optimal = status == cp_model.OPTIMAL
    value = round(solver.objective_value)
    bound = Fraction(value)
    if not optimal:
        limit = solver.best_objective_bound
        bound = Fraction(ceil(limit - 1e-6) if least else floor(limit + 1e-6))
    return Found(
        "optimal" if optimal else "feasible",
        replicas_of(built, solver),
        value * built.unit,
        bound * built.unit,
    )


def _forbid(
    built: Compact,
    fleet: list[Unit],
    forbidden: Iterable[tuple[str, frozenset[tuple[str, int]]]],
) -> None:
    on_seat: dict[str, dict[tuple[str, int], Any]] = defaultdict(dict)
    for (name, k, at), var in built.x.items():
        on_seat[at][name, k] = var
    for kind, residents in forbidden:
        for unit in fleet:
            for seat in unit.seats:
                here = on_seat[seat.name]
                if seat.device_type == kind and residents <= here.keys():
                    built.cp.add_bool_or(
                        var.negated() if key in residents else var for key, var in here.items()
                    )


def run(cp: Any, deadline: Deadline, seed: int, workers: int, effort: float | None) -> Any:
    """CP-SAT's status and solver."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(0.01, deadline.left_s)
    if effort is not None:
        solver.parameters.max_deterministic_time = effort
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = workers if workers == 1 else max(PORTFOLIO, workers)
    solver.parameters.linearization_level = 2
    solver.parameters.use_lns = False  # what is far from proven has neighbourhoods of our own
    solver.parameters.catch_sigint_signal = False  # the deadline is told instead
    deadline.watch(solver.stop_search)
    try:
        return solver.solve(cp), solver
    finally:
        deadline.unwatch(solver.stop_search)


def replicas_of(built: Compact, solver: Any) -> tuple[Replica, ...]:
    """What CP-SAT chose; shares are rounded up to whole grains."""
    return tuple(
        Replica(*key, solver.value(built.s[key]) / GRAINS if key in built.s else 1.0)
        for key, var in built.x.items()
        if solver.boolean_value(var)
    )


def hint(built: Compact, replicas: Iterable[Replica]) -> None:
    """Give CP-SAT a layout to start from."""
    chosen = {(r.model, r.k, r.seat): r for r in replicas}
    for key, var in built.x.items():
        replica = chosen.get(key)
        built.cp.add_hint(var, int(replica is not None))
        if key in built.s:
            built.cp.add_hint(
                built.s[key], min(GRAINS, ceil(replica.share * GRAINS)) if replica else 0
            )


def headroom(built: Compact) -> Any:
    """The least free part of the capacity of any seat in use, over all resources."""
    least = built.cp.new_int_var(0, HEADROOM, "headroom")
    for load, limit, whole, in_use in built.headroom_rows:
        # load + headroom·whole <= limit where the seat is in use, no limit elsewhere
        built.cp.add(
            load * HEADROOM + least * whole <= limit * HEADROOM + whole * HEADROOM * (1 - in_use)
        )
    return least


class _Integers:
    """Figures of one kind as integers by a common denominator, or coarser and rounded one way."""

    def __init__(self, figures: Iterable[Fraction], largest: int = LARGEST) -> None:
        known = [f for f in figures if f]
        denominator, common, most = 1, 0, Fraction(0)
        for f in known:
            denominator = lcm(denominator, f.denominator)
            most = max(most, abs(f))
            if denominator > largest**2:
                break
        if denominator <= largest**2:
            for f in known:
                common = gcd(common, int(f * denominator))
            self.unit = Fraction(common or 1, denominator)
        else:
            self.unit = Fraction(0)
        if not self.unit or most / self.unit > largest:
            self.unit = max((abs(f) for f in known), default=Fraction(1)) / largest
        self.exact = all((f / self.unit).denominator == 1 for f in known)

    def down(self, figure: Fraction) -> int:
        return floor(figure / self.unit)

    def up(self, figure: Fraction) -> int:
        return ceil(figure / self.unit)

    def most(self, limit: Fraction, times: int = GRAINS) -> int:
        """A limit on sums of the figures, each taken in parts of one in `times`."""
        # Exact multiples of a unit leave no use for a part of one.
        return floor(limit * times / self.unit) if self.exact else ceil(limit * times / self.unit)


def _fits(problem: PlacementProblem, kind: PoolType, option: Option, *, rated: bool) -> bool:
    for resource in problem.resources:
        limit = kind.capacity.get(resource.name)
        if limit is None:
            continue
        room = fraction(limit) - fraction(kind.baseline.get(resource.name, 0.0))
        needs = option.standing if rated and resource.scales else option.needs
        if room < 0 or fraction(needs.get(resource.name, 0.0)) > room:
            return False
    return True


def _partition(built: Compact, unit: Unit, used: Any) -> None:
    """A unit is used whole or in one of its legal partitions."""
    whole, *slices = unit.seats
    if not slices:
        built.in_use[whole.name] = used
        return
    cp = built.cp
    modes = [cp.new_bool_var("") for _ in unit.pool.partitions]
    built.in_use[whole.name] = cp.new_bool_var("")
    cp.add(built.in_use[whole.name] + sum(modes) == used)
    for seat in slices:
        built.in_use[seat.name] = sum(
            mode
            for mode, partition in zip(modes, unit.pool.partitions, strict=True)
            if partition.count(seat.device_type) >= (seat.slice_number or 0)
        )


def _capacity(
    built: Compact, problem: PlacementProblem, models: Mapping[str, Model], kind: PoolType,
    here: list[Key], seat: str,
) -> None:  # fmt: skip
    for resource in problem.resources:
        limit = kind.capacity.get(resource.name)
        if limit is None or not here:
            continue
        room = fraction(limit) - fraction(kind.baseline.get(resource.name, 0.0))
        needs = {
            key: fraction(models[key[0]].options[key[1]].needs.get(resource.name, 0.0))
            for key in here
        }
        shared = resource.scales and any(key in built.s for key in here)
        standing = {
            key: fraction(models[key[0]].options[key[1]].standing.get(resource.name, 0.0))
            for key in here
            if shared and key in built.s
        }
        moving = [needs[key] - amount for key, amount in standing.items() if amount]
        numbers = _Integers(
            [*needs.values(), *standing.values(), *moving], LARGEST if shared else 2**40
        )
        times = GRAINS if shared else 1
        most = numbers.most(room, times)
        load: Any = 0
        full = 0
        for key, need in needs.items():
            there = standing.get(key, Fraction(0))
            amount, fixed = numbers.down(need - there), numbers.down(there)
            if not amount and not fixed:
                continue
            full += (amount + fixed) * times
            if shared and key in built.s:
                load += amount * (built.s[key] - built.x[key]) + fixed * times * built.x[key]
            else:
                load += amount * times * built.x[key]
        if isinstance(load, int):
            continue
        built.cp.add(load <= min(most, full) * built.in_use[seat])
        whole = max(1, floor(fraction(limit) * times / numbers.unit))
        if max(full, most, whole) * HEADROOM < MOST:
            built.headroom_rows.append((load, most, whole, built.in_use[seat]))


def _slowdown(
    built: Compact, problem: PlacementProblem, models: Mapping[str, Model], here: list[Key]
) -> None:
    """What sits on a seat carries no more than its neighbours leave, and meets its limit there."""
    options = {key: models[key[0]].options[key[1]] for key in here}
    for key, option in options.items():
        if not option.sensitivity:
            continue
        model = models[key[0]]
        b = fraction(option.sensitivity)
        felt = {
            other: b * fraction(o.busy) * _least_reached(problem, models, options, other)
            for other, o in options.items()
            if other[0] != key[0] and o.busy
        }
        felt = {other: amount for other, amount in felt.items() if amount}
        if not felt:
            continue
        numbers = _Integers([Fraction(1), *felt.values()])
        lost: Any = 0
        for other, amount in felt.items():
            weight = numbers.down(amount)
            if other in built.s:
                lost += weight * (built.s[other] - built.x[other])
            else:
                lost += weight * GRAINS * built.x[other]
        whole = numbers.up(Fraction(1))
        if model.latency_limit_ms is not None and option.latency_ms is not None:
            spare = 1 - fraction(option.latency_ms) / fraction(model.latency_limit_ms)
            built.cp.add(lost <= numbers.most(spare)).only_enforce_if(built.x[key])
        most = problem.max_slowdown
        if most is not None and key not in built.s:
            built.cp.add(lost <= numbers.most(fraction(most))).only_enforce_if(built.x[key])
        if key in built.s:
            mine = whole * (built.s[key] - built.x[key])
            built.cp.add(mine + lost <= whole * GRAINS).only_enforce_if(built.x[key])


def _least_reached(
    problem: PlacementProblem,
    models: Mapping[str, Model],
    options: Mapping[Key, Option],
    key: Key,
) -> Fraction:
    """What a replica reaches at least of its share, whoever sits beside it.

    One with a rate carries its share; the speed of another that neighbours slow is not known before
    these are, so that the model leaves its part in their slowdown out as far as need be.
    """
    option, model = options[key], models[key[0]]
    if not option.sensitivity or model.rate or problem.objective == "max-throughput":
        return Fraction(1)
    most: dict[str, Fraction] = defaultdict(Fraction)
    for (name, _, _), other in options.items():
        if name != key[0]:
            most[name] = max(most[name], fraction(other.busy))
    least = max(Fraction(0), 1 - fraction(option.sensitivity) * sum(most.values()))
    if problem.max_slowdown is not None:
        least = max(least, 1 - fraction(problem.max_slowdown))
    return least


def _demand(
    built: Compact, problem: PlacementProblem, fleet: list[Unit], name: str, model: Model,
    keys: list[Key], carried: dict[str, Any],
) -> None:  # fmt: skip
    cp = built.cp
    flexible = problem.objective == "max-throughput"
    if model.min_replicas:
        of_unit: dict[str, list[Any]] = defaultdict(list)
        unit_of = {seat.name: unit.name for unit in fleet for seat in unit.seats}
        for key in keys:
            of_unit[unit_of[key[2]]].append(built.x[key])
        present = []
        sliced = {unit.name for unit in fleet if len(unit.seats) > 1}
        for unit, here in of_unit.items():
            if unit not in sliced:
                present += here
                continue
            there = cp.new_bool_var("")
            cp.add(there <= sum(here))
            present.append(there)
        if present:
            cp.add(sum(present) >= model.min_replicas)
        else:
            cp.add_bool_or([])
    if not flexible and model.rate:
        rate = fraction(model.rate)
        numbers = _Integers([rate, *(fraction(model.options[k[1]].throughput) for k in keys)])
        amount: Any = 0
        for key in keys:
            amount += numbers.up(fraction(model.options[key[1]].throughput)) * built.s[key]
        if isinstance(amount, int):
            cp.add_bool_or([])
        else:
            cp.add(amount >= numbers.down(rate) * GRAINS)
    elif flexible:
        wanted = fraction(reference(model)) if reference(model) else Fraction(0)
        amount = 0
        for key in keys if wanted else ():
            ratio = fraction(model.options[key[1]].throughput) / wanted
            amount += min(MOST_FACTOR, ceil(ratio * FACTOR)) * built.s[key]
        most = FACTOR if problem.fairness == "sum" else MOST_FACTOR
        carried[name] = cp.new_int_var(0, most, "")
        cp.add(carried[name] * GRAINS <= amount)


def _moved(built: Compact, problem: PlacementProblem) -> list[Any]:
    """The replicas that are moves, held to the limit."""
    running = {model for model, _ in problem.current}
    current = set(problem.current)
    moved = [
        var
        for (name, _, seat), var in built.x.items()
        if name in running and (name, seat) not in current
    ]
    if problem.max_moves is not None and moved:
        built.cp.add(sum(moved) <= problem.max_moves)
    return moved


def _cost(built: Compact, problem: PlacementProblem, fleet: list[Unit], moved: list[Any]) -> None:
    """Price plus moves in whole units of money, as fine as the prices are written."""
    prices = [fraction(unit.pool.price) for unit in fleet]
    move = fraction(problem.move_price) if moved else Fraction(0)
    built.unit = common_unit([*prices, move])
    dearest = max([*prices, move], default=Fraction(1))
    if dearest / built.unit > DEAREST:  # prices are rounded down: the bound stays one
        built.unit = dearest / DEAREST
    whole = [int(price / built.unit) for price in prices]
    goal: Any = sum(p * u for p, u in zip(whole, built.used, strict=True) if p)
    if move:
        goal = goal + int(move / built.unit) * sum(moved)
    built.goal = goal


def _throughput(
    built: Compact, problem: PlacementProblem, models: Mapping[str, Model], carried: dict[str, Any]
) -> None:
    cp = built.cp
    if problem.fairness == "max-min":
        built.goal = cp.new_int_var(0, MOST_FACTOR, "factor")
        for name in models:
            cp.add(built.goal <= carried[name])
        built.unit = Fraction(1, FACTOR)
        return
    weights = [fraction(model.weight) for model in models.values()]
    unit = common_unit(weights)
    if max(weights, default=Fraction(0)) / unit > LARGEST:
        unit = max(weights) / LARGEST
    goal: Any = 0
    for (name, _), weight in zip(models.items(), weights, strict=True):
        goal += ceil(weight / unit) * carried[name]
    built.goal = goal
    built.unit = unit / FACTOR


def _in_order(
    built: Compact, problem: PlacementProblem, fleet: list[Unit],
    on_seat: Mapping[str, list[Key]], models: Mapping[str, Model],
) -> None:  # fmt: skip
    """Equal devices of a pool are used in order, the fullest first: breaks their symmetry."""
    hard = next((r for r in problem.resources if not r.scales), None)
    before: dict[str, int] = {}
    for number, unit in enumerate(fleet):
        if is_singled_out(problem, unit):
            continue
        last = before.get(unit.pool.name)
        before[unit.pool.name] = number
        if last is None:
            continue
        built.cp.add(built.used[last] >= built.used[number])
        if hard is None or len(unit.seats) > 1:
            continue
        sides = []
        for other in (fleet[last], unit):
            load: Any = 0
            for key in on_seat[other.seats[0].name]:
                need = fraction(models[key[0]].options[key[1]].needs.get(hard.name, 0.0))
                load += floor(need * 10**6 / (1 + _largest(problem, hard.name))) * built.x[key]
            sides.append(load)
        if not all(isinstance(side, int) for side in sides):
            built.cp.add(sides[0] >= sides[1])


def _largest(problem: PlacementProblem, name: str) -> Fraction:
    return max((fraction(kind.capacity.get(name, 0.0)) for kind in problem.types), default=0)  # type: ignore[return-value]


class _Rules:
    """The rules as constraints, by the copy that they speak of."""

    def __init__(self, problem: PlacementProblem) -> None:
        self.problem = problem
        self.names: dict[str, list[str]] = defaultdict(list)
        for name, model in problem.copies():
            self.names[model.name].append(name)
            if name != model.name:
                self.names[name].append(name)

    def allowed(self, name: str, model: Model, unit: Unit, seat: Seat) -> bool:
        """Whether the rules let the model onto the seat."""
        if seat.name in self.problem.rules.excluded_devices:
            return False
        names = {name, model.name}
        pins = [device for rule, device in self.problem.rules.pins if rule in names]
        if pins and not any(means(unit, seat, device) for device in pins):
            return False
        return not any(
            rule in names and means(unit, seat, device)
            for rule, device in self.problem.rules.forbidden
        )

    def constrain(
        self, built: Compact, fleet: list[Unit], of_model: Mapping[str, list[Key]]
    ) -> None:
        cp, rules = built.cp, self.problem.rules

        def here(name: str) -> dict[str, Any]:
            sums: dict[str, Any] = defaultdict(int)
            for key in of_model[name]:
                sums[key[2]] += built.x[key]
            return sums

        seats = [seat.name for unit in fleet for seat in unit.seats]
        for group in rules.apart:
            members = [here(name) for name in self._members(group)]
            for seat in seats:
                present = [m[seat] for m in members if seat in m]
                if len(present) > 1:
                    cp.add(sum(present) <= 1)
        for group in rules.together:
            members = [here(name) for name in self._members(group)]
            for seat in seats:
                for other in members[1:]:
                    cp.add(members[0].get(seat, 0) == other.get(seat, 0))
        for name in self._members(rules.spread):
            present_at = here(name)
            hosts: dict[str, Any] = defaultdict(int)
            for unit in fleet:
                for place in unit.seats:
                    if place.name in present_at:
                        hosts[unit.host] += present_at[place.name]
            for present_on in hosts.values():
                cp.add(present_on <= 1)

    def _members(self, group: Iterable[str]) -> list[str]:
        return list(dict.fromkeys(name for rule in group for name in self.names[rule]))
