"""Points and models with a fault, as `profile` would keep them."""

from __future__ import annotations

from pathlib import Path

from analyzer.advise.finding import Evidence
from profiles.environment import Environment
from profiles.measurement import (
    Confidence,
    HostUsage,
    Latency,
    LoadPoint,
    Measurement,
    ServerTime,
    Usage,
)
from profiles.repository import read_repository
from profiles.variant import Variant

MIB = 1 << 20


def a_point(
    throughput: float = 100.0,
    *,
    variant: Variant | None = None,
    batch: int = 1,
    concurrency: int = 4,
    queue_ms: float = 0.1,
    compute_ms: float = 5.0,
    latency_ms: float | None = None,
    utilization: float = 90.0,
    memory_mib: float = 100.0,
    half_width: float = 0.02,
    reached: bool = True,
    host: HostUsage | None = None,
    warnings: tuple[str, ...] = (),
    gpu: bool = False,
) -> Measurement:
    """A point of `bert`; its latency is what Little's law says unless it is given."""
    latency = latency_ms or 1000 * concurrency * batch / throughput
    return Measurement(
        variant=variant or Variant("bert"),
        load=LoadPoint(batch, concurrency),
        device_type="Tesla T4" if gpu else "cpu",
        environment=Environment(triton="2.51.0", device_uuid="GPU-1" if gpu else ""),
        throughput=throughput,
        latency=Latency(latency, latency, latency, latency, latency, latency),
        server_time=ServerTime(queue_ms, 0.1, compute_ms, 0.1),
        usage=Usage(int(memory_mib * MIB), int(memory_mib * MIB), utilization),
        host=host,
        confidence=Confidence(half_width, half_width, reached=reached),
        warnings=warnings,
        extra={"device_cores": 4.0},
    )


def a_host(
    *, system: float = 0.05, throttled: float = 0.0, limit: float | None = None, cores: float = 1.0
) -> HostUsage:
    return HostUsage(
        cpu_cores=cores,
        system_share=system,
        memory_bytes=0,
        context_switches_per_s=20_000 * system,
        throttled_share=throttled,
        throttled_s_per_s=throttled,
        cpu_limit_cores=limit,
    )


BASE = (
    'backend: "{backend}" max_batch_size: 8 '
    'input [{{ name: "x" data_type: TYPE_FP32 dims: [4] }}] '
    'output [{{ name: "y" data_type: TYPE_FP32 dims: [4] }}] {extra}'
)


def evidence(
    folder: Path,
    *rows: Measurement,
    extra: str = "",
    backend: str = "python",
    log: str = "",
    gpus: tuple[str, ...] = (),
    statistics: tuple[dict[str, object], ...] = (),
) -> Evidence:
    """What is known of `bert`, whose `config.pbtxt` has the `extra`."""
    model = folder / "models" / "bert"
    (model / "1").mkdir(parents=True, exist_ok=True)
    (model / "1" / "model.bin").write_bytes(b"x" * 1000)
    (model / "config.pbtxt").write_text(BASE.format(backend=backend, extra=extra))
    return Evidence(
        rows=rows,
        models=read_repository(folder / "models"),
        log=log,
        log_name="triton.log",
        gpus=gpus,
        statistics=statistics,
    )
