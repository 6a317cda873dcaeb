"""What the devices of a fleet offer: the problem's types.

Devices of one type differ in what their host gives to each (`cpu`, `host_memory` of a fleet's row).
The problem has a type for each such offer then, named after the first row that makes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from placement.problem import PoolType, Resource
from placement.problem.fleet_file import Device
from placement.problem.uses import device_uses
from profiles.measurement import Baseline


@dataclass(frozen=True)
class OfferedTypes:
    """The problem's types: of a device type as many as there are different offers of it."""

    types: Mapping[str, PoolType]
    by_device_type: Mapping[str, tuple[str, ...]]  # names of types
    of_pool: Mapping[tuple[str, str], str]  # by pool and device type: the name of the type


def offered_types(
    fleet: Iterable[Device],
    server: Mapping[str, Baseline],
    resources: tuple[Resource, ...],
    at_most: Mapping[str, float],
) -> OfferedTypes:
    """The types of a fleet.

    Parameters
    ----------
    server
        By device type, Triton alone on it.
    resources
        What is limited; devices that differ in nothing of it are of one type.
    at_most
        By resource, the part of a device's capacity that may be used, 0 to 1.
    """
    offers: dict[str, dict[tuple[tuple[str, float], ...], list[str]]] = defaultdict(dict)
    for device in fleet:
        for name, offer in _offers(device).items():
            limited = tuple((r.name, o) for r in resources if (o := offer.get(r.name)) is not None)
            offers[name].setdefault(limited, []).append(device.name)
    types: dict[str, PoolType] = {}
    by_device_type: dict[str, tuple[str, ...]] = {}
    of_pool: dict[tuple[str, str], str] = {}
    for real, different in offers.items():
        for limited, pools in different.items():
            name = real if len(different) == 1 else f"{real} as in {pools[0]}"
            charged = _charged(server.get(real))
            types[name] = PoolType(
                name,
                {resource: _part(o, at_most.get(resource, 1.0)) for resource, o in limited},
                {r.name: float(c) for r in resources if (c := charged.get(r.name)) is not None},
                {resource: float(o) for resource, o in limited},
            )
            by_device_type[real] = (*by_device_type.get(real, ()), name)
            of_pool |= {(pool, real): name for pool in pools}
    return OfferedTypes(types, by_device_type, of_pool)


def _offers(device: Device) -> dict[str, dict[str, float | None]]:
    """By device type, the device's own and its slices', what one of them offers.

    A slice's server has the part of the host that its slice is of the GPU's memory: all slices
    together then have no more than the device.
    """
    kind = device.device_type
    found: dict[str, dict[str, float | None]] = {
        kind.name: {
            "memory": kind.memory_bytes,
            "utilization": 100.0,
            "memory_utilization": None if kind.kind == "cpu" else 100.0,
            "power": kind.power_w,
            "cpu": device.cpu_cores,
            "host_memory": device.host_memory_bytes,
        }
    }
    whole = max((start + mig.size for mig in device.mig for start in mig.starts), default=1)
    for mig in device.mig:
        part = mig.size / whole
        found[kind.slice_name(mig.profile)] = {
            "memory": mig.memory_bytes,
            "utilization": 100.0,
            "memory_utilization": 100.0,
            "cpu": None if device.cpu_cores is None else device.cpu_cores * part,
            "host_memory": None
            if device.host_memory_bytes is None
            else int(device.host_memory_bytes * part),
        }
    return found


def _charged(baseline: Baseline | None) -> dict[str, float | None]:
    """What a server takes of a device, by resource."""
    if baseline is None:
        return {}
    return {
        "memory": baseline.memory_bytes,
        **device_uses(baseline),
        "cpu": baseline.host.cpu_cores if baseline.host else None,
        "host_memory": baseline.host.memory_bytes if baseline.host else None,
    }


def _part(amount: float, part: float) -> float:
    """`amount` times `part`, in decimals: 90 % of 100 is 90."""
    return float(Fraction(repr(float(amount))) * Fraction(repr(float(part))))
