"""Large neighbourhood search: free a few devices, place anew what sat there, keep what is better.

Everything on the other devices stands. A neighbourhood is a small problem of its own that CP-SAT
solves in a second or less, so that layouts of hundreds of devices get better step by step (Shaw,
"Using constraint programming and local search methods to solve vehicle routing problems", 1998).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from placement.problem import PlacementProblem
from placement.problem.colocation import COVER, SHARES, Scale, cover
from placement.problem.fleet import Unit
from placement.problem.options import reference
from placement.solver import refill
from placement.solver.assignment import Replica, search
from placement.solver.compact import Outside
from placement.solver.result import Deadline

STEP_S = 4.0  # for one neighbourhood
LOW = 12  # models with the least throughput that a max-min neighbourhood may place as well
RAISE = 1.15  # a max-min step lifts models up to this factor above the least


def applies(problem: PlacementProblem) -> bool:
    """Whether neighbourhoods can be cut out: not with rules that reach over the whole fleet."""
    return not problem.rules.together and problem.max_moves is None


def worth(problem: PlacementProblem, fleet: list[Unit], replicas: Iterable[Replica]) -> float:
    """The objective of a layout: price with moves, or weighted or least relative throughput."""
    replicas = list(replicas)
    if problem.objective == "min-hardware":
        unit_of = {seat.name: unit for unit in fleet for seat in unit.seats}
        used = {unit_of[r.seat].name: unit_of[r.seat].pool.price for r in replicas}
        running = {model for model, _ in problem.current}
        moves = sum(
            r.model in running and (r.model, r.seat) not in problem.current for r in replicas
        )
        return sum(used.values()) + problem.move_price * moves
    growth = carried(problem, replicas)
    if problem.fairness == "max-min":
        return min(growth.values(), default=0.0)
    return sum(model.weight * min(1.0, growth[name]) for name, model in problem.copies())


def carried(problem: PlacementProblem, replicas: Iterable[Replica]) -> dict[str, float]:
    """What each model carries, relative to its reference."""
    models = dict(problem.copies())
    amounts = dict.fromkeys(models, 0)
    for r in replicas:
        model = models[r.model]
        wanted = reference(model)
        if wanted:
            amounts[r.model] += cover(model.options[r.k].throughput, wanted) * r.share
    return {name: amount / (COVER * SHARES) for name, amount in amounts.items()}


def improve(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    replicas: tuple[Replica, ...],
    bound: float,
    deadline: Deadline,
    seed: int = 0,
) -> tuple[Replica, ...]:
    """The best layout found before the deadline, or when the bound is met."""
    generator = random.Random(seed)
    least = problem.objective == "min-hardware"
    best = worth(problem, fleet, replicas)
    size = 4 if least else 3
    failures = 0
    while deadline.left_s > 0.05:
        if (best <= bound + 1e-9) if least else (best >= bound * (1 - 1e-6)):
            break
        found = _step(problem, scale, fleet, replicas, deadline, generator, size)
        if found is None:
            failures += 1
            if failures > 30:
                failures, size = 0, min(size + 1, 8, len(fleet))
            continue
        value = worth(problem, fleet, found)
        if (value <= best + 1e-9) if least else (value >= best - 1e-9):
            better = abs(value - best) > 1e-9
            failures = 0 if better else failures + 1
            replicas, best = found, value
        else:
            failures += 1
    return replicas


def _step(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    replicas: tuple[Replica, ...],
    deadline: Deadline,
    generator: random.Random,
    size: int,
) -> tuple[Replica, ...] | None:
    unit_of = {seat.name: unit for unit in fleet for seat in unit.seats}
    loads: dict[str, int] = defaultdict(int)
    for r in replicas:
        loads[unit_of[r.seat].name] += 1
    by_name = {unit.name: unit for unit in fleet}
    growth = carried(problem, replicas)
    extra: list[str] = []
    freed: set[str] = set()
    if problem.objective == "min-hardware":
        used = sorted(loads)
        # A device with few residents is the easiest to empty.
        light = sorted(used, key=lambda name: loads[name] + generator.random())[
            : len(used) // 3 + 1
        ]
        freed = {generator.choice(light)}
        freed |= set(generator.sample(used, min(size - 1, len(used))))
        spare: dict[str, str] = {}
        for unit in fleet:
            if not loads[unit.name]:
                spare.setdefault(unit.pool.name, unit.name)
        freed |= set(spare.values())
    else:
        low = sorted(growth, key=lambda name: growth[name] + 1e-4 * generator.random())
        extra = low[:LOW]
        homes = [unit_of[r.seat].name for r in replicas if r.model == low[0]]
        freed = set(homes[:1])
        freed |= set(generator.sample(sorted(by_name), min(size, len(by_name))))
    inside = [r for r in replicas if unit_of[r.seat].name in freed]
    rest = [r for r in replicas if unit_of[r.seat].name not in freed]
    names = {r.model for r in inside} | set(extra)
    sub, outside = _cut(problem, unit_of, rest, names, growth)
    if not sub.models:
        return None
    units = [unit for unit in fleet if unit.name in freed]
    part = deadline.at_most(STEP_S)
    if refill.applies(sub):
        filled = refill.refill(sub, scale, units, part, inside, outside)
        return None if filled is None else (*rest, *filled)
    answer = search(sub, scale, units, part, generator.randrange(2**30), inside, outside=outside)
    if answer.status not in {"optimal", "feasible"}:
        return None
    return (*rest, *answer.replicas)


def _cut(
    problem: PlacementProblem,
    unit_of: dict[str, Unit],
    rest: list[Replica],
    names: set[str],
    growth: dict[str, float],
) -> tuple[PlacementProblem, dict[str, Outside]]:
    """The problem of placing these models on the freed devices, with the rest as it stands."""
    flexible = problem.objective == "max-throughput"
    floor = min(growth.values(), default=0.0)
    models = []
    outside: dict[str, Outside] = {}
    forbidden = []
    spread = []
    for name, model in problem.copies():
        if name not in names:
            continue
        # A copy stands as a model of its own here, rules included.
        changed = replace(model, name=name, count=1)
        least = 0
        if flexible and problem.fairness == "max-min":
            target = max(floor * RAISE, 0.01)
            changed = replace(changed, rate=reference(model) * target, weight=1.0)
            least = int(COVER * floor / target) - 2
        models.append(changed)
        mine = [r for r in rest if r.model == name]
        wanted = reference(changed)
        outside[name] = Outside(
            sum(cover(model.options[r.k].throughput, wanted) * r.share for r in mine if wanted),
            len(mine),
            max(0, least),
        )
        forbidden += [
            (name, device) for rule, device in problem.rules.forbidden if rule in {name, model.name}
        ]
        if {name, model.name} & set(problem.rules.spread):
            spread.append(name)
            hosts = {unit_of[r.seat].host for r in mine}
            forbidden += [(name, unit.name) for unit in unit_of.values() if unit.host in hosts]
    of_rule: dict[str, list[str]] = defaultdict(list)
    for name, model in problem.copies():
        if name in names:
            of_rule[model.name].append(name)
            of_rule[name] = [name]
    rules = replace(
        problem.rules,
        pins=tuple((n, device) for rule, device in problem.rules.pins for n in of_rule[rule]),
        forbidden=tuple(forbidden),
        apart=tuple(
            group
            for rule in problem.rules.apart
            if len(group := tuple(n for member in rule for n in of_rule[member])) > 1
        ),
        spread=tuple(spread),
        excluded_devices=(),
    )
    spare = None
    if problem.max_devices is not None:
        spare = problem.max_devices - len({unit_of[r.seat].name for r in rest})
    sub = replace(problem, models=tuple(models), rules=rules, max_moves=None, max_devices=spare)
    if flexible and problem.fairness == "max-min":
        sub = replace(sub, fairness="sum")
    return sub, outside
