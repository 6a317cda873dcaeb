"""What a report says in words: on what it was measured, what is doubtful, what to do next."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from analyzer.deploy.verification_file import VerificationRecord
from analyzer.deploy.verify import broken
from analyzer.report.failures import NUMBER, by_reason
from analyzer.report.tables import settled
from placement.layout import Layout
from profiles.counted import counted
from profiles.measurement import Baseline, Measurement

NAMED = 5  # points or models that a warning names


def measured_on(measurements: Sequence[Measurement]) -> list[str]:
    """Each device, driver and Triton that measurements were taken on, most measurements first."""
    counts = Counter(
        (m.device_type, m.environment.driver, m.environment.triton, m.environment.cpu)
        for m in measurements
        if m.status == "ok"
    )
    lines = []
    for (device, driver, triton, cpu), count in counts.most_common():
        parts = [device]
        if cpu and cpu not in device:
            parts.append(f"host CPU {cpu}")
        if driver:
            parts.append(f"driver {driver}")
        parts.append(triton if "triton" in triton.lower() else f"Triton {triton or 'unknown'}")
        lines.append(f"{', '.join(parts)}: {counted(count, 'measurement')}")
    return lines


def dates(measurements: Sequence[Measurement]) -> str:
    """`2026-11-26 to 2026-11-27`, or one day, or nothing."""
    days = sorted({m.measured_at[:10] for m in measurements if m.measured_at})
    if not days:
        return ""
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def warnings(
    measurements: Sequence[Measurement],
    baselines: Sequence[Baseline],
    layout: Layout | None,
    verifications: Sequence[VerificationRecord],
) -> list[str]:
    """What a reader must know before any figure, the gravest first."""
    found = []
    if verifications:
        found += [
            f"The layout does not hold: {why}" for why in broken(verifications[-1].result.checks)
        ]
    failed = [m for m in measurements if m.status == "failed"]
    found += [
        f"{counted(len(f.points), 'point')} failed ({_names(f.points)}): {f.headline}"
        for f in by_reason(failed)
    ]
    if layout is not None:
        known = {m.model for m in measurements if m.status == "ok"}
        unknown = sorted(set(layout.rates()) - known)
        if unknown:
            found.append(f"The layout has models that were not measured: {', '.join(unknown)}.")
    doubts: dict[str, list[Measurement]] = defaultdict(list)  # by the warning without numbers
    said: dict[str, str] = {}
    for m in measurements:
        for warning in m.warnings if m.status == "ok" else ():
            kind = NUMBER.sub("#", warning)
            doubts[kind].append(m)
            said.setdefault(kind, warning)
    found += [
        f"{counted(len(points), 'point')} in doubt ({_names(points)}): {said[kind]}"
        f"{', or alike' if len(points) > 1 and '#' in kind else ''}"
        for kind, points in doubts.items()
    ]
    found += [f"The server alone on {b.device_type}: {w}" for b in baselines for w in b.warnings]
    open_ones = [m for m in measurements if m.status == "ok" and not settled(m)]
    if open_ones:
        found.append(
            f"{counted(len(open_ones), 'point')} did not reach the requested precision "
            f"({_names(open_ones)})."
        )
    return found


def next_step(
    measurements: Sequence[Measurement],
    layout: Layout | None,
    verifications: Sequence[VerificationRecord],
    store: str,
    layout_file: str | None,
) -> str:
    """One sentence: what to do next."""
    if not any(m.status == "ok" for m in measurements):
        return "Nothing was measured yet: run `model-placer profile -m model_repository`."
    if layout is None:
        return (
            "The models are measured; place them: "
            f"`model-placer place --store {store} -o layout.yaml`."
        )
    name = layout_file or "layout.yaml"
    if not verifications:
        return (
            "The layout is a prediction; test it under load: "
            f"`model-placer verify {name} -m model_repository -o verification.yaml`."
        )
    if not verifications[-1].result.holds:
        return (
            "The layout does not hold under load; place again with what was learned: "
            f"`model-placer place --store {store} --verify -m model_repository -o {name}`."
        )
    return (
        "The layout held under load; put it into effect: "
        f"`model-placer export {name} -m model_repository -o deploy/`."
    )


def _names(points: Sequence[Measurement]) -> str:
    models = list(dict.fromkeys(m.model for m in points))
    more = f" and {len(models) - NAMED} more" if len(models) > NAMED else ""
    return ", ".join(models[:NAMED]) + more
