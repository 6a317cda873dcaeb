"""What was measured: a model's variant under a load, on a device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from profiles.environment import Environment
from profiles.percentile import requests_needed
from profiles.variant import Variant

PERCENTILES = (50, 90, 95, 99)  # of latency, that are stored
Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class LoadPoint:
    """What the client asks of the server: so many requests in flight, or so many a second."""

    batch_size: int = 1  # inferences in one request
    concurrency: int | None = 1  # requests in flight; None in request-rate mode
    request_rate: float | None = None  # requests per second; None in concurrency mode
    arrivals: Literal["constant", "poisson"] = "constant"  # request-rate mode only
    sequence_length: int | None = None  # requests of a sequence, about; None: no sequences

    def __str__(self) -> str:
        """The load in a few characters: `b2 c4`, `b2 100/s`, or `b1 c4 s20` in sequences."""
        length = "" if self.sequence_length is None else f" s{self.sequence_length}"
        if self.concurrency is not None:
            return f"b{self.batch_size} c{self.concurrency}{length}"
        rate = f"b{self.batch_size} {_exactly(self.request_rate or 0.0)}/s{length}"
        return rate if self.arrivals == "constant" else f"{rate} poisson"


def _exactly(figure: float) -> str:
    """The figure in as few characters as tell it from every other: `100`, `0.5`, `1234567`."""
    short = f"{figure:g}"
    return short if float(short) == figure else repr(figure).removesuffix(".0")


@dataclass(frozen=True)
class Latency:
    """Client-side latency of one request, first byte sent to last byte received, in ms."""

    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    # Upper 99 % confidence limits of the percentiles; None: too few requests, or not known.
    p50_upper_ms: float | None = None
    p90_upper_ms: float | None = None
    p95_upper_ms: float | None = None
    p99_upper_ms: float | None = None

    def percentile(self, percentile: int) -> float:
        """One of the stored percentiles (50, 90, 95, 99), in ms; KeyError for any other."""
        return {50: self.p50_ms, 90: self.p90_ms, 95: self.p95_ms, 99: self.p99_ms}[percentile]

    def upper(self, percentile: int) -> float | None:
        """The upper confidence limit of one of them, in ms; None where it is not known."""
        limits = {
            50: self.p50_upper_ms,
            90: self.p90_upper_ms,
            95: self.p95_upper_ms,
            99: self.p99_upper_ms,
        }
        return limits[percentile]


@dataclass(frozen=True)
class ServerTime:
    """Mean time of one request inside Triton, from its statistics endpoint, in ms."""

    queue_ms: float
    compute_input_ms: float
    compute_infer_ms: float
    compute_output_ms: float


@dataclass(frozen=True)
class Usage:
    """What the model holds and uses of its device; the server's baseline is subtracted.

    On a GPU the figures are NVML's; on a CPU host memory is RAM of the server's process tree
    and utilization its CPU time, relative to all cores of the host.
    """

    memory_cold_bytes: int  # loaded and idle, before the first request
    memory_hot_bytes: int  # peak under load
    utilization_percent: float | None  # None: the device does not tell, as many a MIG slice
    memory_utilization_percent: float | None = None  # GPU memory bandwidth; None on a CPU host
    power_w: float | None = None
    energy_per_inference_j: float | None = None  # of all the device's power, the idle part too


@dataclass(frozen=True)
class HostUsage:
    """What the server's process tree used of the host, children included.

    In a measurement, CPU time and memory are less the baseline's.
    """

    cpu_cores: float  # CPU seconds per second
    system_share: float  # part of that CPU time spent in the kernel, 0 to 1
    memory_bytes: int  # proportional set size: shared pages are counted once
    context_switches_per_s: float = 0.0
    throttled_share: float = 0.0  # part of the periods in which the cgroup was throttled
    throttled_s_per_s: float = 0.0  # for how long threads were held, summed over processors
    cores_by_process: tuple[tuple[str, float], ...] = ()  # of `cpu_cores`, by program, most first
    cpu_limit_cores: float | None = None  # the least quota of the server's cgroups; None: no quota


@dataclass(frozen=True)
class Confidence:
    """How sure a measurement is: relative half-widths of 95 % confidence intervals."""

    throughput: float
    latency: float
    latency_percentile: int = 95
    windows: int = 0
    reached: bool = True  # both are as narrow as was asked for


@dataclass(frozen=True)
class Measurement:
    """One point of a model's profile. A failed or skipped point has a reason and no figures."""

    variant: Variant
    load: LoadPoint
    device_type: str
    environment: Environment
    status: Status = "ok"
    reason: str | None = None  # why it failed or was skipped, with the server's own words
    throughput: float = 0.0  # inferences per second: requests per second times batch size
    latency: Latency | None = None
    server_time: ServerTime | None = None
    usage: Usage | None = None
    host: HostUsage | None = None
    confidence: Confidence | None = None
    requests: int = 0  # answered with success, within the measured windows
    failures: int = 0
    duration_s: float = 0.0  # of the measured windows
    warnings: tuple[str, ...] = ()  # what makes the figures doubtful, in words
    measured_at: str = ""  # ISO 8601, UTC
    extra: dict[str, float] = field(default_factory=dict)  # figures of one device type only
    model_digest: str = ""  # of the model's files: equal digests, equal model
    responses: int = 0  # to those requests, of a decoupled model; 0: one to each
    first_response: Latency | None = None  # of a decoupled model; `latency` is to the last
    between_responses: Latency | None = None  # of a decoupled model: from one to the next

    @property
    def model(self) -> str:
        """The model's name."""
        return self.variant.model

    def latency_surely_ms(self, percentile: int) -> float | None:
        """What a latency limit is held against: the percentile's upper confidence limit.

        Where single latencies are not known (older measurements, perf_analyzer, imported tables) it
        is the percentile itself. None where too few requests were measured to know it.
        """
        if self.latency is None:
            return None
        limit = self.latency.upper(percentile)
        if limit is not None:
            return limit
        told = any(self.latency.upper(p) is not None for p in PERCENTILES)
        if self.requests and (told or self.requests < requests_needed(percentile)):
            return None
        return self.latency.percentile(percentile)

    @property
    def responses_per_s(self) -> float | None:
        """Of a decoupled model; None of any other."""
        return self.responses / self.duration_s if self.responses and self.duration_s else None


@dataclass(frozen=True)
class Baseline:
    """Triton alone on a device: what is charged once per device in use."""

    device_type: str
    environment: Environment
    memory_bytes: int
    utilization_percent: float = 0.0
    memory_utilization_percent: float | None = None
    power_w: float | None = None
    host: HostUsage | None = None
    measured_at: str = ""
    warnings: tuple[str, ...] = ()  # what makes the figures doubtful, in words
