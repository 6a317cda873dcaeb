"""The best measured point of each model: most throughput within a latency limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.report.tables import MIB
from analyzer.report.text_table import text_table
from profiles.measurement import Measurement


@dataclass(frozen=True)
class Best:
    """The best point of a model on a device type."""

    model: str
    device_type: str
    point: Measurement | None  # None: no point is within the limit
    least_ms: float | None = None  # the least latency of any point
    known: int = 0  # points of which that percentile's upper confidence limit is known
    points: int = 0  # all of them


def best(
    measurements: Sequence[Measurement], limit_ms: float | None, percentile: int
) -> list[Best]:
    """For each model and device type, in the order of names.

    The limit is held against the percentile's upper confidence limit, as `place` does; points of
    which that is not known are within no limit.
    """
    found: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for m in measurements:
        if m.status == "ok":
            found[m.model, m.device_type].append(m)
    answers = []
    for (model, device_type), points in sorted(found.items()):
        latencies = {id(m): m.latency_surely_ms(percentile) for m in points}
        within = [
            m for m in points if limit_ms is None or (latencies[id(m)] or float("inf")) <= limit_ms
        ]
        answers.append(
            Best(
                model,
                device_type,
                max(within, key=lambda m: m.throughput, default=None),
                min((ms for ms in latencies.values() if ms is not None), default=None),
                sum(ms is not None for ms in latencies.values()),
                len(points),
            )
        )
    return answers


def best_table(answers: Sequence[Best], limit_ms: float | None, percentile: int) -> str:
    """A row for each, then those that meet the limit nowhere, and what is not known."""
    rows = []
    for answer in answers:
        m = answer.point
        if m is None:
            continue
        rows.append(
            [
                answer.model,
                str(m.variant),
                str(m.load),
                answer.device_type,
                f"{m.throughput:.1f}",
                f"{m.latency.percentile(percentile):.1f}" if m.latency else "–",
                f"{m.usage.memory_hot_bytes / MIB:.0f}" if m.usage else "–",
            ]
        )
    header = ["model", "variant", "load", "device", "infer/s", f"p{percentile} ms", "hot MiB"]
    parts = [text_table(header, rows, left=4, least=["device", "hot MiB"])] if rows else []
    parts += [
        f"{a.model} on {a.device_type}: no point within p{percentile} {limit_ms:g} ms; "
        + (
            f"p{percentile} is known of none."
            if a.least_ms is None
            else f"the least is {a.least_ms:.4g} ms."
        )
        for a in answers
        if a.point is None
    ]
    points = sum(a.points for a in answers)
    unknown = points - sum(a.known for a in answers)
    if limit_ms is not None and unknown:
        parts.append(
            f"p{percentile} is not known of {unknown} of {points} points, which may break it. "
            f"`profile --latency-percentile {percentile} --remeasure` sends the requests it takes."
        )
    return "\n".join(parts) or "No measurements."
