"""The profiling loop: every point of every model on one device, whatever fails on the way.

A point is kept in the store as soon as it ends. What goes wrong with one model, variant or point
is a result with a reason, not an end: the server is restarted when it must be, and the rest of
the sweep is measured.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from analyzer.load.generator import Generator, LoadResult, PreparedRequest
from analyzer.sampling import statistics
from analyzer.sampling.device import DeviceFigures, DeviceSampler
from analyzer.server import http_api
from analyzer.server.server import Server
from analyzer.steady_state import SteadyStateRule
from analyzer.sweep import Point
from profiles import model_config
from profiles.errors import InputError, LoadError, ModelPlacerError, ServerError
from profiles.measurement import Baseline, LoadPoint, Measurement, Usage
from profiles.repository import ModelDirectory
from profiles.store import ProfileStore, point_key
from profiles.variant import Variant

OUT_OF_MEMORY = re.compile(r"out of memory|\bOOM\b|bad_alloc|failed to allocate", re.IGNORECASE)
BASELINE_S = 1.0  # the server alone is watched so long
SETTLE_S = 0.2  # between loading and the reading of cold memory
LITTLE_TOLERANCE = 0.05  # of concurrency: how far throughput x latency may be off
LOG_LINES = 8  # of the server's own words in a reason


@dataclass(frozen=True)
class Progress:
    """What the loop tells as it goes."""

    done: int
    total: int
    left_s: float | None  # estimated from the points so far; None before the first ended
    measurement: Measurement  # that just ended


@dataclass(frozen=True)
class Bench:
    """What a measurement is made with."""

    server: Server
    device: DeviceSampler
    models: Mapping[str, ModelDirectory]
    generator: Generator
    make_requests: Callable[[str, str, int], list[PreparedRequest]]  # url, model, batch size
    rule: SteadyStateRule
    gpus: tuple[int, ...] | None = None  # that instances are put on; None on a CPU host


def missing_points(
    points: Sequence[Point], store: ProfileStore, bench: Bench, *, retry_failed: bool = False
) -> list[Point]:
    """The points that the store has no row of, for this device, server and model files."""
    known = {
        point_key(measurement)
        for measurement in store.measurements()
        if measurement.status == "ok" or not retry_failed
    }
    return [point for point in points if point_key(_blank(bench, point)) not in known]


def wanted(points: Sequence[Point], store: ProfileStore, bench: Bench) -> list[Measurement]:
    """What the store knows of the points, in their order."""
    known = {point_key(measurement): measurement for measurement in store.measurements()}
    keys = [point_key(_blank(bench, point)) for point in points]
    return [known[key] for key in keys if key in known]


def profile(
    points: Sequence[Point],
    bench: Bench,
    store: ProfileStore,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[Measurement]:
    """Measure the points in order, keep each in the store as it ends, and return them.

    Raises
    ------
    ServerError
        The server cannot be brought back; every point that ended is in the store.
    """
    store.add_baseline(measure_baseline(bench))
    started = time.monotonic()
    made: list[Measurement] = []
    for variant, group in itertools.groupby(points, key=lambda point: point.variant):
        for measurement in _measure_variant(bench, variant, list(group)):
            store.add(measurement)
            made.append(measurement)
            left = len(points) - len(made)
            left_s = (time.monotonic() - started) / len(made) * left
            on_progress(Progress(len(made), len(points), left_s, measurement))
    return made


def measure_baseline(bench: Bench) -> Baseline:
    """The server alone on the device, no model loaded."""
    with bench.device.watch(bench.server.pids) as watch:
        start_s = time.monotonic()
        time.sleep(BASELINE_S)
        figures = watch.figures(start_s, time.monotonic())
    return Baseline(
        device_type=bench.device.device_type.name,
        environment=bench.device.environment(bench.server.description),
        memory_bytes=figures.memory_bytes,
        utilization_percent=figures.utilization_percent,
        memory_utilization_percent=figures.memory_utilization_percent,
        power_w=figures.power_w,
        host=figures.host,
    )


def _measure_variant(
    bench: Bench, variant: Variant, points: Sequence[Point]
) -> Iterator[Measurement]:
    """Load a variant, measure its points, unload it; after a failure it is loaded afresh."""
    waiting = deque(points)
    ran_out: list[LoadPoint] = []
    while waiting:
        if not bench.server.alive():
            bench.server.restart()  # raises when the server itself is what is broken
        # Read afresh for each variant: a server that has loaded and unloaded models holds more
        # than a new one, and that is no need of the next model.
        idle_bytes = bench.device.memory_bytes(bench.server.pids)
        try:
            _load(bench, variant)
        except (LoadError, InputError, ServerError) as error:
            yield from (_failed(bench, point, str(error)) for point in waiting)
            break
        cold_bytes = max(0, bench.device.memory_bytes(bench.server.pids) - idle_bytes)
        failed = False
        while waiting and not failed:
            for measurement in _measure_batch_size(bench, waiting, ran_out, idle_bytes, cold_bytes):
                yield measurement
                failed = failed or measurement.status == "failed"
                if OUT_OF_MEMORY.search(measurement.reason or "") and failed:
                    ran_out.append(measurement.load)
        with suppress(ServerError):  # a dead server is found, and restarted, above
            bench.server.unload(variant.model)


def _measure_batch_size(
    bench: Bench,
    waiting: deque[Point],
    ran_out: Sequence[LoadPoint],
    idle_bytes: int,
    cold_bytes: int,
) -> Iterator[Measurement]:
    """Measure waiting points of one client batch size, up to the first that fails."""
    first = waiting[0]
    model, size = first.variant.model, first.load.batch_size
    try:
        requests = bench.make_requests(bench.server.http_url, model, size)
    except ModelPlacerError as error:
        while waiting and waiting[0].load.batch_size == size:
            yield _failed(bench, waiting.popleft(), str(error))
        return
    bench.generator.aim(bench.server.http_url, requests)
    while waiting and waiting[0].load.batch_size == size:
        point = waiting.popleft()
        smaller = next((load for load in ran_out if _at_least(point.load, load)), None)
        if smaller:
            yield _skipped(bench, point, f"{smaller} ran out of memory already")
            continue
        measurement = _measure_point(bench, point, idle_bytes, cold_bytes)
        yield measurement
        if measurement.status == "failed":
            return


def _at_least(load: LoadPoint, other: LoadPoint) -> bool:
    return load.batch_size >= other.batch_size and (load.concurrency or 0) >= (
        other.concurrency or 0
    )


def _load(bench: Bench, variant: Variant) -> None:
    """Load the variant, or leave the server as it stands when it has no model control."""
    if not bench.server.supports_model_control:
        return
    config = bench.models[variant.model].config
    if config is None:  # the server completes it, and a variant needs the completed one
        bench.server.load(variant.model)
        if variant == Variant(variant.model) and bench.gpus is None:
            return
        config = http_api.config(bench.server.http_url, variant.model)
        bench.server.unload(variant.model)
    bench.server.load(variant.model, model_config.apply_variant(config, variant, bench.gpus))
    time.sleep(SETTLE_S)


def _measure_point(bench: Bench, point: Point, idle_bytes: int, cold_bytes: int) -> Measurement:
    """Drive one load and put together what all who watched it saw."""
    server, model = bench.server, point.variant.model
    mark = server.log_mark()
    try:
        before = statistics.snapshot(server.http_url, model)
        with bench.device.watch(server.pids) as watch:
            result = bench.generator.run(point.load, bench.rule)
            figures = watch.figures(result.start_s, result.end_s)
        served = statistics.difference(before, statistics.snapshot(server.http_url, model))
    except ModelPlacerError as error:
        return _failed(bench, point, _with_log(str(error), server, mark))
    if result.failures or not result.requests:
        what = "; ".join(result.failure_texts) or "no request was answered"
        reason = f"{result.failures} of {result.requests + result.failures} requests failed: {what}"
        return _failed(bench, point, _with_log(reason, server, mark), failures=result.failures)
    return replace(
        _blank(bench, point),
        throughput=result.throughput,
        latency=result.latency,
        server_time=served.server_time,
        usage=_usage(figures, idle_bytes, cold_bytes, result.throughput),
        host=figures.host,
        confidence=result.confidence,
        requests=result.requests,
        duration_s=result.duration_s,
        warnings=tuple(_doubts(point.load, result, served)) + figures.notes,
        extra=_device_size(bench) | (figures.extra or {}),
    )


def _usage(figures: DeviceFigures, idle_bytes: int, cold_bytes: int, throughput: float) -> Usage:
    power_w = figures.power_w
    return Usage(
        memory_cold_bytes=cold_bytes,
        memory_hot_bytes=max(cold_bytes, figures.memory_bytes - idle_bytes),
        utilization_percent=figures.utilization_percent,
        memory_utilization_percent=figures.memory_utilization_percent,
        power_w=power_w,
        energy_per_inference_j=power_w / throughput if power_w and throughput else None,
    )


def _doubts(load: LoadPoint, result: LoadResult, served: statistics.Served) -> Iterator[str]:
    """What makes a point doubtful, in words."""
    if result.client_limited:
        yield result.client_limited
    if result.drift:
        yield result.drift
    if load.concurrency and result.latency:
        # Little's law: requests per second times mean latency is what is in flight.
        in_flight = result.throughput / load.batch_size * result.latency.mean_ms / 1000
        if abs(in_flight / load.concurrency - 1) > LITTLE_TOLERANCE:
            yield f"throughput x latency is {in_flight:.2f}, not the concurrency {load.concurrency}"
    if served.failures:
        yield f"Triton counted {served.failures} failures"


def _device_size(bench: Bench) -> dict[str, float]:
    """What the device offers, so that `place` knows a type that no table has: a CPU host, say."""
    device = bench.device.device_type
    cores = {"device_cores": float(device.cores)} if device.cores else {}
    return {"device_memory_bytes": float(device.memory_bytes)} | cores


def _blank(bench: Bench, point: Point) -> Measurement:
    return Measurement(
        variant=point.variant,
        load=point.load,
        device_type=bench.device.device_type.name,
        environment=bench.device.environment(bench.server.description),
        model_digest=point.digest,
    )


def _failed(bench: Bench, point: Point, reason: str, failures: int = 0) -> Measurement:
    return replace(_blank(bench, point), status="failed", reason=reason, failures=failures)


def _skipped(bench: Bench, point: Point, reason: str) -> Measurement:
    return replace(_blank(bench, point), status="skipped", reason=reason)


def _with_log(reason: str, server: Server, mark: int) -> str:
    """The reason, followed by what the server logged meanwhile."""
    words = "\n".join(server.log_since(mark).splitlines()[-LOG_LINES:])
    died = "" if server.alive() else "the server died: "
    return f"{died}{reason}" + (f"\n{words}" if words else "")
