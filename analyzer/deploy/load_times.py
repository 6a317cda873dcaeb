"""How long the steps of a plan will take, by what was measured of each variant's loading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from placement.layout import PlacedDevice
from placement.layout.diff import Step
from profiles.measurement import Measurement

KEYS = {"unload": ("unload_s",), "load": ("load_cold_s", "load_s"), "change": ("load_s",)}


def expected_s(
    steps: Sequence[Step], devices: Iterable[PlacedDevice], rows: Iterable[Measurement]
) -> list[float | None]:
    """Seconds of each step; None where its variant's loading was not measured on that type.

    A load is taken to read its files from the disk, a change to find them in the page cache.
    """
    types = {device.name: device.device_type for device in devices}
    known = {(m.variant, m.device_type): m.extra for m in rows if m.status == "ok"}
    found = []
    for step in steps:
        variant = step.resident.variant
        times = known.get((variant, types[step.device]), {}) if variant is not None else {}
        found.append(next((times[key] for key in KEYS[step.action] if key in times), None))
    return found
