"""What was used of the resources of a device that scale with load, by the resources' names."""

from __future__ import annotations

from typing import Protocol


class DeviceUse(Protocol):
    """Anything that was measured of a device: a model's usage, a baseline, a run's figures."""

    @property
    def utilization_percent(self) -> float | None: ...
    @property
    def memory_utilization_percent(self) -> float | None: ...
    @property
    def power_w(self) -> float | None: ...


def device_uses(seen: DeviceUse | None) -> dict[str, float | None]:
    """Percent, percent and watts; None of what is not known."""
    return {
        "utilization": seen.utilization_percent if seen else None,
        "memory_utilization": seen.memory_utilization_percent if seen else None,
        "power": seen.power_w if seen else None,
    }
