"""Measurements as text tables for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from analyzer.report import part_load
from analyzer.report.failures import by_reason
from analyzer.report.terminal import paint
from analyzer.report.text_table import text_table
from profiles.instance_memory import added_instances
from profiles.measurement import Baseline, Measurement

MIB = 1 << 20
LEAST = (  # what is left out first where a terminal is narrow
    *("CPU cores", "compute ms", "queue ms", "p90 ms", "cold MiB"),
    *("p50 ms", "util %", "p95 ms", "±%", "hot MiB"),
)


def measurements_table(measurements: Sequence[Measurement]) -> str:
    """A row for each point that has figures, then what failed and what is doubtful, in words."""
    good = [m for m in measurements if m.status == "ok"]
    parts = []
    if good:
        header = (
            "model,variant,load,infer/s,±%,p50 ms,p90 ms,p95 ms,p99 ms,queue ms,compute ms,"
            "cold MiB,hot MiB,util %,CPU cores"
        )
        rows = [_row(m) for m in good]
        parts.append(text_table(header.split(","), rows, left=3, least=LEAST))
    parts += _gpu_table(good)
    parts += _load_times(good)
    parts += [at_part] if (at_part := part_load.table(good)) else []
    parts += _added_instances(good)
    parts += _reasons("Failed", [m for m in measurements if m.status == "failed"])
    parts += _reasons("Skipped", [m for m in measurements if m.status == "skipped"])
    parts += _notes("Streamed responses", ((m, stream_line(m)) for m in good if m.first_response))
    open_ones = sum(not settled(m) for m in good)
    if open_ones:
        points = "1 point" if open_ones == 1 else f"{open_ones} points"
        parts.append(f"{points} did not reach the requested precision (marked ! in the ±% column).")
    parts += _notes("Doubtful", ((m, "; ".join(m.warnings)) for m in good if m.warnings))
    return "\n\n".join(parts) or "No measurements."


GPU_COLUMNS: dict[str, Callable[[Measurement], float | None]] = {
    "util %": lambda m: m.usage.utilization_percent if m.usage else None,
    "process %": lambda m: m.extra.get("process_utilization_percent"),
    "memory %": lambda m: m.usage.memory_utilization_percent if m.usage else None,
    "SM %": lambda m: m.extra.get("sm_utilization_percent"),
    "occupancy %": lambda m: m.extra.get("sm_occupancy_percent"),
    "DRAM %": lambda m: m.extra.get("dram_bandwidth_percent"),
    "process MiB": lambda m: (
        m.extra["process_memory_bytes"] / MIB if "process_memory_bytes" in m.extra else None
    ),
    "W": lambda m: m.usage.power_w if m.usage else None,
    "J/infer": lambda m: m.usage.energy_per_inference_j if m.usage else None,
    "SM MHz": lambda m: m.extra.get("sm_clock_mhz"),
    "°C": lambda m: m.extra.get("temperature_c"),
}


def _gpu_table(good: Sequence[Measurement]) -> list[str]:
    """Figures of GPUs, without columns that are empty; nothing for CPU hosts."""
    rows = [m for m in good if m.environment.device_uuid]
    shown = {
        name: figure
        for name, figure in GPU_COLUMNS.items()
        if any(figure(m) is not None for m in rows)
    }
    if not shown:
        return []
    cells = [
        [m.model, str(m.variant), str(m.load), *(_figure(figure(m)) for figure in shown.values())]
        for m in rows
    ]
    header = ["on the GPU", "variant", "load", *shown]
    return [text_table(header, cells, left=3, least=[*shown][:2:-1])]


def host_table(measurements: Iterable[Measurement]) -> str:
    """What the server's processes used of the host, a row for each point that has figures."""
    rows = [
        [
            m.model,
            str(m.variant),
            str(m.load),
            f"{m.host.cpu_cores:.2f}",
            "–" if m.host.cpu_limit_cores is None else f"{m.host.cpu_limit_cores:g}",
            f"{m.host.system_share:.0%}",
            f"{m.host.context_switches_per_s:.0f}",
            f"{m.host.throttled_share:.0%}",
            f"{m.host.memory_bytes / MIB:.0f}",
            ", ".join(f"{name} {cores:.2f}" for name, cores in m.host.cores_by_process) or "–",
        ]
        for m in measurements
        if m.status == "ok" and m.host is not None
    ]
    columns = "CPU cores,limit,system,switches/s,held,RAM MiB,CPU cores by program"
    header = ["on the host", "variant", "load", *columns.split(",")]
    return text_table(header, rows, left=3, least=header[:3:-1]) if rows else ""


def _figure(value: float | None) -> str:
    """A number with three significant digits."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"


def _load_times(good: Sequence[Measurement]) -> list[str]:
    """How long variants take to load and unload, where both ways of loading were measured."""
    rows = {
        (m.model, str(m.variant), m.device_type): [
            m.model,
            str(m.variant),
            m.device_type,
            *(_figure(m.extra.get(key)) for key in ("load_cold_s", "load_s", "unload_s")),
        ]
        for m in good
        if "load_cold_s" in m.extra
    }
    header = ["loading", "variant", "device", "from disk s", "from page cache s", "unload s"]
    return [text_table(header, list(rows.values()), left=3)] if rows else []


def _added_instances(good: Sequence[Measurement]) -> list[str]:
    lines = [
        f"  {added.variant.model} [{added.variant}]: {added.cold_bytes / MIB:.0f} MiB cold, "
        f"{added.hot_bytes / MIB:.0f} MiB hot (from {added.fewest} to {added.most})"
        for added in added_instances(good)
    ]
    return ["Memory of each added instance:\n" + "\n".join(lines)] if lines else []


def settled(measurement: Measurement) -> bool:
    """Whether throughput and latency reached the requested precision."""
    return measurement.confidence is None or measurement.confidence.reached


def baselines_table(baselines: Iterable[Baseline]) -> str:
    """Triton alone, a row for each device type and server."""
    listed = list(baselines)
    rows = [
        [
            b.device_type,
            b.environment.triton,
            f"{b.memory_bytes / MIB:.0f}",
            f"{b.utilization_percent:.1f}",
            "–" if b.power_w is None else f"{b.power_w:.1f}",
        ]
        for b in listed
    ]
    table = text_table(["server alone on", "Triton", "memory MiB", "util %", "W"], rows, left=2)
    doubts = [f"  {b.device_type}: {'; '.join(b.warnings)}" for b in listed if b.warnings]
    return table + ("\n\nDoubtful:\n" + "\n".join(doubts) if doubts else "")


def summary_line(measurement: Measurement) -> str:
    """A point in one line, for progress."""
    name = _name(measurement)
    if measurement.status != "ok" or measurement.latency is None:
        reason = (measurement.reason or "").partition("\n")[0]
        return f"{name}: {measurement.status}: {reason}"
    confidence = measurement.confidence
    width = f" ±{confidence.throughput:.1%}" if confidence else ""
    p95_ms = measurement.latency.p95_ms
    stream = f", {stream_line(measurement)}" if measurement.first_response else ""
    return f"{name}: {_rate(measurement.throughput)} infer/s{width}, p95 {p95_ms:.1f} ms{stream}"


def _rate(per_s: float) -> str:
    """A rate with one decimal; of a slow model, below one a second, three digits."""
    return f"{per_s:.3g}" if 0 < per_s < 1 else f"{per_s:.1f}"


def stream_line(measurement: Measurement) -> str:
    """Of a decoupled model: responses per second, and how long the first and the last take."""
    first, last = measurement.first_response, measurement.latency
    if first is None or last is None:
        return ""
    between = measurement.between_responses
    gaps = f"between p50 {between.p50_ms:.1f} p95 {between.p95_ms:.1f} ms, " if between else ""
    return (
        f"{_rate(measurement.responses_per_s or 0.0)} responses/s, "
        f"first p50 {first.p50_ms:.1f} p95 {first.p95_ms:.1f} ms, {gaps}"
        f"last p50 {last.p50_ms:.1f} p95 {last.p95_ms:.1f} ms"
    )


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
    return [m.model, str(m.variant), str(m.load), _rate(m.throughput), *cells]


def _reasons(title: str, measurements: Sequence[Measurement]) -> list[str]:
    """The points, each reason once: its first point has it in full, the others only their names."""
    lines = []
    for failure in by_reason(measurements):
        first, *others = failure.points
        lines.append(f"  {_name(first)}: {_indented(failure.reason)}")
        if others:
            lines.append(f"    the same: {', '.join(map(_name, others))}")
    return [f"{paint(f'{title}:', 'red')}\n" + "\n".join(lines)] if lines else []


def _notes(title: str, rows: Iterable[tuple[Measurement, str]]) -> list[str]:
    lines = [f"  {_name(m)}: {_indented(text)}" for m, text in rows]
    return [f"{paint(f'{title}:', 'yellow')}\n" + "\n".join(lines)] if lines else []


def _name(m: Measurement) -> str:
    return f"{m.model} [{m.variant}] {m.load}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n      ")
