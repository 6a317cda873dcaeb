"""The profiling loop over the points of all models on one device; failures do not end it.

A point is kept in the store as soon as it ends. What goes wrong with one model, variant or point
is a result with a reason, not an end: the server is restarted when it must be, and the rest of
the sweep is measured.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from analyzer.measure.bench import Bench
from analyzer.measure.grid import Point
from analyzer.measure.loading import Loaded, answers, await_device, clear, load_alone
from analyzer.measure.point import blank, failed, measure_point, skipped
from analyzer.measure.watchdog import ModelHangsError
from analyzer.triton import http_api
from analyzer.triton.server import Server
from profiles.baseline import less_baseline
from profiles.errors import (
    InputError,
    LoadError,
    ModelPlacerError,
    ServerError,
    SurroundingsError,
)
from profiles.measurement import Baseline, LoadPoint, Measurement
from profiles.store import ProfileStore, point_key
from profiles.variant import Variant

OUT_OF_MEMORY = re.compile(r"out of memory|\bOOM\b|bad_alloc|failed to allocate", re.IGNORECASE)
BASELINE_S = 1.0  # the server alone is watched so long
DEATH_S = 2.0  # how long a server that does not answer may take to be seen as dead
TWICE = 2  # what goes wrong so often is the model's doing, and not tried again
LOG_LINES = 8  # of the server's own words in a reason


@dataclass(frozen=True)
class Progress:
    """Progress of the loop, reported after each point."""

    done: int
    total: int | None  # None: a search, whose end is open
    left_s: float | None  # estimated from the points so far; None before the first ended
    measurement: Measurement  # that just ended
    where: str = ""  # the GPU, when several are used side by side


def missing_points(
    points: Sequence[Point], store: ProfileStore, bench: Bench, *, retry_failed: bool = False
) -> list[Point]:
    """Points that the store lacks for this device, server and model files."""
    known = {
        point_key(measurement)
        for measurement in store.measurements()
        if measurement.status == "ok" or not retry_failed
    }
    return [point for point in points if point_key(blank(bench, point)) not in known]


def wanted(points: Sequence[Point], store: ProfileStore, bench: Bench) -> list[Measurement]:
    """Measurements of the points that the store has, in their order."""
    models = {point.variant.model for point in points}
    rows = store.measurements(*models) if len(models) == 1 else store.measurements()
    known = {point_key(measurement): measurement for measurement in rows}
    keys = [point_key(blank(bench, point)) for point in points]
    return [known[key] for key in keys if key in known]


def measure_points(
    points: Iterable[Point],
    bench: Bench,
    baseline: Baseline,
    store: ProfileStore,
    on_progress: Callable[[Progress], None] = lambda _: None,
    total: int | None = None,
) -> list[Measurement]:
    """Measure the points in order, keep each in the store as it ends, and return them.

    A point is asked for only when the one before is in the store, so that a search can choose it
    by what is known; `total` is how many there will be, None if that is open.

    Raises
    ------
    SurroundingsError
        The server or the device cannot be brought back; every point that ended is in the store.
    """
    started = time.monotonic()
    made: list[Measurement] = []
    past: dict[Variant, _Past] = defaultdict(_Past)  # a search comes back to a variant
    for variant, group in itertools.groupby(points, key=lambda point: point.variant):
        for whole in _measure_variant(bench, variant, group, past[variant]):
            measurement = less_baseline(whole, baseline)
            store.add(measurement)
            made.append(measurement)
            mean_s = (time.monotonic() - started) / len(made)
            left_s = None if total is None else mean_s * (total - len(made))
            on_progress(Progress(len(made), total, left_s, measurement))
    return made


def measure_baseline(bench: Bench) -> Baseline:
    """The server alone on the device, no model loaded."""
    with bench.device.watch(bench.server.pids) as watch:
        start_s = time.monotonic()
        time.sleep(max(BASELINE_S, bench.device.shortest_span_s))
        figures = watch.figures(start_s, time.monotonic())
    return Baseline(
        device_type=bench.device.device_type.name,
        environment=bench.device.environment(bench.server_description),
        memory_bytes=figures.memory_bytes,
        utilization_percent=figures.utilization_percent or 0.0,
        memory_utilization_percent=figures.memory_utilization_percent,
        power_w=figures.power_w,
        host=figures.host if bench.sees_server else None,
        warnings=figures.notes,
    )


@dataclass
class _Past:
    """Loads at which a variant failed in a way that larger loads would repeat."""

    ran_out: list[LoadPoint] = field(default_factory=list)  # of memory
    hung: list[LoadPoint] = field(default_factory=list)


def _measure_variant(
    bench: Bench, variant: Variant, points: Iterable[Point], past: _Past
) -> Iterator[Measurement]:
    """Load a variant, measure its points, unload it; after a failure it is loaded afresh."""
    loaded: Loaded | None = None
    generator, aimed = bench.generator, 0  # the client batch size that it sends now
    crashes = 0  # of the server, while it loaded the variant
    broken = ""  # why the variant cannot be loaded
    for point in points:
        unfit = _unfit(point.load, past)
        if unfit:
            yield skipped(bench, point, unfit)
            continue
        if broken:
            yield failed(bench, point, broken)
            continue
        if loaded is None:
            try:
                loaded, aimed = load_alone(bench, variant), 0
            except ModelPlacerError as error:
                crashes += isinstance(error, ServerError)
                refused = isinstance(error, InputError | LoadError) and answers(bench.server)
                if refused or crashes >= TWICE:
                    broken = str(error)
                yield failed(bench, point, str(error))
                await_device(bench)
                clear(bench, variant, None)
                continue
        try:
            if aimed != point.load.batch_size:
                aimed = point.load.batch_size
                generator = bench.aim(variant.model, aimed)
        except (InputError, SurroundingsError) as error:
            aimed = 0
            yield failed(bench, point, str(error))
            if not answers(bench.server):
                bench.server.restart()
                loaded = None
            continue
        mark, ill = bench.server.log_mark(), False
        try:
            measurement = measure_point(bench, generator, point, loaded)
        except ModelPlacerError as error:  # the server or the device, not a request
            ill = True
            if isinstance(error, ModelHangsError):
                past.hung.append(point.load)
            measurement = failed(bench, point, str(error))
        if measurement.status == "ok":
            yield measurement
            continue
        reason = _with_log(measurement.reason or "", bench.server, mark)
        if OUT_OF_MEMORY.search(reason):
            past.ran_out.append(point.load)
        yield replace(measurement, reason=reason)
        held, loaded = loaded, None
        await_device(bench)
        # After a CUDA error, a process fails at every later CUDA call.
        spoilt = ill or bench.gpus is not None
        if spoilt and bench.server.supports_model_control:
            bench.server.restart()  # raises when the server itself is what is broken
        else:
            clear(bench, variant, held)
    if loaded is not None:
        clear(bench, variant, loaded)


def _unfit(load: LoadPoint, past: _Past) -> str:
    """Why a load is skipped after smaller ones failed; empty when it is not."""
    for smaller in past.ran_out:
        if _at_least(load, smaller):
            return f"{smaller} already ran out of memory"
    smaller_hung = [smaller for smaller in past.hung if _at_least(load, smaller)]
    if len(smaller_hung) >= TWICE:
        return f"the model already hung at {' and at '.join(map(str, smaller_hung))}"
    return ""


def _at_least(load: LoadPoint, other: LoadPoint) -> bool:
    return load.batch_size >= other.batch_size and (load.concurrency or 0) >= (
        other.concurrency or 0
    )


def _died(server: Server) -> bool:
    """Whether the server is gone; one that was just killed takes a moment to be seen so."""
    deadline_s = time.monotonic() + DEATH_S
    while server.alive() and time.monotonic() < deadline_s:
        if http_api.is_ready(server.http_url):
            return False
        time.sleep(0.05)
    return not server.alive()


def _with_log(reason: str, server: Server, mark: int) -> str:
    """The reason, followed by what the server logged meanwhile."""
    words = "\n".join(server.log_since(mark).splitlines()[-LOG_LINES:])
    died = "the server died: " if _died(server) else ""
    return f"{died}{reason}" + (f"\n{words}" if words else "")
