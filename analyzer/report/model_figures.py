"""The figures of one model: throughput against latency, times, memory, utilization, energy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analyzer.report.columns import MB, compute_ms, network_ms
from analyzer.report.svg import Bar, Mark, Series, scatter, stacked_bars
from placement.layout import Resident
from profiles.measurement import Measurement


@dataclass(frozen=True)
class Figure:
    """A drawing with its name and what it shows."""

    key: str  # in names of files
    title: str
    svg: str
    caption: str = ""


def ordered(measurements: Sequence[Measurement]) -> list[Measurement]:
    """The points that have figures: by device type, variant, batch size, then load."""
    return sorted(
        (m for m in measurements if m.status == "ok"),
        key=lambda m: (
            m.device_type,
            str(m.variant),
            m.load.batch_size,
            m.load.concurrency or 0,
            m.load.request_rate or 0.0,
        ),
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (throughput, latency) that none beats in both, from left to right."""
    front: list[tuple[float, float]] = []
    for throughput, latency in sorted(points, key=lambda p: (-p[0], p[1])):
        if not front or latency < front[-1][1]:
            front.append((throughput, latency))
    return front[::-1]


def placed(resident: Resident, rows: Sequence[Measurement], device_type: str) -> int | None:
    """The row that the resident was placed by; None where the layout names none of them."""
    for number, m in enumerate(rows):
        if (m.variant, m.load) == (resident.variant, resident.load) and (
            m.device_type == device_type
        ):
            return number
    return None


def model_figures(
    rows: Sequence[Measurement],
    resident: Resident | None = None,
    chosen: int | None = None,
) -> list[Figure]:
    """The figures of one model's points, as `ordered` has them; marks name rows by number.

    `resident` is a replica of the model in the layout, whose percentile and limit are shown, and
    `chosen` the row that it was placed by.
    """
    percentile = resident.percentile if resident else 95
    found = [_latency(rows, percentile, resident, chosen), _times(rows), _memory(rows)]
    found.append(_against_throughput(rows, "utilization", "Utilization", "%", _utilization))
    found.append(_against_throughput(rows, "power", "Power", "W", _power))
    found.append(_against_throughput(rows, "energy", "Energy per inference", "J", _energy))
    return [figure for figure in found if figure is not None]


def groups(rows: Sequence[Measurement]) -> dict[str, list[tuple[int, Measurement]]]:
    """The rows of each curve: one batch size of one variant, on one device type."""
    types = {m.device_type for m in rows}
    variants = {m.variant for m in rows}
    groups: dict[str, list[tuple[int, Measurement]]] = {}
    for number, m in enumerate(rows):
        name = f"batch {m.load.batch_size}"
        if m.load.concurrency is None:
            name += " at a rate"
        if len(variants) > 1:
            name += f", {m.variant}"
        if len(types) > 1:
            name += f", {m.device_type}"
        if m.load.arrivals == "poisson":
            name += ", at random"
        groups.setdefault(name, []).append((number, m))
    return groups


def _latency(
    rows: Sequence[Measurement], percentile: int, resident: Resident | None, chosen: int | None
) -> Figure | None:
    series = []
    for name, members in groups(rows).items():
        marks = []
        for number, m in members:
            if m.latency is None:
                continue
            y, sure = m.latency.percentile(percentile), m.confidence
            marks.append(
                Mark(
                    m.throughput,
                    y,
                    number,
                    m.throughput * sure.throughput if sure else 0.0,
                    y * sure.latency if sure and sure.latency_percentile == percentile else 0.0,
                    m.latency.upper(percentile),
                )
            )
        if marks:
            series.append(Series(name, tuple(marks)))
    marks = [mark for one in series for mark in one.marks]
    if not marks:
        return None
    title = f"p{percentile} latency against throughput"
    limit = resident.latency_limit_ms if resident else None
    drawn = scatter(
        title,
        "throughput, inferences/s",
        f"p{percentile} latency, ms",
        series,
        front=pareto_front([(m.x, m.y) for m in marks]),
        limit=None if limit is None else (limit, f"limit {limit:g} ms"),
        chosen=chosen,
    )
    ring = " The ring is the point that the layout uses." if chosen is not None else ""
    return Figure(
        "latency",
        title,
        drawn,
        "Right and down is better. Bars are 95 % confidence intervals where they are known, or "
        "reach up to the percentile's 99 % confidence limit, which latency limits are held "
        f"against; the broad line joins the points that no other beats in both.{ring}",
    )


def _times(rows: Sequence[Measurement]) -> Figure | None:
    bars = [
        Bar(
            str(m.load),
            (m.server_time.queue_ms, compute_ms(m) or 0.0, network_ms(m) or 0.0),
            number,
        )
        for number, m in enumerate(rows)
        if m.server_time is not None
    ]
    if not bars:
        return None
    title = "Where the time of a request goes"
    parts = ("queue", "compute", "network and client")
    return Figure(
        "time",
        title,
        stacked_bars(title, "mean, ms", parts, bars),
        "Mean time of a request: in Triton's queue, in compute with its inputs and outputs, and "
        "outside Triton.",
    )


def _memory(rows: Sequence[Measurement]) -> Figure | None:
    most: dict[str, tuple[float, float, int]] = {}
    for name, members in groups(rows).items():
        for number, m in members:
            if m.usage is None:
                continue
            cold, hot = m.usage.memory_cold_bytes / MB, m.usage.memory_hot_bytes / MB
            before = most.get(name)
            if before is None or hot > before[1]:
                most[name] = (cold, hot, number)
    if not most:
        return None
    bars = [
        Bar(name, (min(cold, hot), max(0.0, hot - cold)), row)
        for name, (cold, hot, row) in most.items()
    ]
    title = "Memory, cold and hot"
    return Figure(
        "memory",
        title,
        stacked_bars(title, "MB", ("cold: loaded, idle", "more under load"), bars),
        "Of the model alone, the server's own taken off: the point with the highest peak of each "
        "batch size and variant.",
    )


def _utilization(m: Measurement) -> float | None:
    return m.usage.utilization_percent if m.usage else None


def _power(m: Measurement) -> float | None:
    return m.usage.power_w if m.usage else None


def _energy(m: Measurement) -> float | None:
    return m.usage.energy_per_inference_j if m.usage else None


def _against_throughput(
    rows: Sequence[Measurement],
    key: str,
    title: str,
    unit: str,
    figure: Callable[[Measurement], float | None],
) -> Figure | None:
    series = []
    for name, members in groups(rows).items():
        known = [(number, m, figure(m)) for number, m in members]
        marks = tuple(
            Mark(m.throughput, value, number, m.throughput * m.confidence.throughput)
            if m.confidence
            else Mark(m.throughput, value, number)
            for number, m, value in known
            if value is not None
        )
        if marks:
            series.append(Series(name, marks))
    if not series:
        return None
    title = f"{title} against throughput"
    drawn = scatter(
        title, "throughput, inferences/s", f"{title.split(' against')[0]}, {unit}", series
    )
    return Figure(key, title, drawn)
