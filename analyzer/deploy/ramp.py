"""How far all loads of a layout can grow together before a limit breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.deploy.drive import MakeRequests
from analyzer.deploy.judge import Check, drive_and_judge
from analyzer.deploy.run_layout import RunningServer

RAMP = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
RAMP_DOWN = (0.75, 0.5, 0.25)
BISECTIONS = 2


@dataclass(frozen=True)
class Headroom:
    """How far all loads can grow together."""

    factor: float  # the largest that held; 0 when none did
    broken_at: float | None  # the next that was tried
    broken: tuple[Check, ...] = ()  # what did not hold there


def ramp(
    groups: Sequence[Sequence[RunningServer]],
    make_requests: MakeRequests,
    *,
    duration_s: float,
    tolerance: float,
) -> Headroom:
    """The largest factor by which all rates can be multiplied while every check holds."""

    def broken(factor: float) -> tuple[Check, ...]:
        checks = drive_and_judge(
            groups, make_requests, duration_s=duration_s, tolerance=tolerance, factor=factor
        )
        # Memory and utilization are predictions at factor 1: what counts here is what callers see.
        callers = [check for check in checks if check.model is not None]
        return tuple(check for check in callers if check.holds is False)

    held = 0.0
    fell: float | None = None
    why: tuple[Check, ...] = ()
    for factor in RAMP:
        why = broken(factor)
        if why:
            fell = factor
            break
        held = factor
    if fell == RAMP[0]:
        for factor in RAMP_DOWN:
            lower = broken(factor)
            if not lower:
                held = factor
                break
            fell, why = factor, lower
    if fell is None:
        return Headroom(held, None)
    for _ in range(BISECTIONS if held else 0):
        middle = (held + fell) / 2
        lower = broken(middle)
        if lower:
            fell, why = middle, lower
        else:
            held = middle
    return Headroom(held, fell, why)
