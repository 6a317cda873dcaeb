"""Which measurements speak of what would run now: the newest files of a model, the newest server.

A model that was retrained, and a model on another version of Triton, may need more than before; an
option of what there is no more must not be placed. See
`docs/decisions/0005-the-newest-files-and-server-are-placed.md`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from profiles.measurement import Measurement


@dataclass(frozen=True)
class UpToDate:
    """What counts, and what does not any more."""

    rows: tuple[Measurement, ...]
    older: tuple[Measurement, ...]
    notes: dict[str, tuple[str, ...]]  # by model: what was left out, in words


def up_to_date(measurements: Iterable[Measurement]) -> UpToDate:
    """The measurements of each model's newest files and, by device type, newest server.

    Failed ones count as well: when nothing of the newest files succeeded, nothing is left to place.
    A row without a digest (of an imported table) is of whatever files there are; on its device type
    it stands against those with one by its date alone.
    """
    rows = list(measurements)
    place = {id(m): (m.measured_at, number) for number, m in enumerate(rows)}
    by_model: dict[str, list[Measurement]] = defaultdict(list)
    for m in rows:
        by_model[m.model].append(m)
    kept: set[int] = set()
    notes: dict[str, tuple[str, ...]] = {}
    for model, own in by_model.items():
        known = [m for m in own if m.model_digest]
        newest = max(known, key=lambda m: place[id(m)]).model_digest if known else ""
        said = []
        for device_type in dict.fromkeys(m.device_type for m in own):
            here = [m for m in own if m.device_type == device_type]
            current = [m for m in here if m.model_digest in {newest, ""}]
            last = max(current, key=lambda m: place[id(m)]) if current else None
            files = [m for m in here if last is None or m.model_digest != last.model_digest]
            server = [
                m
                for m in current
                if last is not None
                and m.model_digest == last.model_digest
                and m.environment.triton != last.environment.triton
            ]
            kept |= {id(m) for m in here} - {id(m) for m in (*files, *server)}
            if files:
                said.append(f"{_rows(files)} on {device_type} of other model files")
            if server:
                servers = ", ".join(sorted({m.environment.triton or "unknown" for m in server}))
                said.append(f"{_rows(server)} on {device_type} of another server ({servers})")
        if said:
            notes[model] = (f"{model}: {' and '.join(said)} left out; the newest alone count.",)
    return UpToDate(
        tuple(m for m in rows if id(m) in kept),
        tuple(m for m in rows if id(m) not in kept),
        notes,
    )


def _rows(rows: list[Measurement]) -> str:
    dates = sorted(m.measured_at[:10] for m in rows if m.measured_at)
    since = f" (up to {dates[-1]})" if dates else ""
    return f"{len(rows)} measurement{'s' if len(rows) != 1 else ''}{since}"
