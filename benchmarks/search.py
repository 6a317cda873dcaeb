"""What `--search auto` finds, and with how many points, beside the full grid.

    python benchmarks/search.py [--models ocr_orientation,file_type,voice_activity] [--store FILE]

Measures every point of a grid (batch sizes 1 to 16, concurrency 1 to 32, one and two instances, one
and two threads: 120 points a model) in short windows, keeps them in the store, and goes on where it
was when it is run again. Then the search is asked what it wants to know next, and answered from the
store, so that search and grid see the same figures; the goal is throughput, without and with limits
on the 95th percentile of latency. With `--live` the search also measures for itself, and the time
is told.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from analyzer import profiling
from analyzer.profiler import Progress
from analyzer.search import next_point
from analyzer.steady_state import SteadyStateRule
from analyzer.sweep import Point, Sweep
from profiles.measurement import Measurement

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"
SWEEP = Sweep(
    batch_sizes=(1, 2, 4, 8, 16),
    concurrency=(1, 2, 4, 8, 16, 32),
    instance_counts=(1, 2),
    max_batch_sizes=(16,),
    parameters=(("intra_op_thread_count", ("1", "2")),),
)
RULE = SteadyStateRule(
    relative_half_width=0.10, min_duration_s=0.3, max_duration_s=1.5, min_requests=20
)
LIMITS_MS = (None, 20.0, 50.0, 200.0)


def options(model: str, store: Path, search: profiling.Search | None = None) -> profiling.Options:
    return profiling.Options(
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

    def best(measurements: dict[Point, Measurement]) -> float:
        return max(
            (
                m.throughput
                for m in measurements.values()
                if m.latency and (limit_ms is None or m.latency.p95_ms <= limit_ms)
            ),
            default=0.0,
        )

    return known, best(known) / best(measured) if best(measured) else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="ocr_orientation,file_type,voice_activity")
    parser.add_argument("--store", type=Path, default=Path("search.db"))
    parser.add_argument("--live", action="store_true", help="let the search measure for itself too")
    arguments = parser.parse_args()

    for model in arguments.models.split(","):
        asked = options(model, arguments.store)
        started_s = time.monotonic()
        outcome = profiling.run(asked, tell, print)
        grid_s = time.monotonic() - started_s
        grid = profiling.grid(asked, profiling.read_models(asked))
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
        if arguments.live:
            with tempfile.TemporaryDirectory() as directory:
                store = Path(directory) / "live.db"
                started_s = time.monotonic()
                live = profiling.run(options(model, store, profiling.Search()), tell)
                live_s = time.monotonic() - started_s
            print(
                f"{model}: the search itself measured {live.measured} points in {live_s:.0f} s"
                + (f", the grid {len(grid)} in {grid_s:.0f} s" if outcome.measured else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
