"""Most throughput on a fixed fleet: 200 models on 64 GPUs, the weighted sum and max-min.

    python benchmarks/throughput.py [--seeds 5] [--time-limit 60] [--options 1,3]

Made-up models, seeded: memory 0.3 to 12 GB (log-normal), utilization 5 to 95 % at full throughput,
GPUs of 16 GB of which the server takes 0.4. Prints value, proven bound and gap.
"""

from __future__ import annotations

import argparse
import random

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, solve


def problem(models: int, devices: int, options: int, seed: int, fairness: str) -> PlacementProblem:
    draw = random.Random(seed)
    made = []
    for number in range(models):
        memory = min(12.0, max(0.3, draw.lognormvariate(0.9, 0.8)))
        made.append(
            Model(
                f"m{number}",
                tuple(
                    Option(
                        f"k{k}",
                        "gpu",
                        {
                            "memory": round(memory * (1 + 0.2 * k), 2),
                            "utilization": round(draw.uniform(5, 95), 1),
                        },
                        round(10 ** draw.uniform(1, 3), 1),
                    )
                    for k in range(options)
                ),
            )
        )
    return PlacementProblem(
        tuple(made),
        (PoolType("gpu", {"memory": 16, "utilization": 100}, {"memory": 0.4}),),
        (Pool("gpu", "gpu", devices),),
        (Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        objective="max-throughput",
        fairness=fairness,  # type: ignore[arg-type]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--time-limit", type=float, default=60.0)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--devices", type=int, default=64)
    parser.add_argument("--options", default="1,3")
    arguments = parser.parse_args()
    print("fairness  options  seed     value     bound     gap   time")
    for fairness in ("sum", "max-min"):
        for options in map(int, arguments.options.split(",")):
            for seed in range(arguments.seeds):
                result = solve(
                    problem(arguments.models, arguments.devices, options, seed, fairness),
                    arguments.time_limit,
                )
                print(
                    f"{fairness:8}  {options:7}  {seed:4}  {result.value or 0:8.4g}  "
                    f"{result.bound or 0:8.4g}  {result.gap or 0:6.1%}  {result.time_s:4.0f}s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
