"""The figures of a measurement, each with its name and unit: columns of every table and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from profiles.measurement import Latency, Measurement

MB = 1e6


@dataclass(frozen=True)
class Column:
    """One figure of a measurement."""

    name: str  # in CSV, with the unit
    heading: str
    figure: Callable[[Measurement], float | None]
    digits: int = 1  # after the point, in tables for people
    scale: float = 1.0  # in tables for people the figure is divided by it


def _latency(pick: Callable[[Latency], float]) -> Callable[[Measurement], float | None]:
    return lambda m: pick(m.latency) if m.latency else None


def network_ms(m: Measurement) -> float | None:
    """Mean latency outside Triton: the network, and the client's own part."""
    if m.latency is None or m.server_time is None:
        return None
    return max(0.0, m.latency.mean_ms - m.server_time.queue_ms - (compute_ms(m) or 0.0))


def compute_ms(m: Measurement) -> float | None:
    """Mean time of a request in compute, its inputs and outputs included."""
    t = m.server_time
    return t.compute_input_ms + t.compute_infer_ms + t.compute_output_ms if t else None


COLUMNS = (
    Column("throughput_infer_per_s", "infer/s", lambda m: m.throughput),
    Column(
        "throughput_half_width",
        "±%",
        lambda m: m.confidence.throughput if m.confidence else None,
        scale=0.01,
    ),
    Column("latency_mean_ms", "mean ms", _latency(lambda x: x.mean_ms)),
    Column("latency_p50_ms", "p50 ms", _latency(lambda x: x.p50_ms)),
    Column("latency_p90_ms", "p90 ms", _latency(lambda x: x.p90_ms)),
    Column("latency_p95_ms", "p95 ms", _latency(lambda x: x.p95_ms)),
    Column("latency_p99_ms", "p99 ms", _latency(lambda x: x.p99_ms)),
    Column(
        "latency_half_width",
        "latency ±%",
        lambda m: m.confidence.latency if m.confidence else None,
        scale=0.01,
    ),
    Column("queue_ms", "queue ms", lambda m: m.server_time.queue_ms if m.server_time else None, 2),
    Column("compute_ms", "compute ms", compute_ms, 2),
    Column("network_ms", "network ms", network_ms, 2),
    Column(
        "memory_cold_bytes",
        "cold MB",
        lambda m: m.usage.memory_cold_bytes if m.usage else None,
        0,
        MB,
    ),
    Column(
        "memory_hot_bytes",
        "hot MB",
        lambda m: m.usage.memory_hot_bytes if m.usage else None,
        0,
        MB,
    ),
    Column(
        "utilization_percent",
        "util %",
        lambda m: m.usage.utilization_percent if m.usage else None,
        0,
    ),
    Column(
        "memory_utilization_percent",
        "memory util %",
        lambda m: m.usage.memory_utilization_percent if m.usage else None,
        0,
    ),
    Column("power_w", "W", lambda m: m.usage.power_w if m.usage else None),
    Column(
        "energy_per_inference_j",
        "J/infer",
        lambda m: m.usage.energy_per_inference_j if m.usage else None,
        3,
    ),
    Column("cpu_cores", "CPU cores", lambda m: m.host.cpu_cores if m.host else None, 2),
)
BY_NAME = {column.name: column for column in COLUMNS}

IDENTITY: dict[str, Callable[[Measurement], object]] = {
    "model": lambda m: m.model,
    "variant": lambda m: str(m.variant),
    "batch_size": lambda m: m.load.batch_size,
    "concurrency": lambda m: m.load.concurrency,
    "request_rate_per_s": lambda m: m.load.request_rate,
    "load": lambda m: str(m.load),
    "device_type": lambda m: m.device_type,
    "status": lambda m: m.status,
}
ORIGIN: dict[str, Callable[[Measurement], object]] = {
    "precision_reached": lambda m: "" if m.confidence is None else m.confidence.reached,
    "latency_half_width_percentile": lambda m: (
        m.confidence.latency_percentile if m.confidence else None
    ),
    "requests": lambda m: m.requests,
    "failures": lambda m: m.failures,
    "duration_s": lambda m: m.duration_s,
    "measured_at": lambda m: m.measured_at,
    "triton": lambda m: m.environment.triton,
    "driver": lambda m: m.environment.driver,
    "device_uuid": lambda m: m.environment.device_uuid,
    "cpu": lambda m: m.environment.cpu,
    "model_digest": lambda m: m.model_digest,
    "warnings": lambda m: "; ".join(m.warnings),
    "reason": lambda m: m.reason,
}


def text(column: Column, measurement: Measurement) -> str:
    """The figure as tables have it, or a dash."""
    figure = column.figure(measurement)
    return "–" if figure is None else f"{figure / column.scale:.{column.digits}f}"


def measurements_csv(measurements: Iterable[Measurement]) -> str:
    """A row for each measurement, failed and skipped ones too, in CSV; unknown figures are empty.

    Half-widths are relative (0.05 is 5 %), of 95 % confidence intervals.
    """
    rows = (
        [
            *(of(m) for of in IDENTITY.values()),
            *(c.figure(m) if m.status == "ok" else None for c in COLUMNS),
            *(of(m) for of in ORIGIN.values()),
        ]
        for m in measurements
    )
    return csv_text([*IDENTITY, *(c.name for c in COLUMNS), *ORIGIN], rows)


def csv_text(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in CSV, lines ended by a line feed; what is None is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    return out.getvalue()


def _plain(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets a quote before it."""
    if value is None:
        return ""
    if isinstance(value, str) and value[:1] in "=+-@\t\r" and value[:1]:
        return f"'{value}"
    return value
