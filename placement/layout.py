"""Which replica of which model, in which variant, on which device, and the predicted use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from profiles.measurement import LoadPoint
from profiles.variant import Variant

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Resident:
    """A replica of a model on a device."""

    model: str
    option: str
    share: float  # of the option's measured throughput that this replica is to carry, 0 to 1
    rate: float  # the same in inferences per second
    uses: Mapping[str, float]  # by resource, at that share
    latency_ms: float | None = None  # predicted, at the demanded percentile
    variant: Variant | None = None
    load: LoadPoint | None = None


@dataclass(frozen=True)
class PlacedDevice:
    """A device in use."""

    name: str
    device_type: str
    residents: tuple[Resident, ...]
    uses: Mapping[str, float]  # by resource, the server's baseline included
    capacity: Mapping[str, float]  # by resource, after rules
    host: str | None = None
    price: float = 1.0


@dataclass(frozen=True)
class Layout:
    """A placement; `save` and `load` keep it as YAML that a person can read and edit."""

    devices: tuple[PlacedDevice, ...]
    objective: str = "min-hardware"
    schema_version: int = SCHEMA_VERSION
    units: Mapping[str, str] = field(default_factory=dict)  # by resource
