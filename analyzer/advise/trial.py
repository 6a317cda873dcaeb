"""Measures a proposal beside what runs now, and says whether it held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from analyzer.advise.finding import Finding, half_width
from analyzer.measure.bench import open_bench
from analyzer.measure.grid import Point
from analyzer.measure.loop import Progress, measure_points
from analyzer.measure.options import Options
from analyzer.measure.plan import planned
from analyzer.measure.profile import keep_baseline
from profiles import repository
from profiles.digest import model_digest
from profiles.errors import InputError
from profiles.measurement import Measurement
from profiles.store import ProfileStore
from profiles.variant import Variant

ROUNDS = 2  # each variant is measured so often, in turns: what drifts meets both


@dataclass(frozen=True)
class Trial:
    """What came of a proposal."""

    finding: Finding
    before: tuple[Measurement, ...]
    after: tuple[Measurement, ...]
    throughput: float | None  # relative change; None where a point failed
    latency: float | None  # of the median
    error: float  # of both, from the confidence intervals and from turn to turn
    held: bool
    why: str


def can_be_tried(finding: Finding) -> bool:
    """Whether there is a variant to measure, and a load to measure it at."""
    return (
        finding.variant is not None
        and finding.point is not None
        and not finding.point.variant.members
    )


def try_out(
    finding: Finding,
    options: Options,
    say: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Trial:
    """Measure a finding's variant and the one that runs now, in turns, at the finding's load.

    The points are kept in the store. Raises InputError for a finding that cannot be tried, and as
    `profile` does.
    """
    if finding.variant is None or finding.point is None:
        raise InputError(f"{finding.kind} of {finding.model} is no variant that could be measured.")
    model = finding.variant.model
    options = replace(options, models=(model,), remeasure=True)
    digest = model_digest(repository.read_model(options.model_repository, model).path)
    variants = (finding.point.variant, finding.variant)
    points = [
        Point(variant, finding.point.load, digest) for _ in range(ROUNDS) for variant in variants
    ]
    plan = planned(options, points)
    with ProfileStore(options.store) as store, open_bench(options, plan, say) as bench:
        baseline = keep_baseline(bench, store)
        made = measure_points(points, bench, baseline, store, on_progress, len(points))
    return judged(finding, [m for m in made if m.variant == variants[0]], _of(made, variants[1]))


def _of(made: list[Measurement], variant: Variant) -> list[Measurement]:
    return [m for m in made if m.variant == variant]


def judged(finding: Finding, before: list[Measurement], after: list[Measurement]) -> Trial:
    """Whether what was measured is what was expected, within its error."""
    failed = [m for m in (*before, *after) if m.status != "ok" or m.latency is None]
    if failed or not before or not after:
        reason = failed[0].reason if failed else "no point"
        why = f"it could not be measured: {reason}"
        return Trial(finding, tuple(before), tuple(after), None, None, 1.0, False, why)
    throughput = _mean(before, after, lambda m: m.throughput)
    latency = _mean(before, after, lambda m: m.latency.p50_ms if m.latency else 0.0)
    error = max(map(half_width, before)) + max(map(half_width, after))
    error += _spread(before) + _spread(after)
    held, why = _held(finding, throughput, latency, error)
    return Trial(finding, tuple(before), tuple(after), throughput, latency, error, held, why)


def _held(finding: Finding, throughput: float, latency: float, error: float) -> tuple[bool, str]:
    got = f"throughput {throughput:+.0%}, median latency {latency:+.0%}, ±{error:.0%}"
    gain = finding.gain
    if gain.throughput is not None and gain.throughput[1] > error / 4:
        least, most = gain.throughput
        words = f"{got}; expected {least:+.0%} to {most:+.0%} of throughput"
        return throughput + error >= least and throughput > 0, words
    if gain.latency is not None:
        least, most = gain.latency
        words = f"{got}; expected {least:+.0%} to {most:+.0%} of latency"
        return latency - error <= most and latency < 0, words
    return throughput > error, f"{got}; nothing was promised"


def _mean(
    before: list[Measurement], after: list[Measurement], figure: Callable[[Measurement], float]
) -> float:
    """The relative change of the mean."""
    was = sum(map(figure, before)) / len(before)
    return sum(map(figure, after)) / len(after) / was - 1 if was else 0.0


def _spread(rows: list[Measurement]) -> float:
    """How far turns of the same variant are apart, half of it."""
    figures = [row.throughput for row in rows]
    return (max(figures) - min(figures)) / sum(figures) * len(figures) / 2
