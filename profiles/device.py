"""Device types: what a GPU, a MIG slice or a CPU host offers, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DeviceType:
    """A kind of device. A CPU host is one too: memory is its RAM, utilization its cores."""

    name: str  # as NVML says it, such as "Tesla T4"; CPU hosts: the CPU's model name and cores
    memory_bytes: int
    kind: Literal["gpu", "mig", "cpu"] = "gpu"
    price_per_hour: float = 1.0  # any currency; the user may override it
    power_w: float | None = None  # the board's limit
    cores: int | None = None  # CPU hosts only
