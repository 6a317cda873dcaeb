"""One point: drives a load and combines what client, server and device report into a result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psutil

from analyzer.devices.device import DeviceFigures
from analyzer.load.generator import Generator, LoadResult
from analyzer.measure.bench import Bench
from analyzer.measure.grid import Point
from analyzer.measure.loading import Loaded
from analyzer.measure.watchdog import Watchdog
from analyzer.triton import statistics
from analyzer.triton.log import telling_first
from profiles.measurement import LoadPoint, Measurement, Usage

CROWDED_PERCENT = 90.0  # of the host: from here on models on different GPUs slow each other
CROWDED_NOTE = (
    "the host's CPUs were saturated while several GPUs were measured at once: without --parallel "
    "it may be faster"
)
LOADED_BEFORE_NOTE = (
    "this Triton has no model control and had the model loaded before: only the memory that the "
    "load added is known"
)
UNSEEN_NOTE = (
    "this Triton's processes cannot be seen from here: its memory and utilization are not known, "
    "and `place` cannot use the point"
)
THROTTLED = 0.05  # of the periods of the CPU quota: from here on a warning
LITTLE_TOLERANCE = 0.05  # of concurrency: how far throughput x latency may be off


def measure_point(bench: Bench, generator: Generator, point: Point, loaded: Loaded) -> Measurement:
    """Drive one load; the result combines what client, server and device report.

    Requests that fail are a failed measurement; raises ModelPlacerError when the server or the
    device is what failed.
    """
    server, model = bench.server, point.variant.model
    before = statistics.snapshot(server.http_url, model)
    psutil.cpu_percent()  # the next call returns the mean since this one
    with (
        Watchdog(
            server.http_url, model, bench.patience, lambda: generator.last_answer_s
        ) as watchdog,
        bench.device.watch(server.pids) as watch,
    ):
        result = generator.run(point.load, bench.rule, watchdog.check)
        watchdog.check()
        crowded = bench.in_parallel and psutil.cpu_percent() > CROWDED_PERCENT
        figures = watch.figures(result.start_s, result.end_s)
    if result.failures or not result.requests:
        what = "; ".join(result.failure_texts) or "no request completed"
        reason = f"{result.failures} of {result.requests + result.failures} requests failed: {what}"
        return failed(bench, point, reason, failures=result.failures)
    after = statistics.snapshot(server.http_url, model, before, result.completed)
    served = statistics.difference(before, after)
    return replace(
        blank(bench, point),
        throughput=result.throughput,
        latency=result.latency,
        server_time=served.server_time,
        usage=_usage(figures, loaded, result.throughput) if bench.sees_use else None,
        host=figures.host if bench.sees_server else None,
        confidence=result.confidence,
        requests=result.requests,
        duration_s=result.duration_s,
        responses=result.responses,
        first_response=result.first_response,
        between_responses=result.between_responses,
        warnings=(
            *_doubts(point.load, result, served, figures),
            *figures.notes,
            *([CROWDED_NOTE] if crowded else []),
            *([] if bench.sees_use else [UNSEEN_NOTE]),
            *([] if server.supports_model_control or not bench.sees_use else [LOADED_BEFORE_NOTE]),
        ),
        extra=(
            _device_size(bench) | _batches(served) | (figures.extra or {}) | dict(loaded.times_s)
        ),
    )


def _usage(figures: DeviceFigures, loaded: Loaded, throughput: float) -> Usage:
    power_w = figures.power_w
    return Usage(
        memory_cold_bytes=loaded.cold_bytes,
        memory_hot_bytes=max(loaded.cold_bytes, figures.memory_bytes - loaded.idle_bytes),
        utilization_percent=figures.utilization_percent,
        memory_utilization_percent=figures.memory_utilization_percent,
        power_w=power_w,
        energy_per_inference_j=power_w / throughput if power_w and throughput else None,
    )


def _doubts(
    load: LoadPoint, result: LoadResult, served: statistics.Served, figures: DeviceFigures
) -> Iterator[str]:
    """Warnings on a point."""
    if result.client_limited:
        yield result.client_limited
    yield from filter(None, (result.drift, result.too_few, result.unanswered))
    if load.concurrency and result.latency:
        # Little's law: requests per second times mean latency is what is in flight.
        in_flight = result.throughput / load.batch_size * result.latency.mean_ms / 1000
        if abs(in_flight / load.concurrency - 1) > LITTLE_TOLERANCE:
            yield (
                f"Little's law: throughput × latency is {in_flight:.2f}, the concurrency is "
                f"{load.concurrency}"
            )
    if result.completed is not None and served.requests != result.completed:
        yield f"Triton counted {served.requests} requests, the client {result.completed}"
    if figures.host and figures.host.throttled_share > THROTTLED:
        yield (
            f"the CPU limit throttled the server in {figures.host.throttled_share:.0%} of the "
            f"periods, {figures.host.throttled_s_per_s:.1f} s per second: fewer threads may help"
        )
    if served.failures:
        yield f"Triton counted {served.failures} failures"


def _batches(served: statistics.Served) -> dict[str, float]:
    """The mean size of the batches that Triton executed, and the part of each size in them."""
    total = sum(count for _, count in served.batches)
    if not total:
        return {}
    mean = sum(size * count for size, count in served.batches) / total
    parts = {f"executed_batches_of_{size}": count / total for size, count in served.batches}
    return {"executed_batch_size": mean} | parts


def _device_size(bench: Bench) -> dict[str, float]:
    """Memory and cores of the device, for types that no table has, such as CPU hosts."""
    device = bench.device.device_type
    cores = {"device_cores": float(device.cores)} if device.cores else {}
    return {"device_memory_bytes": float(device.memory_bytes)} | cores


def blank(bench: Bench, point: Point) -> Measurement:
    """A measurement with the identity of the point and no figures."""
    return Measurement(
        variant=point.variant,
        load=point.load,
        device_type=bench.device.device_type.name,
        environment=bench.device.environment(bench.server_description),
        model_digest=point.digest,
    )


def failed(bench: Bench, point: Point, reason: str, failures: int = 0) -> Measurement:
    """The point, as one that failed."""
    reason = telling_first(reason)
    return replace(blank(bench, point), status="failed", reason=reason, failures=failures)


def skipped(bench: Bench, point: Point, reason: str) -> Measurement:
    """The point, as one that was not tried."""
    return replace(blank(bench, point), status="skipped", reason=reason)
