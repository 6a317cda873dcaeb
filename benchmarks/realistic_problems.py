"""Made-up placement problems as teams have them, seeded.

`realistic`: four GPU types with a price each, models with up to 24 options (batch size, instances)
on them, three resources, rates from a fiftieth to four times what one replica carries, latency
limits. `uneven`: other distributions: few popular models carry most of the load (Zipf), some need
most of a GPU's memory, types differ in what they are good at, options are drawn, not laddered.

Features: rates, replicas (two of three in ten), spread (these on distinct hosts), apart (three
models each, one rule for twenty models), hosts (pools of four GPUs), limited (a fourth of the
models' number of each type), throughput and maxmin (a given fleet). `plain` has one type, and
models without rates.
"""

from __future__ import annotations

import math
import random

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules

# memory in GB, speed, price per hour
TYPES = {
    "t4": (15.0, 1.0, 0.5),
    "l4": (23.0, 2.1, 0.8),
    "a10": (23.0, 2.6, 1.0),
    "a100": (80.0, 6.0, 3.7),
}
THROUGHPUT_FLEET = (8, 12, 12, 20)  # models for each GPU of a type, when the fleet is given
RESOURCES = (
    Resource("memory", scales=False, unit="GB"),
    Resource("utilization"),
    Resource("bandwidth"),
)


def realistic(count: int, seed: int, features: frozenset[str]) -> PlacementProblem:
    """Batch sizes 1, 4 and 16 times one or two instances on nine of ten types."""
    rng = random.Random(seed)
    rated = bool(features & {"rates", "throughput", "maxmin"})
    models = []
    for number in range(count):
        memory = math.exp(rng.uniform(math.log(0.3), math.log(9)))
        pace = 10 ** rng.uniform(0.8, 2.8)
        latency = rng.uniform(3, 40)
        options = []
        for kind, (_, power, _) in TYPES.items():
            if rng.random() < 0.1:
                continue
            speed = power * rng.uniform(0.75, 1.25)
            for batch in (1, 4, 16):
                for more in (0, 1):
                    needs = {
                        "memory": round(memory * (1 + 0.04 * batch) * (1 + 0.6 * more), 2),
                        "utilization": round(
                            min(97, rng.uniform(30, 65) * (1 + 0.25 * more) * batch**0.12), 1
                        ),
                        "bandwidth": round(min(97, rng.uniform(10, 50) * batch**0.15), 1),
                    }
                    throughput = round(pace * speed * batch**0.35 * (1 + 0.3 * more), 1)
                    delay = round(latency * batch**0.7 / speed, 1)
                    name = f"b{batch} i{more + 1}"
                    options.append(Option(name, kind, needs, throughput, delay))
        if not options:
            continue
        rate = None
        if rated:
            rate = round(pace * math.exp(rng.uniform(math.log(0.02), math.log(4))), 2)
        limit = round(latency * rng.uniform(1.5, 8), 1)
        replicas = 2 if "replicas" in features and rng.random() < 0.3 else 1
        models.append(
            Model(
                f"m{number}",
                tuple(options),
                rate=rate,
                latency_limit_ms=limit,
                min_replicas=replicas,
            )
        )
    return _problem(models, rng, count, features)


def uneven(count: int, seed: int, features: frozenset[str]) -> PlacementProblem:
    """Loads by Zipf's law, heavy tails of memory, and types with strengths of their own."""
    rng = random.Random(f"uneven {seed}")
    rated = bool(features & {"rates", "throughput", "maxmin"})
    ranks = list(range(1, count + 1))
    rng.shuffle(ranks)
    models = []
    for number in range(count):
        memory = min(14.0, 0.2 + rng.lognormvariate(0.3, 1.0))
        pace = rng.lognormvariate(4.2, 1.0)
        latency = rng.lognormvariate(2.3, 0.6)
        bound = rng.random()  # 0: limited by computing, 1: by memory bandwidth
        options = []
        for kind, (capacity, power, _) in TYPES.items():
            if rng.random() < 0.25 or memory > capacity - 1:
                continue
            speed = power ** (1 - 0.4 * bound) * rng.lognormvariate(0, 0.2)
            for k in range(rng.randint(1, 5)):
                batch = 2 ** rng.randint(0, 6)
                busy = rng.uniform(15, 95)
                options.append(
                    Option(
                        f"b{batch} {k}",
                        kind,
                        {
                            "memory": round(min(capacity - 0.5, memory * (1 + 0.01 * batch)), 3),
                            "utilization": round(busy * (1 - 0.5 * bound), 2),
                            "bandwidth": round(busy * (0.2 + 0.7 * bound), 2),
                        },
                        round(pace * speed * busy / 50 * batch**0.25, 2),
                        round(latency * batch**0.6 / speed, 2),
                    )
                )
        if not options:
            continue
        rate = round(pace * 12 / ranks[number] ** 0.7 * rng.uniform(0.3, 3), 3) if rated else None
        limit = None
        if rng.random() < 0.7:
            fastest = min(o.latency_ms or 0.0 for o in options)
            limit = round(fastest * rng.lognormvariate(0.8, 0.5) + fastest, 2)
        replicas = rng.choice([2, 2, 3]) if "replicas" in features and rng.random() < 0.25 else 1
        models.append(
            Model(
                f"m{number}",
                tuple(options),
                rate=rate,
                latency_limit_ms=limit,
                min_replicas=replicas,
            )
        )
    return _problem(models, rng, count, features)


def plain(count: int, seed: int, features: frozenset[str]) -> PlacementProblem:
    """One type of 16 GB; one to three options that trade memory for utilization."""
    del features
    rng = random.Random(f"plain {seed}")
    models = []
    for number in range(count):
        memory = math.exp(rng.uniform(math.log(0.3), math.log(12)))
        busy = math.exp(rng.uniform(math.log(5), math.log(95)))
        options = []
        for k in range(rng.randint(1, 3)):
            part = 1.0 if k == 0 else rng.uniform(0.4, 1.0)
            needs = {
                "memory": round(memory * part, 2),
                "utilization": round(min(95.0, busy / part**0.5), 1),
                "bandwidth": round(min(95.0, busy * rng.uniform(0.3, 1.1)), 1),
            }
            options.append(Option(f"k{k}", "t4", needs))
        models.append(Model(f"m{number}", tuple(options)))
    kind = PoolType("t4", {"memory": 16, "utilization": 100, "bandwidth": 100}, {"memory": 0.4})
    return PlacementProblem(tuple(models), (kind,), (Pool("t4", "t4"),), RESOURCES)


def _problem(
    models: list[Model], rng: random.Random, count: int, features: frozenset[str]
) -> PlacementProblem:
    names = [m.name for m in models]
    spread = tuple(m.name for m in models if m.min_replicas > 1) if "spread" in features else ()
    apart: tuple[tuple[str, ...], ...] = ()
    if "apart" in features:
        apart = tuple(tuple(rng.sample(names, 3)) for _ in range(count // 20))
    given = bool(features & {"throughput", "maxmin"})
    pools = []
    for (kind, (_, _, price)), each in zip(TYPES.items(), THROUGHPUT_FLEET, strict=True):
        if given:
            pools.append(Pool(kind, kind, max(1, count // each), price))
        elif "hosts" in features:
            for host in range(max(1, count // 12)):
                name = f"{kind}-node{host}"
                pools.append(Pool(name, kind, 4, price, host=name))
        else:
            limit = max(2, count // 4) if "limited" in features else None
            pools.append(Pool(kind, kind, limit, price))
    types = tuple(
        PoolType(
            kind,
            {"memory": memory, "utilization": 85, "bandwidth": 85},
            {"memory": 0.4, "utilization": 1},
        )
        for kind, (memory, _, _) in TYPES.items()
    )
    return PlacementProblem(
        tuple(models),
        types,
        tuple(pools),
        RESOURCES,
        Rules(spread=spread, apart=apart),
        objective="max-throughput" if given else "min-hardware",
        fairness="max-min" if "maxmin" in features else "sum",
    )


GENERATORS = {"realistic": realistic, "uneven": uneven, "plain": plain}
