"""What got slower, larger or hungrier between two sets of measurements, and how sure that is.

Points are compared with the same variant, load and device type. A difference d = after - before
counts where its 95 % confidence interval leaves out zero: |d| > sqrt(h_before² + h_after²), with h
the half-widths of both intervals, taken for independent. Memory and energy are measured without an
interval: of them the tolerance alone decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Literal

from analyzer.report.terminal import paint
from analyzer.report.text_table import text_table
from profiles.measurement import LoadPoint, Measurement
from profiles.variant import Variant

Verdict = Literal["worse", "better", "within noise", "same"]


@dataclass(frozen=True)
class Change:
    """One figure of one point, before and after."""

    model: str
    variant: str
    load: str
    device_type: str
    figure: str
    unit: str
    before: float
    after: float
    noise: float | None  # half-width of the difference's interval, in the unit; None: not known
    verdict: Verdict
    beyond: bool  # worse by more than the tolerance

    @property
    def relative(self) -> float | None:
        """The change relative to before; None where that was zero."""
        return self.after / self.before - 1 if self.before else None


@dataclass(frozen=True)
class Comparison:
    """The changes of all points that both have, and what only one has."""

    changes: tuple[Change, ...]
    points: int  # that both have
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    failing: tuple[str, ...]  # measured before, failed after, with the reason

    @property
    def holds(self) -> bool:
        """Whether nothing is worse by more than the tolerance, and nothing fails that did not."""
        return not self.failing and not any(change.beyond for change in self.changes)


@dataclass(frozen=True)
class _Figure:
    name: str
    unit: str
    more_is_better: bool
    of: Callable[[Measurement], float | None]
    half: Callable[[Measurement], float | None]  # relative half-width of its interval


def compare(
    before: Sequence[Measurement], after: Sequence[Measurement], tolerance: float
) -> Comparison:
    """The comparison; the newest measurement of each point counts. Tolerance is relative."""
    old, new = _by_point(before), _by_point(after)
    changes: list[Change] = []
    failing, points = [], 0
    for key, now in new.items():
        then = old.get(key)
        if then is None or then.status != "ok":
            continue
        if now.status != "ok":
            failing.append(f"{_name(now)}: {(now.reason or now.status).partition(chr(10))[0]}")
            continue
        points += 1
        changes += _changes(then, now, tolerance)
    return Comparison(
        tuple(changes),
        points,
        tuple(_name(m) for key, m in old.items() if key not in new),
        tuple(_name(m) for key, m in new.items() if key not in old),
        tuple(failing),
    )


def _by_point(rows: Sequence[Measurement]) -> dict[tuple[Variant, LoadPoint, str], Measurement]:
    ordered = sorted(rows, key=lambda m: m.measured_at)
    return {(m.variant, m.load, m.device_type): m for m in ordered}


def _changes(then: Measurement, now: Measurement, tolerance: float) -> list[Change]:
    # The percentile whose interval was measured, as far as both measured the same one.
    percentile = then.confidence.latency_percentile if then.confidence else 95
    same = now.confidence is None or now.confidence.latency_percentile == percentile
    found = []
    for figure in _figures(percentile):
        a, b = figure.of(then), figure.of(now)
        if a is None or b is None:
            continue
        halves = figure.half(then), figure.half(now)
        noise = None
        if (
            halves[0] is not None
            and halves[1] is not None
            and (same or figure.name == "throughput")
        ):
            noise = hypot(halves[0] * a, halves[1] * b)
        worse = (a - b) if figure.more_is_better else (b - a)
        verdict: Verdict = "worse" if worse > 0 else "better"
        if a == b:
            verdict = "same"
        elif noise is not None and abs(worse) <= noise:
            verdict = "within noise"
        beyond = verdict == "worse" and worse > tolerance * a
        found.append(
            Change(
                now.model,
                str(now.variant),
                str(now.load),
                now.device_type,
                figure.name,
                figure.unit,
                a,
                b,
                noise,
                verdict,
                beyond,
            )
        )
    return found


def _figures(percentile: int) -> tuple[_Figure, ...]:
    return (
        _Figure(
            "throughput",
            "infer/s",
            True,
            lambda m: m.throughput,
            lambda m: m.confidence.throughput if m.confidence else None,
        ),
        _Figure(
            f"p{percentile} latency",
            "ms",
            False,
            lambda m: m.latency.percentile(percentile) if m.latency else None,
            lambda m: m.confidence.latency if m.confidence else None,
        ),
        _Figure(
            "hot memory",
            "bytes",
            False,
            lambda m: m.usage.memory_hot_bytes if m.usage else None,
            lambda _: None,
        ),
        _Figure(
            "energy per inference",
            "J",
            False,
            lambda m: m.usage.energy_per_inference_j if m.usage else None,
            lambda _: None,
        ),
    )


def _name(m: Measurement) -> str:
    return f"{m.model} [{m.variant}] {m.load} on {m.device_type}"


HEADER = ["model", "variant", "load", "figure", "before", "after", "change", "noise", "verdict"]
MARKS = {"worse": "red", "better": "green"}


def _rows(found: Comparison, *, every: bool, painted: bool) -> list[list[str]]:
    rows = []
    for c in sorted(found.changes, key=lambda c: not c.beyond):
        if not every and c.verdict in {"same", "within noise"}:
            continue
        word = "worse than tolerated" if c.beyond else c.verdict
        color = "yellow" if c.verdict == "worse" and not c.beyond else MARKS.get(c.verdict)
        rows.append(
            [
                c.model,
                c.variant,
                c.load,
                c.figure,
                _amount(c.before, c.unit),
                _amount(c.after, c.unit),
                "–" if c.relative is None else f"{c.relative:+.1%}",
                "unknown" if c.noise is None or not c.before else f"±{c.noise / c.before:.1%}",
                paint(word, color) if painted and color else word,
            ]
        )
    return rows


def _amount(figure: float, unit: str) -> str:
    return f"{figure / 1e6:.0f} MB" if unit == "bytes" else f"{figure:.4g} {unit}"


def summary(found: Comparison, tolerance: float) -> str:
    """One sentence."""
    beyond = len([c for c in found.changes if c.beyond])
    noise = len([c for c in found.changes if c.verdict == "within noise"])
    text = (
        f"Points in both: {found.points}, figures: {len(found.changes)}; {beyond} worse by more "
        f"than {tolerance:.0%}, {noise} within the noise"
    )
    return f"{text}; {len(found.failing)} points fail now." if found.failing else f"{text}."


def table(found: Comparison, tolerance: float, *, every: bool) -> str:
    """What changed as a text table, what only one has below."""
    rows = _rows(found, every=every, painted=True)
    least = ["noise", "variant", "before"]
    parts = [text_table(HEADER, rows, left=4, least=least)] if rows else []
    return "\n\n".join([*parts, "\n".join([summary(found, tolerance), *_rest(found)])])


def markdown(found: Comparison, tolerance: float, *, every: bool) -> str:
    """The same for a comment on a pull request."""
    rows = _rows(found, every=every, painted=False)
    verdict = "holds" if found.holds else "**does not hold**"
    lines = [f"### Performance {verdict}", "", summary(found, tolerance), ""]
    if rows:
        lines += ["| " + " | ".join(HEADER) + " |", "|---" * 4 + "|--:" * 4 + "|---|"]
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    lines += ["", *(f"- {line}" for line in _rest(found))]
    return "\n".join(lines).rstrip()


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _rest(found: Comparison) -> list[str]:
    return [
        *(f"Fails now: {line}" for line in found.failing),
        *(f"Only before: {line}" for line in found.only_before),
        *(f"Only after: {line}" for line in found.only_after),
    ]
