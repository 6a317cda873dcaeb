"""Measurements as text tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analyzer.cli.options import text_table
from profiles.measurement import Baseline, Measurement

MIB = 1 << 20


def measurements_table(measurements: Sequence[Measurement]) -> str:
    """A row for each point that has figures, then what failed and what is doubtful, in words."""
    good = [m for m in measurements if m.status == "ok"]
    parts = []
    if good:
        header = (
            "model,variant,load,infer/s,±%,p50 ms,p90 ms,p95 ms,p99 ms,queue ms,compute ms,"
            "cold MiB,hot MiB,util %,CPU cores"
        )
        parts.append(text_table(header.split(","), [_row(m) for m in good], left=3))
    parts += _notes("Failed", ((m, m.reason or "") for m in measurements if m.status == "failed"))
    parts += _notes("Skipped", ((m, m.reason or "") for m in measurements if m.status == "skipped"))
    open_ones = sum(not settled(m) for m in good)
    if open_ones:
        parts.append(f"{open_ones} points are known less well than was asked for: ±% ends in !")
    parts += _notes("Doubtful", ((m, "; ".join(m.warnings)) for m in good if m.warnings))
    return "\n\n".join(parts) or "No measurements."


def settled(measurement: Measurement) -> bool:
    """Whether throughput and latency are as well known as was asked for."""
    return measurement.confidence is None or measurement.confidence.reached


def baselines_table(baselines: Iterable[Baseline]) -> str:
    """Triton alone, a row for each device type and server."""
    rows = [
        [
            b.device_type,
            b.environment.triton,
            f"{b.memory_bytes / MIB:.0f}",
            f"{b.utilization_percent:.1f}",
        ]
        for b in baselines
    ]
    return text_table(["server alone on", "Triton", "memory MiB", "util %"], rows, left=2)


def summary_line(measurement: Measurement) -> str:
    """A point in one line, for progress."""
    name = f"{measurement.model} [{measurement.variant}] {measurement.load}"
    if measurement.status != "ok" or measurement.latency is None:
        reason = (measurement.reason or "").partition("\n")[0]
        return f"{name}: {measurement.status}: {reason}"
    confidence = measurement.confidence
    width = f" ±{confidence.throughput:.1%}" if confidence else ""
    p95_ms = measurement.latency.p95_ms
    return f"{name}: {measurement.throughput:.1f} infer/s{width}, p95 {p95_ms:.1f} ms"


def _row(m: Measurement) -> list[str]:
    figures: list[tuple[float | None, int]] = [
        (m.confidence.throughput * 100 if m.confidence else None, 1),
        (m.latency.p50_ms if m.latency else None, 1),
        (m.latency.p90_ms if m.latency else None, 1),
        (m.latency.p95_ms if m.latency else None, 1),
        (m.latency.p99_ms if m.latency else None, 1),
        (m.server_time.queue_ms if m.server_time else None, 1),
        (m.server_time.compute_infer_ms if m.server_time else None, 1),
        (m.usage.memory_cold_bytes / MIB if m.usage else None, 0),
        (m.usage.memory_hot_bytes / MIB if m.usage else None, 0),
        (m.usage.utilization_percent if m.usage else None, 0),
        (m.host.cpu_cores if m.host else None, 2),
    ]
    cells = ["–" if value is None else f"{value:.{digits}f}" for value, digits in figures]
    if not settled(m):
        cells[0] += "!"
    return [m.model, str(m.variant), str(m.load), f"{m.throughput:.1f}", *cells]


def _notes(title: str, rows: Iterable[tuple[Measurement, str]]) -> list[str]:
    lines = [f"  {m.model} [{m.variant}] {m.load}: {_indented(text)}" for m, text in rows]
    return [f"{title}:\n" + "\n".join(lines)] if lines else []


def _indented(text: str) -> str:
    return text.replace("\n", "\n      ")
