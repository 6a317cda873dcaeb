"""Random placement problems with every feature, drawn from figures that just fit.

`small` problems are within the reach of tests/brute_force.py, `large` ones are not; `smaller`
reduces a problem that fails to the parts that it takes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules
from placement.explain.infeasible import without_model
from placement.problem.validate import validate
from profiles.errors import InputError

# (capacity, baselines, needs): integers, MiB, thirds, tenths that floats miss by a hair
MEMORY = (
    ((6, 8, 10, 12), (0, 1), (1, 2, 3, 4, 5, 6, 7)),
    ((15360, 23040), (0, 0, 512), (7680, 5120, 3840, 2560, 7424, 15360)),
    ((10.0, 10.0, 1.0), (0.0,), (10 / 3, 3.3333, 3.3334, 1 / 3, 0.1, 0.2, 0.7)),
    ((0.3, 0.6), (0.0,), (0.1, 0.2, 0.3)),
)
UTILIZATION = (
    ((100,), (0, 10), (10, 20, 30, 40, 50, 60, 80, 90, 100, 120)),
    ((100, 90), (0,), (33.3, 33.4, 100 / 3, 66.7, 45, 30)),
    ((85,), (1,), (42, 28, 21, 84, 12.6, 97)),
)
PRICES = (1.0, 1.0, 1.0, 1.5, 0.7, 0.1, 0.3, 0.0, 2.0, 0.1 / 730)
MOVE_PRICES = (0.0, 0.3, 0.1, 0.1 / 730)
WEIGHTS = (1.0, 1.0, 2.0, 0.5, 0.0004, 1e-6, 0.0)
RESOURCES = (Resource("memory", scales=False, unit="GB"), Resource("utilization"))


def small(rng: random.Random) -> PlacementProblem:
    """A problem of at most three models on a few devices."""
    while True:
        problem = _draw(rng, copies=rng.choice([1, 2, 2, 3, 3]), devices=rng.choice([2, 3, 4, 4]))
        try:
            validate(problem)
        except InputError:
            continue
        return problem


def large(rng: random.Random) -> PlacementProblem:
    """A problem of five to some thirty models, on up to a few dozen devices."""
    while True:
        copies = rng.choice([5, 8, 12, 20, 30])
        problem = _draw(rng, copies=copies, devices=rng.choice([4, copies // 2 + 2, copies]))
        try:
            validate(problem)
        except InputError:
            continue
        return problem


def _draw(rng: random.Random, copies: int, devices: int) -> PlacementProblem:
    least = rng.random() < 0.7
    memory, utilization = rng.choice(MEMORY), rng.choice(UTILIZATION)
    types = tuple(
        PoolType(
            name,
            {"memory": rng.choice(memory[0])}
            | ({"utilization": rng.choice(utilization[0])} if rng.random() < 0.85 else {}),
            {"memory": rng.choice(memory[1]), "utilization": rng.choice(utilization[1])},
        )
        for name in ("big", "small")
    )
    pools = _pools(rng, devices, unlimited=least)
    slowed = rng.random() < 0.25
    there = [pool.device_type for pool in pools]
    there += [kind for pool in pools for partition in pool.partitions for kind in partition]
    models = _models(rng, copies, there, memory[2], utilization[2], slowed=slowed, least=least)
    names = [m.name for m in models]
    places = [name for pool in pools for name in (pool.name, *pool.devices(3))]
    slices = [
        f"{name}/{kind}-{number}"
        for pool in pools
        for name in pool.devices(2)
        for partition in pool.partitions[:1]
        for kind in dict.fromkeys(partition)
        for number in range(1, partition.count(kind) + 1)
    ]
    current: tuple[tuple[str, str], ...] = ()
    if rng.random() < 0.3:
        everyone = [n for m in models for n in _copies(m)]
        chosen = rng.sample(everyone, rng.randint(1, min(len(everyone), 2 + copies // 2)))
        current = tuple((name, rng.choice([*places, *slices])) for name in chosen)
    problem = PlacementProblem(
        models,
        types,
        pools,
        RESOURCES,
        _rules(rng, models, names, [*places, *slices], pools),
        "min-hardware" if least else "max-throughput",
        rng.choice(["sum", "max-min"]),
        current,
        rng.choice([None, None, 0, 1, 2, 2]) if current else None,
        rng.choice(MOVE_PRICES) if current or rng.random() < 0.1 else 0.0,
        rng.choice([1, 2, 3, devices, devices]) if rng.random() < 0.15 else None,
        repair=bool(current) and least and rng.random() < 0.25,
        max_slowdown=rng.choice([0.0, 0.2, 0.5]) if slowed and rng.random() < 0.3 else None,
    )
    return _curved(rng, problem) if rng.random() < 0.3 else problem


def _curved(rng: random.Random, problem: PlacementProblem) -> PlacementProblem:
    """With options that are pieces of a curve: some of what they need stands at any share."""

    def piece(option: Option) -> Option:
        need = option.needs.get("utilization", 0.0)
        part = rng.choice([0.0, 0.0, 0.25, 0.5, 1.0])
        return replace(option, standing={"utilization": need * part} if part else {})

    models = tuple(
        replace(model, options=tuple(piece(option) for option in model.options))
        for model in problem.models
    )
    return replace(problem, models=models)


def _pools(rng: random.Random, devices: int, *, unlimited: bool) -> tuple[Pool, ...]:
    pools = []
    left = devices
    for name in rng.sample(["a", "b", "c"], rng.choice([1, 2, 2, 2, 3])):
        count: int | None = rng.randint(1, max(1, left)) if pools else rng.randint(1, devices)
        assert count is not None
        left -= count
        if unlimited and rng.random() < 0.35:
            count = None
        partitions: tuple[tuple[str, ...], ...] = ()
        if rng.random() < 0.25:
            partitions = rng.choice([(("small", "small"),), (("small",), ("small", "small"))])
        kind = "big" if partitions else rng.choice(["big", "small"])
        host = rng.choice([None, "north", "south"])
        pools.append(Pool(name, kind, count, rng.choice(PRICES), host, partitions))
        if left <= 0:
            break
    return tuple(pools)


def _models(
    rng: random.Random,
    copies: int,
    there: list[str],
    memory: tuple[float, ...],
    utilization: tuple[float, ...],
    *,
    slowed: bool,
    least: bool,
) -> tuple[Model, ...]:
    models: list[Model] = []
    with_rates = rng.random() < 0.7
    free_and_slowed = 0
    number = 0
    while number < copies:
        count = rng.choice([1, 1, 1, 2]) if copies - number > 1 else 1
        number += count
        rated = with_rates and rng.random() < 0.65
        unit = rng.choice([10.0, 100.0, 20.0, 33.3])
        options = []
        for k in range(rng.choice([1, 1, 2, 2, 3])):
            throughput = unit * rng.choice([1, 1, 2, 3, 0.5])
            need = min(rng.choices(utilization, k=rng.choice([1, 2, 3])))
            options.append(
                Option(
                    f"k{k}",
                    rng.choice(there if rng.random() < 0.92 else ["big", "small"]),
                    {
                        "memory": min(rng.choices(memory, k=rng.choice([1, 2, 3]))),
                        "utilization": need,
                    },
                    round(throughput, 6),
                    float(rng.choice([1, 2, 3])),
                    busy=rng.choice([need / 100, 0.5, 0.0]) if slowed else 0.0,
                    sensitivity=rng.choice([0.0, 0.0, 0.3, 1.0, 1.5]) if slowed else 0.0,
                )
            )
        if (
            slowed and rng.random() < 0.5
        ):  # one that minds its neighbours less or more, and needs more
            first = options[0]
            needs = {**first.needs, "memory": max(memory[0], first.needs["memory"])}
            felt = 0.0 if first.sensitivity else 1.0
            options.append(replace(first, name="k again", needs=needs, sensitivity=felt))
        sensitive = any(o.sensitivity and o.busy for o in options)
        if least and not rated and sensitive:
            # Two slowed models without rates beside one with a rate: see tests/brute_force.py.
            free_and_slowed += count
            if free_and_slowed > 1 and with_rates:
                options = [replace(o, sensitivity=0.0) for o in options]
        rate = unit * rng.choice([0.3, 0.5, 0.5, 1, 1, 1, 2, 2, 3, 1 / 3, 0.7]) if rated else None
        models.append(
            Model(
                f"m{len(models)}",
                tuple(options),
                count,
                rate and round(rate, rng.choice([1, 12])),
                rng.choice([None, None, None, None, None, 2.0, 2.5]),
                rng.choice([1, 1, 1, 1, 1, 1, 2, 0]),
                rng.choice(WEIGHTS),
            )
        )
    return tuple(models)


def _copies(model: Model) -> list[str]:
    if model.count == 1:
        return [model.name]
    return [f"{model.name}#{number + 1}" for number in range(model.count)]


def _rules(
    rng: random.Random,
    models: tuple[Model, ...],
    names: list[str],
    places: list[str],
    pools: tuple[Pool, ...],
) -> Rules:
    if rng.random() < 0.5:
        return Rules()
    some = [*names, *(n for m in models for n in _copies(m))]

    def pairs(often: float) -> tuple[tuple[str, str], ...]:
        return ((rng.choice(some), rng.choice(places)),) if rng.random() < often else ()

    def group(often: float, among: list[str]) -> tuple[tuple[str, ...], ...]:
        if rng.random() >= often or len(among) < 2:
            return ()
        return (tuple(rng.sample(among, rng.randint(2, min(3, len(among))))),)

    # With unlimited devices: see `_devices_of_unlimited` in tests/brute_force.py.
    counted = all(pool.count is not None for pool in pools)
    alike = [m.name for m in models if counted]
    return Rules(
        pins=pairs(0.15) + pairs(0.05),
        forbidden=pairs(0.2),
        apart=group(0.3, names),
        together=group(0.2, alike),
        spread=(rng.choice(some),) if rng.random() < 0.2 else (),
        excluded_devices=(rng.choice(places),) if rng.random() < 0.15 else (),
    )


def smaller(
    problem: PlacementProblem, fails: Callable[[PlacementProblem], bool]
) -> PlacementProblem:
    """A problem that still fails after every part that it does without was taken away."""
    while True:
        for candidate in _reductions(problem):
            try:
                validate(candidate)
            except InputError:
                continue
            if fails(candidate):
                problem = candidate
                break
        else:
            return problem


def _reductions(problem: PlacementProblem) -> Iterator[PlacementProblem]:
    for i in range(len(problem.models)):
        yield without_model(problem, problem.models[i].name)
    for i in range(len(problem.pools)):
        if len(problem.pools) > 1:
            yield replace(problem, pools=(*problem.pools[:i], *problem.pools[i + 1 :]))
    rules = problem.rules
    for name in ("pins", "forbidden", "apart", "together", "spread", "excluded_devices"):
        for i in range(len(getattr(rules, name))):
            listed = getattr(rules, name)
            cut = {name: (*listed[:i], *listed[i + 1 :])}
            yield replace(problem, rules=replace(rules, **cut))
    for i in range(len(problem.current)):
        yield replace(problem, current=(*problem.current[:i], *problem.current[i + 1 :]))
    simple = {"max_moves": None, "move_price": 0.0, "max_devices": None, "repair": False}
    for name, value in {**simple, "max_slowdown": None}.items():
        if getattr(problem, name) != value:
            yield replace(problem, **{name: value})
    for i, model in enumerate(problem.models):
        plain = {"count": 1, "rate": None, "latency_limit_ms": None, "min_replicas": 1}
        choices = [replace(model, **{n: v}) for n, v in plain.items() if getattr(model, n) != v]
        for k in range(len(model.options)):
            if len(model.options) > 1:
                options = (*model.options[:k], *model.options[k + 1 :])
                choices.append(replace(model, options=options))
        if any(o.sensitivity or o.busy for o in model.options):
            options = tuple(replace(o, sensitivity=0.0, busy=0.0) for o in model.options)
            choices.append(replace(model, options=options))
        for changed in choices:
            yield replace(problem, models=(*problem.models[:i], changed, *problem.models[i + 1 :]))
    for i, pool in enumerate(problem.pools):
        plain_pool = {"partitions": (), "host": None, "price": 1.0}
        for name, value in plain_pool.items():
            if getattr(pool, name) != value:
                changed_pool = replace(pool, **{name: value})
                yield replace(
                    problem, pools=(*problem.pools[:i], changed_pool, *problem.pools[i + 1 :])
                )
