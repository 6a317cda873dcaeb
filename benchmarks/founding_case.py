"""The founding case and its variations (NVIDIA, 2020: nine models, 16 GB GPUs).

    python benchmarks/founding_case.py [--time-limit 60]

First the article's own figures, with limits of 100, 99, 95 and 90 % on every resource. Then a
replay with several batch sizes and concurrencies per model. Its figures are MADE UP from the
article's single point (batch 2, concurrency 4) in this way:

    throughput  times (batch / 2) ^ 0.3, and at concurrency 1, 2, 8 times 0.45, 0.75, 1.1
    utilization grows with throughput / batch ^ 0.25: a batch keeps the GPU busy for less per item
    memory utilization likewise
    memory      40 % of it grows with batch and with the requests in flight (to the power 0.5)

The demand is the article's throughput of every model. A smaller memory or a larger batch then
makes room that the single point had not: fewer than six GPUs carry the same load.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from placement import PlacementProblem, solve
from placement.problem.demands import Demand, Demands
from placement.problem.fleet_file import single
from placement.problem.formulate import formulate
from profiles.importers import read_table
from profiles.measurement import LoadPoint, Measurement, Usage

TABLE = Path(__file__).parents[1] / "examples" / "founding-case" / "profiles.csv"
CONCURRENCY = {1: 0.45, 2: 0.75, 4: 1.0, 8: 1.1}


def extrapolated(measured: Measurement) -> list[Measurement]:
    """The article's point as it stands, and what it might be under other loads."""
    assert measured.usage is not None
    made = []
    for batch in (1, 2, 4, 8):
        for concurrency, growth in CONCURRENCY.items():
            more = (batch / 2) ** 0.3 * growth
            busy = more * (2 / batch) ** 0.25
            held = 0.6 + 0.4 * (batch * concurrency / 8) ** 0.5
            usage = measured.usage
            made.append(
                Measurement(
                    measured.variant,
                    LoadPoint(batch, concurrency),
                    measured.device_type,
                    measured.environment,
                    throughput=measured.throughput * more,
                    usage=Usage(
                        usage.memory_cold_bytes,
                        int(usage.memory_hot_bytes * held),
                        min(100.0, usage.utilization_percent * busy),
                        min(100.0, (usage.memory_utilization_percent or 0.0) * busy),
                    ),
                )
            )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time-limit", type=float, default=60.0)
    arguments = parser.parse_args()
    table = read_table(TABLE)
    fleet = [single("16 GB GPU")]

    def report(name: str, problem: PlacementProblem) -> None:
        result = solve(problem, arguments.time_limit)
        print(
            f"{name:42} {result.value or 0:g} GPUs, bound {result.bound or 0:g}, "
            f"{result.status}, {result.time_s:.1f} s",
            flush=True,
        )

    for limits in (("memory",), ("memory", "utilization", "memory_utilization")):
        made = formulate(table.measurements, table.baselines, fleet, limits=limits)
        report(", ".join(limits), made.problem)
    for part in (1.0, 0.99, 0.95, 0.9):
        at_most = dict.fromkeys(("memory", "utilization", "memory_utilization"), part)
        made = formulate(table.measurements, table.baselines, fleet, at_most=at_most)
        report(f"every resource at most {part:.0%}", made.problem)
    demands = Demands({m.model: Demand(rate=m.throughput) for m in table.measurements})
    made = formulate(table.measurements, table.baselines, fleet, demands)
    report("the article's throughput, replicas allowed", made.problem)
    points = [point for m in table.measurements for point in extrapolated(m)]
    made = formulate(points, table.baselines, fleet, demands)
    report("the same, other loads (made-up figures)", made.problem)


if __name__ == "__main__":
    main()
