"""`profile` as a whole: from options by a plan of points to measurements in a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analyzer.measure.bench import Bench, open_bench
from analyzer.measure.grid import Point
from analyzer.measure.loop import (
    Progress,
    measure_baseline,
    measure_points,
    missing_points,
    wanted,
)
from analyzer.measure.options import Options
from analyzer.measure.plan import chosen_names, make_plan
from analyzer.measure.search import Search, next_point
from analyzer.measure.shard import Shard
from profiles.measurement import Baseline, Measurement
from profiles.store import ProfileStore


@dataclass(frozen=True)
class Outcome:
    """Measurements of the requested points."""

    measurements: list[Measurement]
    measured: int  # just now; the others were in the store already
    left_out: Mapping[str, str] = field(default_factory=dict)  # see Plan


def run(
    options: Options,
    on_progress: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Measure what the store does not have yet.

    Raises
    ------
    InputError
        The repository, a model or an option is wrong.
    SurroundingsError
        Triton does not start or cannot be kept running; every point that ended is in the store.
    """
    plan = make_plan(options, say)
    if not plan.models and options.shard is not None:
        return _nothing_to_do(options, options.shard, say)
    points = plan.points
    with ProfileStore(options.store) as store, open_bench(options, plan, say) as bench:
        missing = missing_of(options, points, store, bench)
        there = f"{len(points) - len(missing)} are in {options.store}, {len(missing)} to measure"
        say(
            f"{len(points)} points of {len(plan.models)} models on "
            f"{bench.device.device_type.name}, {bench.server.description}: "
            f"{there if options.search is None else 'a search'}."
        )
        measured = 0
        if missing:
            baseline = keep_baseline(bench, store)
            measured = measure(options, missing, bench, baseline, store, on_progress)
        known = wanted(points, store, bench)
        if options.search is not None:
            say(f"{len(points) - len(known)} of {len(points)} points were not tried.")
        return Outcome(known, measured, plan.left_out)


def _nothing_to_do(options: Options, shard: Shard, say: Callable[[str], None]) -> Outcome:
    every = len(chosen_names(replace(options, shard=None)))
    say(f"Shard {shard.index}/{shard.count} has no models: there are only {every}.")
    with ProfileStore(options.store):  # so that `merge` finds a store for each shard
        return Outcome([], 0)


def missing_of(
    options: Options, points: Sequence[Point], store: ProfileStore, bench: Bench
) -> Sequence[Point]:
    """Points that the store lacks; for a search all points of a model that lacks one.

    Where no point has figures, the models are not to blame: failed points are missing, too.
    """
    if options.remeasure:
        return points
    none_yet = all(measurement.status != "ok" for measurement in wanted(points, store, bench))
    retry_failed = options.retry_failed or none_yet
    missing = missing_points(points, store, bench, retry_failed=retry_failed)
    if options.search is None:
        return missing
    lacking = {point.variant.model for point in missing}
    return [point for point in points if point.variant.model in lacking]


def measure(
    options: Options,
    points: Sequence[Point],
    bench: Bench,
    baseline: Baseline,
    store: ProfileStore,
    on_progress: Callable[[Progress], None],
) -> int:
    """Measure the points, or those of them that the search asks for; returns how many."""
    if options.search is None:
        return len(measure_points(points, bench, baseline, store, on_progress, len(points)))
    chosen = _searched(points, options.search, store, bench)
    return len(measure_points(chosen, bench, baseline, store, on_progress))


def keep_baseline(bench: Bench, store: ProfileStore) -> Baseline:
    """Measure the server alone, and keep that in the store."""
    baseline = measure_baseline(bench)
    store.add_baseline(baseline)
    return baseline


def _searched(
    points: Sequence[Point], search: Search, store: ProfileStore, bench: Bench
) -> Iterator[Point]:
    """Points that the search chooses, model by model, from what was measured so far."""
    for model in dict.fromkeys(point.variant.model for point in points):
        own = [point for point in points if point.variant.model == model]
        while True:
            known = {Point(m.variant, m.load, m.model_digest): m for m in wanted(own, store, bench)}
            point = next_point(
                own,
                known,
                search.goal,
                percentile=search.latency_percentile,
                limits_ms=search.limits_ms,
            )
            if point is None:
                break
            yield point
