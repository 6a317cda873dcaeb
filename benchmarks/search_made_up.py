"""What `--search auto` finds on made-up servers, whose truth is known, under noisy figures.

    python benchmarks/search_made_up.py [--seeds 60]

A grid of 120 points (batch sizes 1 to 16, concurrency 1 to 32, one and two instances, one and two
threads) on a host of two cores. The server's fixed time, its time for each inference, what a second
thread gains and what answering costs differ from seed to seed; each figure is off by a log-normal
factor. Told are the share of the true best throughput that is among what the search measured, and
the share of the grid's points that it asked for.
"""

from __future__ import annotations

import argparse
import random

from analyzer.measure.grid import Point, Sweep, loads, variants
from analyzer.measure.search import next_point
from profiles.environment import Environment
from profiles.measurement import Latency, Measurement

CORES = 2
SWEEP = Sweep(
    batch_sizes=(1, 2, 4, 8, 16),
    concurrency=(1, 2, 4, 8, 16, 32),
    instance_counts=(1, 2),
    parameters=(("intra_op_thread_count", ("1", "2")),),
)
GRID = [Point(variant, load, "") for variant in variants("bert", SWEEP) for load in loads(SWEEP)]


def truth(point: Point, fixed_s: float, each_s: float, gain: float, answer_s: float) -> float:
    """Requests per second; latency follows by Little's law."""
    threads = int(dict(point.variant.parameters)["intra_op_thread_count"])
    instances, concurrency = point.variant.instance_count or 1, point.load.concurrency or 1
    service_s = (fixed_s + each_s * point.load.batch_size) / threads**gain + answer_s
    at_once = min(instances, concurrency)
    if at_once * threads > CORES:
        service_s *= 1.1 * at_once * threads / CORES
    return min(at_once / service_s, concurrency / (service_s + answer_s), 1 / answer_s)


def one(seed: int, noise: float, limit_ms: float | None) -> tuple[float, float]:
    """Share of the best that was found, and of the points that were asked for."""
    chance = random.Random(seed)
    server = (
        chance.choice([0.0003, 0.001, 0.005]),
        chance.choice([0.0001, 0.001, 0.005]),
        chance.choice([0.0, 0.3, 0.6, 0.9]),
        chance.choice([0.0001, 0.0005, 0.001]),
    )
    true: dict[Point, float] = {}
    seen: dict[Point, Measurement] = {}
    for point in GRID:
        rate = truth(point, *server)
        latency_ms = 1000 * (point.load.concurrency or 1) / rate
        inside = limit_ms is None or latency_ms <= limit_ms
        true[point] = rate * point.load.batch_size if inside else 0.0
        factor = chance.lognormvariate(0, noise)
        seen[point] = Measurement(
            point.variant,
            point.load,
            "made up",
            Environment(),
            throughput=rate * point.load.batch_size * factor,
            latency=Latency(*[latency_ms / factor] * 6),
        )
    known: dict[Point, Measurement] = {}
    while (asked := next_point(GRID, known, "throughput", limit_ms)) is not None:
        known[asked] = seen[asked]
    most = max(true.values())
    return max(true[point] for point in known) / most if most else 1.0, len(known) / len(GRID)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=60)
    seeds = parser.parse_args().seeds
    print("noise | limit on p95 | share of the best: mean, worst of ten | points: mean, most")
    for noise in (0.0, 0.03, 0.08):
        for limit_ms in (None, 20.0, 100.0):
            shares, points = zip(
                *(one(seed, noise, limit_ms) for seed in range(seeds)), strict=True
            )
            limit = "none" if limit_ms is None else f"{limit_ms:g} ms"
            print(
                f"{noise:5.0%} | {limit:>12} | {sum(shares) / seeds:.1%} "
                f"{sorted(shares)[seeds // 10]:.1%} | {sum(points) / seeds:.1%} {max(points):.1%}"
            )


if __name__ == "__main__":
    main()
