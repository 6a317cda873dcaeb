"""What a measurement was taken on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Environment:
    """Figures may be compared when these are equal."""

    triton: str = ""  # server version, or image with digest
    cpu: str = ""  # model name and number of usable cores
    device_uuid: str = ""  # NVML's; empty on a CPU host
    driver: str = ""
    clocks: str = ""
    generator: str = ""  # load generator and its version
