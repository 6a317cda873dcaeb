"""Why points failed: points that failed for the same reason are reported once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from profiles.counted import counted
from profiles.errors import ModelPlacerError, NoAnswerError, SurroundingsError
from profiles.measurement import Measurement

NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Failure:
    """Points that failed or were skipped for the same reason."""

    reason: str  # of the first point, all lines of it
    points: tuple[Measurement, ...]

    @property
    def headline(self) -> str:
        """The first line of the reason."""
        return self.reason.partition("\n")[0]


def by_reason(measurements: Iterable[Measurement]) -> list[Failure]:
    """The points by reason; reasons that differ only in the model and in numbers are one."""
    groups: dict[str, list[Measurement]] = {}
    for m in measurements:
        groups.setdefault(kind_of_reason(m), []).append(m)
    return [Failure(points[0].reason or "", tuple(points)) for points in groups.values()]


def kind_of_reason(measurement: Measurement) -> str:
    """The reason without the model's name and numbers, to group points by."""
    headline = (measurement.reason or "").partition("\n")[0]
    return NUMBER.sub("#", headline.replace(measurement.model, "<model>"))


def nothing_measured(measurements: Sequence[Measurement]) -> ModelPlacerError | None:
    """The error of a run without any point that has figures; None where one has, or none was asked.

    It is a NoAnswerError where the models refuse the requests, a SurroundingsError where they are
    not served.
    """
    if not measurements or any(m.status == "ok" for m in measurements):
        return None
    failures = by_reason(m for m in measurements if m.status == "failed")
    failures = failures or by_reason(measurements)
    failures.sort(key=lambda failure: -len(failure.points))
    if len(failures) == 1:
        every = f"All {len(measurements)} points" if len(measurements) > 1 else "The only point"
        told = f"{every} failed: {failures[0].headline}"
    else:
        lines = [f"\n    {counted(len(f.points), 'point')}: {f.headline}" for f in failures]
        told = f"All {len(measurements)} points failed:{''.join(lines)}"
    kind = NoAnswerError if failures[0].points[0].failures else SurroundingsError
    return kind(f"{told}\n`model-placer show` has Triton's own words; `profile` tries them again.")
