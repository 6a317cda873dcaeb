"""Where the solver's answers contradict the truth, or each other.

`against_brute_force` takes small problems, `between_statements` problems of any size, of which it
solves two statements whose answers are related: the same problem written in another way, or one
that is no easier. Both return what is wrong in words, or None.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from brute_force import exact, solve_exactly

from placement import Model, PlacementProblem, Pool, Resource, Result, Rules, solve
from placement.layout import check
from placement.problem.validate import validate
from profiles.errors import InputError

EXACT = 1e-12  # relative: sums of the same prices
BELIEVED = 1e-6  # relative, of throughputs


def against_brute_force(problem: PlacementProblem, limit_s: float = 20.0) -> str | None:
    """What is wrong with the answer to a small problem. Raises TooLargeError."""
    best = solve_exactly(problem)
    if best is not None:
        faults = check.violations(problem, best.layout)
        assert not faults, f"brute force is wrong: {faults}"
    result, fault = answer(problem, limit_s)
    if fault or result is None:
        return fault
    if best is None:
        if result.layout is not None or result.status not in _unsure(problem, "infeasible"):
            return f"{result.status}, value {result.value}; nothing holds"
        return None
    value = float(best.value)
    if result.status not in _unsure(problem, "optimal"):
        return f"{result.status}, value {result.value}, bound {result.bound}; best is {value!r}"
    if result.status == "unknown":
        return None
    return _worse(problem, result, value, best.moves)


def _unsure(problem: PlacementProblem, status: str) -> set[str]:
    """The status, and what else will do.

    What models without a rate reach beside each other is not linear (`reached` in
    placement/problem/slowdown.py); a proof is not asked for there.
    """
    if problem.objective == "min-hardware" and any(
        option.sensitivity for model in problem.models if not model.rate for option in model.options
    ):
        return {status, "feasible", "unknown"}
    return {status}


def _worse(problem: PlacementProblem, result: Result, best: float, moves: int) -> str | None:
    """How the answer differs from the best value."""
    assert result.value is not None
    assert result.layout is not None
    assert result.bound is not None
    sign = 1 if problem.objective == "min-hardware" else -1
    near = EXACT if sign > 0 else BELIEVED
    slack = near * max(abs(best), abs(result.value))
    told = f"{result.status}, value {result.value!r}, bound {result.bound!r}; best is {best!r}"
    if problem.repair:
        made = len(check.moves(problem, result.layout))
        if made < moves or (result.status == "optimal" and made > moves):
            return f"{told}; {made} moves, fewest are {moves}"
        if made > moves:
            return None
    if sign * (result.value - best) < -slack:
        return f"better than the best: {told}"
    if result.status == "optimal" and abs(result.value - best) > slack:
        return told
    if sign * (result.bound - best) > slack:
        return f"the bound is wrong: {told}"
    return None


def answer(problem: PlacementProblem, limit_s: float) -> tuple[Result | None, str | None]:
    """The solver's answer, and what is wrong with it by itself."""
    try:
        result = solve(problem, limit_s)
    except Exception as error:  # nothing may be raised
        return None, f"raised {type(error).__name__}: {error}"
    if (result.layout is None) != (result.status in {"infeasible", "unknown"}):
        return result, f"{result.status} with{'out' if result.layout is None else ''} a layout"
    if result.layout is None:
        return result, None
    assert result.value is not None
    faults = check.violations(problem, result.layout)
    if faults:
        return result, f"the layout does not hold: {faults[0]}"
    value = check.objective(problem, result.layout)
    if abs(value - result.value) > 1e-9 * max(abs(value), abs(result.value)):
        return result, f"value {result.value!r}, but the layout's is {value!r}"
    if result.bound is None:
        return result, "no bound"
    sign = 1 if problem.objective == "min-hardware" else -1
    slack = BELIEVED * max(abs(result.value), abs(result.bound))
    if not problem.repair and sign * (result.bound - result.value) > slack:
        return result, f"the bound {result.bound!r} passes the value {result.value!r}"
    return result, None


# One problem in two statements


@dataclass(frozen=True)
class Pair:
    """A second statement, and how its best value relates to the first's."""

    name: str
    other: PlacementProblem
    factor: Fraction = Fraction(1)  # the second's value is this times the first's
    relation: str = "same"  # or "no worse": the second is a relaxation of the first
    first: PlacementProblem | None = None  # the first statement, where it is not the problem itself


def between_statements(
    problem: PlacementProblem, rng: random.Random, limit_s: float = 10.0
) -> tuple[str, str | None]:
    """A pair's name, and what is wrong with the two answers; of a pair drawn at random."""
    pairs = [pair for pair in statements(problem, rng) if _is_valid(pair.other)]
    pair = rng.choice(pairs)
    return pair.name, contradiction(problem, pair, limit_s)


def _is_valid(problem: PlacementProblem) -> bool:
    try:
        validate(problem)
    except InputError:
        return False
    return True


def contradiction(problem: PlacementProblem, pair: Pair, limit_s: float) -> str | None:
    """What two answers contradict each other in."""
    problem = pair.first or problem
    first, fault = answer(problem, limit_s)
    if fault or first is None:
        return f"the first: {fault}"
    second, fault = answer(pair.other, limit_s)
    if fault or second is None:
        return f"the second: {fault}"
    told = "; ".join(
        f"{which}: {r.status}, value {r.value!r}, bound {r.bound!r}"
        for which, r in (("first", first), ("second", second))
    )
    same = pair.relation == "same"
    if first.layout is not None and second.status == "infeasible":
        return told
    if same and second.layout is not None and first.status == "infeasible":
        return told
    if problem.repair:  # the number of moves comes before the price
        fewest = [
            len(check.moves(p, r.layout)) if r.layout is not None else None
            for p, r in ((problem, first), (pair.other, second))
        ]
        proven = first.status == second.status == "optimal"
        if not (proven and same) and fewest[0] != fewest[1]:
            return None
        if fewest[0] != fewest[1]:
            return f"{told}; moves {fewest[0]} and {fewest[1]}"
        if not proven or not same:
            return None
    sign = 1 if problem.objective == "min-hardware" else -1
    factor = float(pair.factor)
    near = 1e-9 if sign > 0 else 2 * BELIEVED
    # What one has found, the bound of the other must allow.
    if first.value is not None and second.bound is not None:
        slack = near * max(abs(first.value * factor), abs(second.bound))
        if sign * (first.value * factor - second.bound) < -slack:
            return told
    if same and second.value is not None and first.bound is not None:
        slack = near * max(abs(first.bound * factor), abs(second.value))
        if sign * (second.value - first.bound * factor) < -slack:
            return told
    return None


def statements(problem: PlacementProblem, rng: random.Random) -> Iterator[Pair]:
    """Second statements of the problem; some may not be valid."""
    yield from _renamed(problem, rng)
    yield from _scaled(problem, rng)
    yield from _idle_rules(problem, rng)
    yield from _other_words(problem, rng)
    yield from _relaxed(problem, rng)


def _renamed(problem: PlacementProblem, rng: random.Random) -> Iterator[Pair]:
    models = list(problem.models)
    rng.shuffle(models)
    pools = list(problem.pools)
    rng.shuffle(pools)
    shuffled = tuple(replace(m, options=_shuffled(m.options, rng)) for m in models)
    yield Pair("another order", replace(problem, models=shuffled, pools=tuple(pools)))
    if not problem.current and problem.rules == Rules():
        names = [f"z{n}" for n in range(len(models))]
        rng.shuffle(names)
        yield Pair(
            "other names",
            replace(
                problem,
                models=tuple(replace(m, name=n) for m, n in zip(models, names, strict=True)),
                pools=tuple(replace(p, name=f"p{n}") for n, p in enumerate(pools)),
            ),
        )


def _shuffled(items: tuple, rng: random.Random) -> tuple:
    listed = list(items)
    rng.shuffle(listed)
    return tuple(listed)


def _times(figure: float, factor: Fraction) -> float:
    return float(exact(figure) * factor)


def _scaled(problem: PlacementProblem, rng: random.Random) -> Iterator[Pair]:
    """Another unit; only factors with which every figure is written exactly."""
    for resource in problem.resources:
        factor = Fraction(rng.choice([1024, 1000, 10, 7]))

        def scaled(figures, name=resource.name, factor=factor):
            return {n: _times(f, factor) if n == name else f for n, f in figures.items()}

        other = replace(
            problem,
            types=tuple(
                replace(t, capacity=scaled(t.capacity), baseline=scaled(t.baseline))
                for t in problem.types
            ),
            models=tuple(
                replace(
                    m,
                    options=tuple(
                        replace(o, needs=scaled(o.needs), standing=scaled(o.standing))
                        for o in m.options
                    ),
                )
                for m in problem.models
            ),
        )
        before = [f for t in problem.types for f in (*t.capacity.values(), *t.baseline.values())]
        before += [f for m in problem.models for o in m.options for f in o.needs.values()]
        before += [f for m in problem.models for o in m.options for f in o.standing.values()]
        if all(exact(_times(f, factor)) == exact(f) * factor for f in before):
            yield Pair(f"{resource.name} in another unit", other)
    factor = Fraction(rng.choice([2, 10, 1000, 730]))
    prices = [p.price for p in problem.pools] + [problem.move_price]
    if problem.objective == "min-hardware" and all(
        exact(_times(p, factor)) == exact(p) * factor for p in prices
    ):
        dearer = tuple(replace(p, price=_times(p.price, factor)) for p in problem.pools)
        yield Pair(
            "prices in another currency",
            replace(problem, pools=dearer, move_price=_times(problem.move_price, factor)),
            factor,
        )
    if problem.objective == "max-throughput" and problem.fairness == "sum":
        heavier = tuple(replace(m, weight=m.weight * 8) for m in problem.models)
        yield Pair("heavier weights", replace(problem, models=heavier), Fraction(8))
    factor = Fraction(rng.choice([4, 60, 3]))
    rates = [o.throughput for m in problem.models for o in m.options]
    rates += [m.rate for m in problem.models if m.rate]
    if all(exact(_times(r, factor)) == exact(r) * factor for r in rates):
        faster = []
        for m in problem.models:
            options = tuple(replace(o, throughput=_times(o.throughput, factor)) for o in m.options)
            faster.append(replace(m, options=options, rate=m.rate and _times(m.rate, factor)))
        yield Pair("rates in another unit", replace(problem, models=tuple(faster)))


def _idle_rules(problem: PlacementProblem, rng: random.Random) -> Iterator[Pair]:
    """Rules that cannot bind."""
    rules = problem.rules
    names = [m.name for m in problem.models]
    name = rng.choice(names)

    def ruled(what: str, **changes: object) -> Pair:
        return Pair(what, replace(problem, rules=replace(rules, **changes)))

    if problem.max_devices is None:
        yield Pair("max_devices that cannot bind", replace(problem, max_devices=100_000))
    if problem.max_moves is None:
        yield Pair("max_moves that cannot bind", replace(problem, max_moves=100_000))
    single = [m.name for m in problem.models if m.count == 1] or names[:0]
    if single:
        one = rng.choice(single)
        yield ruled("apart with one member", apart=(*rules.apart, (one,)))
        yield ruled("together with one member", together=(*rules.together, (one,)))
        yield ruled("a member named twice", apart=(*rules.apart, (one, one)))
    unused = Pool("unused", problem.pools[0].device_type, 0)
    yield Pair("a pool of none", replace(problem, pools=(*problem.pools, unused)))
    yield Pair(
        "forbidden on a pool of none",
        replace(
            problem,
            pools=(*problem.pools, unused),
            rules=replace(rules, forbidden=(*rules.forbidden, (name, "unused"))),
        ),
    )
    pool = rng.choice(problem.pools)
    if all(name not in {m for m, _ in rules.pins} for name in names):
        allowed = tuple((m, p.name) for m in names for p in problem.pools)
        yield ruled("pinned to every pool", pins=(*rules.pins, *allowed))
    if rules.pins:
        yield ruled("a pin stated twice", pins=(*rules.pins, *rules.pins))
    if rules.together:
        yield ruled("together stated twice", together=(*rules.together, *rules.together))
    elsewhere = replace(problem.pools[0], name="elsewhere", count=2)
    yield Pair(
        "a pool that is excluded",
        replace(
            problem,
            pools=(*problem.pools, elsewhere),
            rules=replace(rules, excluded_devices=(*rules.excluded_devices, "elsewhere")),
        ),
    )
    if pool.count is not None and pool.count > 1 and not _is_named(problem, pool):
        wider = tuple(replace(p, count=pool.count + 1) if p is pool else p for p in problem.pools)
        lost = f"{pool.name}-{rng.randint(1, pool.count + 1)}"
        yield Pair(
            "one more device, excluded",
            replace(
                problem,
                pools=wider,
                rules=replace(rules, excluded_devices=(*rules.excluded_devices, lost)),
            ),
        )
    if problem.max_slowdown is None and problem.objective == "min-hardware":
        yield Pair("max_slowdown of one", replace(problem, max_slowdown=1.0))
    plain = Resource("plenty", scales=rng.random() < 0.5)
    yield Pair(
        "a resource that nobody lacks",
        replace(
            problem,
            resources=(*problem.resources, plain),
            types=tuple(replace(t, capacity={**t.capacity, "plenty": 1e6}) for t in problem.types),
            models=tuple(
                replace(
                    m,
                    options=tuple(replace(o, needs={**o.needs, "plenty": 0.7}) for o in m.options),
                )
                for m in problem.models
            ),
        ),
    )


def _is_named(problem: PlacementProblem, pool: Pool) -> bool:
    """Whether a rule or the current layout names the pool or a device of it."""
    rules = problem.rules
    named = [d for _, d in (*rules.pins, *rules.forbidden, *problem.current)]
    return any(d.startswith(pool.name) for d in (*named, *rules.excluded_devices))


def _other_words(problem: PlacementProblem, rng: random.Random) -> Iterator[Pair]:
    """The same in other features."""
    rules = problem.rules
    for pool in problem.pools:
        if _is_named(problem, pool):
            continue
        others = tuple(p for p in problem.pools if p is not pool)
        if pool.count is None:
            enough = _enough(problem)
            counted = (*others, replace(pool, count=enough))
            if enough <= 60:
                yield Pair("unlimited, or enough devices", replace(problem, pools=counted))
        elif 1 < pool.count <= 12:
            named = tuple(
                replace(pool, name=f"{pool.name}x{n}", count=1) for n in range(pool.count)
            )
            yield Pair("named devices", replace(problem, pools=(*others, *named)))
            split = (
                replace(pool, name=f"{pool.name}x", count=1),
                replace(pool, name=f"{pool.name}y", count=pool.count - 1),
            )
            yield Pair("a pool in two", replace(problem, pools=(*others, *split)))
    ruled = {name for name, _ in (*rules.pins, *rules.forbidden, *problem.current)}
    ruled |= {name for group in (*rules.apart, *rules.together) for name in group}
    ruled |= set(rules.spread)
    for model in problem.models:
        mine = {model.name, *(f"{model.name}#{n + 1}" for n in range(model.count))}
        if model.count > 1 and not mine & ruled:
            apart = tuple(
                replace(model, name=f"{model.name}x{n}", count=1) for n in range(model.count)
            )
            rest = tuple(m for m in problem.models if m is not model)
            yield Pair("a count, or models", replace(problem, models=(*rest, *apart)))
            break
    if not problem.rules.apart:
        slotted = replace(
            problem,
            resources=(*problem.resources, Resource("slot", scales=False)),
            types=tuple(replace(t, capacity={**t.capacity, "slot": 1}) for t in problem.types),
            models=tuple(
                replace(
                    m, options=tuple(replace(o, needs={**o.needs, "slot": 1}) for o in m.options)
                )
                for m in problem.models
            ),
        )
        everyone = tuple(m.name for m in problem.models)
        apart_all = replace(problem, rules=replace(rules, apart=(everyone,)))
        yield Pair("apart, or one slot", apart_all, first=slotted)
    for model in rng.sample(problem.models, 1):
        doubled = tuple(replace(o, name=f"{o.name} again") for o in model.options)
        rest = tuple(m for m in problem.models if m is not model)
        more = replace(model, options=(*model.options, *doubled))
        yield Pair("options stated twice", replace(problem, models=(*rest, more)))
        if not any(o.sensitivity for o in model.options):
            leaner = tuple(
                replace(o, name=f"{o.name} worse", needs={n: f * 1.5 for n, f in o.needs.items()})
                for o in model.options
            )
            more = replace(model, options=(*leaner, *model.options))
            yield Pair("options that are worse", replace(problem, models=(*rest, more)))


def _enough(problem: PlacementProblem) -> int:
    """Devices of a pool that suffice: one for each replica that could ever be of use."""
    total = 0
    for _, model in problem.copies():
        slowest = min((o.throughput for o in model.options if o.throughput > 0), default=0.0)
        needs = [model.min_replicas]
        if model.rate and slowest:
            # A replica may carry less than all of its throughput: not enough for a device alone.
            needs.append(int(4 * model.rate / slowest) + 1)
        total += max(needs)
    return total


def _relaxed(problem: PlacementProblem, rng: random.Random) -> Iterator[Pair]:
    """Problems that are no harder."""
    pool = rng.choice(problem.pools)
    if pool.count is not None:
        wider = tuple(replace(p, count=pool.count + 1) if p is pool else p for p in problem.pools)
        if pool.count > 1:
            yield Pair("one more device", replace(problem, pools=wider), relation="no worse")
    extra = (*problem.pools, replace(pool, name="extra", count=1))
    yield Pair("one more pool", replace(problem, pools=extra), relation="no worse")
    roomier = tuple(
        replace(t, capacity={n: c * 1.25 for n, c in t.capacity.items()}) for t in problem.types
    )
    yield Pair("more of everything", replace(problem, types=roomier), relation="no worse")
    rules = problem.rules
    for name in ("pins", "forbidden", "apart", "together", "spread", "excluded_devices"):
        if getattr(rules, name):
            freer = replace(problem, rules=replace(rules, **{name: ()}))
            yield Pair(f"without {name}", freer, relation="no worse")
    if problem.max_devices is not None:
        more = replace(problem, max_devices=problem.max_devices + 1)
        yield Pair("a higher max_devices", more, relation="no worse")
    if problem.max_moves is not None:
        more = replace(problem, max_moves=problem.max_moves + 1)
        yield Pair("a higher max_moves", more, relation="no worse")
    models = problem.models
    i = rng.randrange(len(models))
    easier: list[tuple[str, Model]] = []
    if models[i].rate and problem.objective == "min-hardware":
        easier.append(("a lower rate", replace(models[i], rate=models[i].rate * 0.75)))
    if models[i].latency_limit_ms:
        easier.append(("no latency limit", replace(models[i], latency_limit_ms=None)))
    if models[i].min_replicas > 0:
        fewer = replace(models[i], min_replicas=models[i].min_replicas - 1)
        easier.append(("one replica less", fewer))
    for name, model in easier:
        if name == "no latency limit" and problem.objective == "max-throughput":
            continue  # the reference of its throughput changes
        other = replace(problem, models=(*models[:i], model, *models[i + 1 :]))
        yield Pair(name, other, relation="no worse")
    if problem.max_slowdown is not None:
        yield Pair("no max_slowdown", replace(problem, max_slowdown=None), relation="no worse")
