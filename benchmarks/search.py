"""What `--search auto` finds, and with how many points, beside the full grid.

    python benchmarks/search.py [--models ocr_orientation,file_type,voice_activity] [--store FILE]

Measures every point of a grid (batch sizes 1 to 16, concurrency 1 to 32, one and two instances, one
and two threads: 120 points a model) in short windows, keeps them in the store, and goes on where it
was when it is run again. Then the search is asked what it wants to know next, and answered from the
store, so that search and grid see the same figures; the goal is throughput, without and with limits
on the 95th percentile of latency. The best of 120 figures owes something to luck: `--again 3`
measures it and the search's best three times more, in turn, for longer. With `--live` the search
also measures for itself, and the time is told.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.bench import open_bench
from analyzer.measure.grid import Point, Sweep
from analyzer.measure.loop import Progress, measure_points
from analyzer.measure.options import Options
from analyzer.measure.plan import make_plan
from analyzer.measure.search import Search, next_point
from profiles.measurement import Measurement
from profiles.store import ProfileStore

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"
SWEEP = Sweep(
    batch_sizes=(1, 2, 4, 8, 16),
    concurrency=(1, 2, 4, 8, 16, 32),
    instance_counts=(1, 2),
    max_batch_sizes=(16,),
    parameters=(("intra_op_thread_count", ("1", "2")),),
)
RULE = SteadyStateRule(
    relative_half_width=0.10, min_duration_s=0.25, max_duration_s=1.0, min_requests=20
)
LIMITS_MS = (None, 20.0, 50.0, 200.0)


def options(model: str, store: Path, search: Search | None = None) -> Options:
    return Options(
        EXAMPLES, store, models=[model], sweep=SWEEP, gpus="none", rule=RULE, search=search
    )


def tell(progress: Progress) -> None:
    if progress.done % 30 == 0:
        left = "" if progress.left_s is None else f", {progress.left_s:.0f} s left"
        print(f"  {progress.done} points{left}", flush=True)


def replay(
    grid: list[Point], measured: dict[Point, Measurement], limit_ms: float | None
) -> tuple[dict[Point, Measurement], float]:
    """What the search asked for, and the share of the best throughput that it found."""
    known: dict[Point, Measurement] = {}
    while (point := next_point(grid, known, "throughput", limit_ms)) is not None:
        known[point] = measured[point]
    most = throughput(measured, best(measured, limit_ms))
    return known, throughput(known, best(known, limit_ms)) / most if most else 1.0


def best(measurements: dict[Point, Measurement], limit_ms: float | None) -> Point | None:
    """The point of most throughput within the limit, if there is one."""
    return max(
        (
            point
            for point, m in measurements.items()
            if m.latency and (limit_ms is None or m.latency.p95_ms <= limit_ms)
        ),
        key=lambda point: measurements[point].throughput,
        default=None,
    )


def throughput(measurements: dict[Point, Measurement], point: Point | None) -> float:
    return 0.0 if point is None else measurements[point].throughput


def again(asked: Options, own: Point, other: Point, rounds: int) -> float:
    """The ratio of two points' throughput when they are measured in turn."""
    longer = SteadyStateRule(relative_half_width=0.02, min_duration_s=2.0, max_duration_s=4.0)
    with tempfile.TemporaryDirectory() as directory:
        asked = replace(asked, store=Path(directory) / "again.db", rule=longer)
        plan = replace(make_plan(asked), points=(own, other))
        with (
            ProfileStore(asked.store) as store,
            open_bench(asked, plan, print) as bench,
        ):
            baseline = profile.keep_baseline(bench, store)
            made = measure_points([own, other] * rounds, bench, baseline, store)
    return statistics.median(m.throughput for m in made[::2]) / statistics.median(
        m.throughput for m in made[1::2]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="ocr_orientation,file_type,voice_activity")
    parser.add_argument("--store", type=Path, default=Path("search.db"))
    parser.add_argument("--again", type=int, default=0, metavar="ROUNDS")
    parser.add_argument("--live", action="store_true", help="let the search measure for itself too")
    arguments = parser.parse_args()

    for model in arguments.models.split(","):
        asked = options(model, arguments.store)
        started_s = time.monotonic()
        outcome = profile.run(asked, tell, print)
        grid_s = time.monotonic() - started_s
        grid = make_plan(asked).points
        measured = {Point(m.variant, m.load, m.model_digest): m for m in outcome.measurements}
        grid = [point for point in grid if point in measured]
        for limit_ms in LIMITS_MS:
            known, share = replay(grid, measured, limit_ms)
            limit = "no limit" if limit_ms is None else f"p95 <= {limit_ms:g} ms"
            print(
                f"{model}, {limit}: {share:.1%} of the best throughput with {len(known)} of "
                f"{len(grid)} points, {len(known) / len(grid):.0%}",
                flush=True,
            )
        found, most = best(replay(grid, measured, None)[0], None), best(measured, None)
        if arguments.again and found is not None and most is not None and found != most:
            ratio = again(asked, found, most, arguments.again)
            print(f"{model}: measured again, the search's best is {ratio:.1%} of the grid's")
        if arguments.live:
            with tempfile.TemporaryDirectory() as directory:
                store = Path(directory) / "live.db"
                started_s = time.monotonic()
                live = profile.run(options(model, store, Search()), tell)
                live_s = time.monotonic() - started_s
            print(
                f"{model}: the search itself measured {live.measured} points in {live_s:.0f} s"
                + (f", the grid {len(grid)} in {grid_s:.0f} s" if outcome.measured else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
