"""What models use, and how late they answer, at a part of their throughput, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from analyzer.report.text_table import text_table
from placement.problem.part_load import unseen_errors
from profiles.measurement import Measurement
from profiles.part_load import family, loads

HEADER = (
    *("at part load", "variant", "batch", "infer/s", "of full %", "util %", "proportional %"),
    *("p50 ms", "p99 ms", "executed batch"),
)


def table(measurements: Iterable[Measurement]) -> str:
    """A row for each point below the best full load of its variant and batch size; else empty."""
    known = loads(measurements)
    best: dict[object, Measurement] = {}
    for m in known.full:
        before = best.get(family(m))
        whole = m.status == "ok" and m.usage and m.load.concurrency and known.at_part(m)
        if whole and (before is None or m.throughput > before.throughput):
            best[family(m)] = m
    rows, errors = [], []
    for full in best.values():
        curve = [*known.at_part(full), full]
        rows += [_row(m, full) for m in curve]
        errors += _errors(curve)
    if not rows:
        return ""
    text = text_table(list(HEADER), rows, left=2)
    if errors:
        text += (
            f"\nEach use between two others predicted by these: median error "
            f"{median(errors):.1%} of {len(errors)}, largest {max(errors):.1%}."
        )
    return text


def _row(m: Measurement, full: Measurement) -> list[str]:
    share = m.throughput / full.throughput
    use = m.usage.utilization_percent if m.usage else None
    most = full.usage.utilization_percent if full.usage else None
    batch = m.extra.get("executed_batch_size")
    return [
        m.model,
        str(m.variant),
        str(m.load.batch_size),
        f"{m.throughput:.1f}",
        "full" if m is full else f"{share:.0%}".rstrip("%"),
        "–" if use is None else f"{use:.1f}",
        "–" if most is None else f"{share * most:.1f}",
        "–" if m.latency is None else f"{m.latency.p50_ms:.1f}",
        "–" if m.latency is None else f"{m.latency.p99_ms:.1f}",
        "–" if batch is None else f"{batch:.2f}",
    ]


def _errors(curve: Sequence[Measurement]) -> list[float]:
    points = [(0.0, 0.0)]
    for m in curve:
        use = m.usage.utilization_percent if m.usage else None
        if use is not None:
            points.append((m.throughput, use))
    return [abs(error) for error in unseen_errors(*zip(*points, strict=True))]
