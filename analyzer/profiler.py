"""The profiling loop: every point of every model on one device, whatever fails on the way.

A point is kept in the store as soon as it ends. What goes wrong with one model, variant or point
is a result with a reason, not an end: the server is restarted when it must be, and the rest of
the sweep is measured.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from analyzer.load.generator import Generator, LoadResult, PreparedRequest
from analyzer.sampling import statistics
from analyzer.sampling.device import DeviceFigures, DeviceSampler, wait_for_memory
from analyzer.sampling.processors import BusyShare
from analyzer.server import http_api
from analyzer.server.server import Server
from analyzer.steady_state import SteadyStateRule
from analyzer.sweep import Point
from analyzer.watchdog import ModelHangsError, Patience, Watchdog
from profiles import model_config
from profiles.baseline import less_baseline
from profiles.errors import (
    InputError,
    LoadError,
    ModelPlacerError,
    ServerError,
    SurroundingsError,
)
from profiles.measurement import Baseline, LoadPoint, Measurement, Usage
from profiles.repository import ModelDirectory
from profiles.store import ProfileStore, point_key
from profiles.variant import Variant

OUT_OF_MEMORY = re.compile(r"out of memory|\bOOM\b|bad_alloc|failed to allocate", re.IGNORECASE)
BASELINE_S = 1.0  # the server alone is watched so long
GIVE_BACK_S = 3.0  # how long unloaded models may keep a GPU's memory
SETTLE_S = 0.2  # between loading and the reading of cold memory
CROWDED = 0.9  # of the host's processors: from here on models on different GPUs disturb each other
LOADED_BEFORE_NOTE = (
    "this Triton has no model control: the model was loaded before, so that its memory is not "
    "known, only what the load added to it"
)
CROWDED_NOTE = (
    "the host's processors were busy while models were measured side by side: without --parallel "
    "it may be faster"
)
THROTTLED = 0.05  # of the periods of the CPU quota: from here on it is said
LITTLE_TOLERANCE = 0.05  # of concurrency: how far throughput x latency may be off
DEATH_S = 2.0  # how long a server that does not answer may take to be seen as dead
DEVICE_POLL_S = 0.5
UNLOAD_S = 5.0  # after a failure: a server that takes longer is replaced by a new one
TWICE = 2  # what goes wrong so often is the model's doing, and not tried again
LOG_LINES = 8  # of the server's own words in a reason


@dataclass(frozen=True)
class Progress:
    """What the loop tells as it goes."""

    done: int
    total: int | None  # None: a search, whose end is open
    left_s: float | None  # estimated from the points so far; None before the first ended
    measurement: Measurement  # that just ended
    where: str = ""  # the GPU, when several are used side by side


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
    patience: Patience = field(default_factory=Patience)
    in_parallel: bool = False  # other models are measured meanwhile, on other GPUs of this host
    streams: Callable[[], Generator] | None = None  # for decoupled models, if `generator` is not
    rate_limits: tuple[str, ...] = ()  # arguments of the server that change how all is served

    @property
    def server_description(self) -> str:
        """The server as measurements name it: figures under a rate limit are figures of it."""
        return " ".join((self.server.description, *self.rate_limits))

    def aim(self, model: str, batch_size: int) -> Generator:
        """The generator for a loaded model, with its requests; raises as `make_requests` does."""
        requests = self.make_requests(self.server.http_url, model, batch_size)
        generator = self.generator
        if self.streams is not None and requests[0].streams:
            generator = self.streams()
        grpc = generator.protocol == "grpc"
        generator.aim(self.server.grpc_url if grpc else self.server.http_url, requests)
        return generator


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
        host=figures.host,
        warnings=figures.notes,
    )


@dataclass(frozen=True)
class _Loaded:
    """A variant on the server: what the server held before, and what the variant added."""

    idle_bytes: int
    cold_bytes: int


@dataclass
class _Past:
    """The loads of a variant that went wrong in a way in which larger ones would as well."""

    ran_out: list[LoadPoint] = field(default_factory=list)  # of memory
    hung: list[LoadPoint] = field(default_factory=list)


def _measure_variant(
    bench: Bench, variant: Variant, points: Iterable[Point], past: _Past
) -> Iterator[Measurement]:
    """Load a variant, measure its points, unload it; after a failure it is loaded afresh."""
    loaded: _Loaded | None = None
    generator, aimed = bench.generator, 0  # the client batch size that it sends now
    crashes = 0  # of the server, while it loaded the variant
    broken = ""  # why the variant cannot be loaded
    for point in points:
        unfit = _unfit(point.load, past)
        if unfit:
            yield _skipped(bench, point, unfit)
            continue
        if broken:
            yield _failed(bench, point, broken)
            continue
        if loaded is None:
            try:
                loaded, aimed = _load_alone(bench, variant), 0
            except ModelPlacerError as error:
                crashes += isinstance(error, ServerError)
                refused = isinstance(error, InputError | LoadError) and _answers(bench.server)
                if refused or crashes >= TWICE:
                    broken = str(error)
                yield _failed(bench, point, str(error))
                _await_device(bench)
                _clear(bench, variant, None)
                continue
        try:
            if aimed != point.load.batch_size:
                aimed = point.load.batch_size
                generator = bench.aim(variant.model, aimed)
        except (InputError, SurroundingsError) as error:
            aimed = 0
            yield _failed(bench, point, str(error))
            if not _answers(bench.server):
                bench.server.restart()
                loaded = None
            continue
        mark, ill = bench.server.log_mark(), False
        try:
            measurement = _measure_point(bench, generator, point, loaded)
        except ModelPlacerError as error:  # the server or the device, not a request
            ill = True
            if isinstance(error, ModelHangsError):
                past.hung.append(point.load)
            measurement = _failed(bench, point, str(error))
        if measurement.status == "ok":
            yield measurement
            continue
        reason = _with_log(measurement.reason or "", bench.server, mark)
        if OUT_OF_MEMORY.search(reason):
            past.ran_out.append(point.load)
        yield replace(measurement, reason=reason)
        held, loaded = loaded, None
        _await_device(bench)
        # After a CUDA error a process fails at whatever it does next on the GPU.
        spoilt = ill or bench.gpus is not None
        if spoilt and bench.server.supports_model_control:
            bench.server.restart()  # raises when the server itself is what is broken
        else:
            _clear(bench, variant, held)
    if loaded is not None:
        _clear(bench, variant, loaded)


def _load_alone(bench: Bench, variant: Variant) -> _Loaded:
    """Load the variant on a server that holds nothing else."""
    if not _answers(bench.server):
        bench.server.restart()
    # Read afresh for each variant: a server that has loaded and unloaded models holds more
    # than a new one, and that is no need of the next model.
    idle_bytes = bench.device.memory_bytes(bench.server.pids)
    _load(bench, variant)
    cold_bytes = max(0, bench.device.memory_bytes(bench.server.pids) - idle_bytes)
    return _Loaded(idle_bytes, cold_bytes)


def _clear(bench: Bench, variant: Variant, held: _Loaded | None) -> None:
    """Unload the variant; a server that cannot is restarted, which raises when that fails too."""
    if not bench.server.supports_model_control:
        return
    try:
        for loaded in (variant, *reversed(variant.members)):
            bench.server.unload(loaded.model, timeout_s=UNLOAD_S)
    except ServerError:
        bench.server.restart()
        return
    if held is not None and bench.gpus is not None:
        with suppress(SurroundingsError):  # a GPU that is lost is found by the next load
            wait_for_memory(bench.device, bench.server.pids, held.idle_bytes, GIVE_BACK_S)


def _await_device(bench: Bench) -> None:
    """Return once the device can be read; raises SurroundingsError when it stays lost."""
    deadline_s = time.monotonic() + bench.patience.device_s
    while True:
        try:
            bench.device.memory_bytes(bench.server.pids)
        except SurroundingsError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(DEVICE_POLL_S)
        else:
            return


def _answers(server: Server) -> bool:
    return server.alive() and http_api.is_live(server.http_url)


def _unfit(load: LoadPoint, past: _Past) -> str:
    """Why a load is not worth trying after what smaller ones did; empty when it is."""
    for smaller in past.ran_out:
        if _at_least(load, smaller):
            return f"{smaller} ran out of memory already"
    smaller_hung = [smaller for smaller in past.hung if _at_least(load, smaller)]
    if len(smaller_hung) >= TWICE:
        return f"the model hung at {' and at '.join(map(str, smaller_hung))} already"
    return ""


def _at_least(load: LoadPoint, other: LoadPoint) -> bool:
    return load.batch_size >= other.batch_size and (load.concurrency or 0) >= (
        other.concurrency or 0
    )


def _load(bench: Bench, variant: Variant) -> None:
    """Load the variant and what it is composed of, these first.

    A server without model control is left as it stands.
    """
    if not bench.server.supports_model_control:
        return
    for one in (*variant.members, variant):
        _load_one(bench, one)
    time.sleep(SETTLE_S)


def _load_one(bench: Bench, variant: Variant) -> None:
    model = bench.models[variant.model]
    config = model.config
    if config is None:  # the server completes it, and a variant needs the completed one
        bench.server.load(variant.model, timeout_s=bench.patience.load_s)
        if variant == Variant(variant.model) and bench.gpus is None:
            return
        config = http_api.config(bench.server.http_url, variant.model)
        bench.server.unload(variant.model)
    # Triton wants a version of an ensemble, too, and git keeps no empty directory.
    files = None if model.versions else {"1/ensemble": b""}
    varied = model_config.apply_variant(config, variant, bench.gpus)
    bench.server.load(variant.model, varied, files, timeout_s=bench.patience.load_s)


def _measure_point(
    bench: Bench, generator: Generator, point: Point, loaded: _Loaded
) -> Measurement:
    """Drive one load and put together what all who watched it saw.

    Requests that fail are a failed measurement; raises ModelPlacerError when the server or the
    device is what failed.
    """
    server, model = bench.server, point.variant.model
    before = statistics.snapshot(server.http_url, model)
    busy = BusyShare()
    with (
        Watchdog(server.http_url, model, bench.patience) as watchdog,
        bench.device.watch(server.pids) as watch,
    ):
        result = generator.run(point.load, bench.rule, watchdog.check)
        watchdog.check()
        crowded = bench.in_parallel and busy.now() > CROWDED
        figures = watch.figures(result.start_s, result.end_s)
    if result.failures or not result.requests:
        what = "; ".join(result.failure_texts) or "no request was answered"
        reason = f"{result.failures} of {result.requests + result.failures} requests failed: {what}"
        return _failed(bench, point, reason, failures=result.failures)
    after = statistics.snapshot(server.http_url, model, before, result.completed)
    served = statistics.difference(before, after)
    return replace(
        _blank(bench, point),
        throughput=result.throughput,
        latency=result.latency,
        server_time=served.server_time,
        usage=_usage(figures, loaded, result.throughput),
        host=figures.host,
        confidence=result.confidence,
        requests=result.requests,
        duration_s=result.duration_s,
        responses=result.responses,
        first_response=result.first_response,
        warnings=(
            *_doubts(point.load, result, served, figures),
            *figures.notes,
            *([CROWDED_NOTE] if crowded else []),
            *([] if server.supports_model_control else [LOADED_BEFORE_NOTE]),
        ),
        extra=_device_size(bench) | (figures.extra or {}),
    )


def _usage(figures: DeviceFigures, loaded: _Loaded, throughput: float) -> Usage:
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
    if result.completed is not None and served.requests != result.completed:
        yield f"Triton counted {served.requests} requests, the client {result.completed}"
    if figures.host and figures.host.throttled_share > THROTTLED:
        yield (
            f"the CPU limit held the server in {figures.host.throttled_share:.0%} of the periods, "
            f"{figures.host.throttled_s_per_s:.1f} s in a second: fewer threads may be faster"
        )
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
        environment=bench.device.environment(bench.server_description),
        model_digest=point.digest,
    )


def _failed(bench: Bench, point: Point, reason: str, failures: int = 0) -> Measurement:
    return replace(_blank(bench, point), status="failed", reason=reason, failures=failures)


def _skipped(bench: Bench, point: Point, reason: str) -> Measurement:
    return replace(_blank(bench, point), status="skipped", reason=reason)


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
