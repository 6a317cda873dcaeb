"""`profile` as a whole: from options by a plan of points to measurements in a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analyzer.measure import part_load
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
from analyzer.measure.part_load import Wanted
from analyzer.measure.plan import chosen_names, make_plan
from analyzer.measure.point import blank
from analyzer.measure.search import Search, next_point
from analyzer.measure.shard import Shard
from profiles.counted import counted
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
            f"{counted(len(points), 'point')} of {counted(len(plan.models), 'model')} on "
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
        known = [*known, *rows_at_part_load(options, points, store, bench)]
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

    Of a model that lacks nothing but points at part load, the first of these. Where no point has
    figures, the models are not to blame: failed points are missing, too.
    """
    if options.remeasure:
        return points
    none_yet = all(measurement.status != "ok" for measurement in wanted(points, store, bench))
    retry_failed = options.retry_failed or none_yet
    missing = missing_points(points, store, bench, retry_failed=retry_failed)
    incomplete = {point.variant.model for point in missing}
    if options.search is not None:
        missing = [point for point in points if point.variant.model in incomplete]
    complete = [own for own in _by_model(points) if own[0].variant.model not in incomplete]
    lacking = (_at_part_load(options, own[0], store, bench, set()) for own in complete)
    return [*missing, *(point for point in lacking if point is not None)]


def measure(
    options: Options,
    points: Sequence[Point],
    bench: Bench,
    baseline: Baseline,
    store: ProfileStore,
    on_progress: Callable[[Progress], None],
) -> int:
    """Measure the points, or those of them that the search asks for; returns how many."""
    total = len(points) if options.search is None and not options.part_load else None
    chosen = _in_turn(options, points, store, bench)
    return len(measure_points(chosen, bench, baseline, store, on_progress, total))


def keep_baseline(bench: Bench, store: ProfileStore) -> Baseline:
    """Measure the server alone, and keep that in the store if it can be seen."""
    baseline = measure_baseline(bench)
    if bench.sees_use:
        store.add_baseline(baseline)
    return baseline


def _by_model(points: Sequence[Point]) -> list[list[Point]]:
    names = dict.fromkeys(point.variant.model for point in points)
    return [[point for point in points if point.variant.model == name] for name in names]


def _in_turn(
    options: Options, points: Sequence[Point], store: ProfileStore, bench: Bench
) -> Iterator[Point]:
    """Model by model its points, or those that the search chooses, and then those at part load."""
    for own in _by_model(points):
        if options.search is None:
            yield from own
        else:
            yield from _searched(own, options.search, store, bench)
        tried: set[Wanted] = set()
        while (point := _at_part_load(options, own[0], store, bench, tried)) is not None:
            tried.add(Wanted(point.variant, point.load))
            yield point


def _searched(
    own: Sequence[Point], search: Search, store: ProfileStore, bench: Bench
) -> Iterator[Point]:
    """Points of a model that the search chooses from what was measured so far."""
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


def _at_part_load(
    options: Options, like: Point, store: ProfileStore, bench: Bench, tried: set[Wanted]
) -> Point | None:
    """The next point at part load of the model that `like` is of; None when there are enough."""
    if not options.part_load:
        return None
    rows = _same(like, store, bench)
    if options.remeasure:
        rows = [m for m in rows if m.load.concurrency or Wanted(m.variant, m.load) in tried]
    found = part_load.next_point(rows, options.part_load, tried)
    return None if found is None else Point(found.variant, found.load, like.digest)


def _same(like: Point, store: ProfileStore, bench: Bench) -> list[Measurement]:
    """All that was measured of a point's model as it is now, on this device and server."""
    now = blank(bench, like)
    return [
        m
        for m in store.measurements(now.model)
        if m.device_type == now.device_type
        and m.model_digest == now.model_digest
        and m.environment.triton == now.environment.triton
    ]


def rows_at_part_load(
    options: Options, points: Sequence[Point], store: ProfileStore, bench: Bench
) -> list[Measurement]:
    """What was measured at part load of the points' models; nothing where it was not asked for."""
    asked = {(point.variant, point.load) for point in points}
    return [
        m
        for own in (_by_model(points) if options.part_load else ())
        for m in _same(own[0], store, bench)
        if m.load.arrivals == "poisson" and (m.variant, m.load) not in asked
    ]
