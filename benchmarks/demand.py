"""The demand side: 100 models with rates and latency limits on three device types.

    python benchmarks/demand.py [--models 100] [--seeds 3] [--time-limit 30]

How much does it save to choose option and device type together, against (a) one option for each
model fixed beforehand, the one with the most throughput per utilization that meets the limit, and
(b) one device type for all? Made-up models, seeded: three batch sizes times two instance counts on
each type; a T4-like, an L4-like (2.2 times as fast) and an A100-like device (6 times) at 0.5, 0.8
and 3.7 per hour. A model that one device type cannot serve within its limit rules that type out.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import replace

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, solve

TYPES = {"t4": (15.7, 1.0, 0.5), "l4": (24.0, 2.2, 0.8), "a100": (80.0, 6.0, 3.7)}


def problem(models: int, seed: int) -> PlacementProblem:
    draw = random.Random(seed)
    made = []
    for number in range(models):
        memory, pace, latency = (
            draw.uniform(0.3, 6),
            10 ** draw.uniform(1, 2.6),
            draw.uniform(4, 30),
        )
        options = []
        for kind, (_, power, _) in TYPES.items():
            speed = power * draw.uniform(0.8, 1.2)
            for batch in (1, 4, 16):
                for instances in (1, 2):
                    more = instances - 1
                    options.append(
                        Option(
                            f"b{batch} i{instances}",
                            kind,
                            {
                                "memory": round(memory * (1 + 0.05 * batch) * (1 + 0.6 * more), 2),
                                "utilization": round(
                                    min(98, draw.uniform(35, 60) * (1 + 0.25 * more) * batch**0.1),
                                    1,
                                ),
                            },
                            round(pace * speed * batch**0.35 * (1 + 0.3 * more), 1),
                            round(latency * batch**0.7 / speed * (1 + 0.3 * more), 1),
                        )
                    )
        made.append(
            Model(
                f"m{number}",
                tuple(options),
                rate=round(pace * draw.uniform(0.1, 1.5), 1),
                latency_limit_ms=round(latency * draw.uniform(2, 8), 1),
            )
        )
    return PlacementProblem(
        tuple(made),
        tuple(
            PoolType(kind, {"memory": memory, "utilization": 90}, {"memory": 0.4})
            for kind, (memory, _, _) in TYPES.items()
        ),
        tuple(Pool(kind, kind, None, price) for kind, (_, _, price) in TYPES.items()),
        (Resource("memory", scales=False, unit="GB"), Resource("utilization")),
    )


def fixed(whole: PlacementProblem) -> PlacementProblem:
    """Each model with the one option on each type that serves most per utilization."""
    models = []
    for model in whole.models:
        kept = []
        for kind in TYPES:
            meets = [
                o
                for o in model.options
                if o.device_type == kind and (o.latency_ms or 0) <= (model.latency_limit_ms or 0)
            ]
            if meets:
                kept.append(max(meets, key=lambda o: o.throughput / o.needs["utilization"]))
        price = {kind: price for kind, (_, _, price) in TYPES.items()}
        # The type is fixed beforehand as well: the cheapest per inference.
        kept = [
            min(kept, key=lambda o: price[o.device_type] * o.needs["utilization"] / o.throughput)
        ]
        models.append(replace(model, options=tuple(kept)))
    return replace(whole, models=tuple(models))


def only(whole: PlacementProblem, kind: str) -> PlacementProblem:
    return replace(whole, pools=tuple(p for p in whole.pools if p.device_type == kind))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--time-limit", type=float, default=30.0)
    arguments = parser.parse_args()
    print("seed  choice           price   bound  against the joint choice")
    for seed in range(arguments.seeds):
        whole = problem(arguments.models, seed)
        cases = {"joint": whole, "fixed option": fixed(whole)}
        cases |= {f"only {kind}": only(whole, kind) for kind in TYPES}
        joint = None
        for name, case in cases.items():
            result = solve(case, arguments.time_limit)
            if result.value is None:
                print(f"{seed:4}  {name:14} {result.status}", flush=True)
                continue
            joint = joint or result.value
            print(
                f"{seed:4}  {name:14} {result.value:7.2f} {result.bound or 0:7.2f}  "
                f"{result.value / joint - 1:+.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
