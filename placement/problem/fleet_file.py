"""Fleet files: the devices that a placement may use.

- { device: Tesla T4, count: 4, price: 0.35, host: node-a }
- { device: NVIDIA A100-SXM4-40GB, count: 2, mig: true }
- { device: NVIDIA L4, name: lab, owned: true } # already there: costs nothing
- { device: my board, memory: 12GB, price: 0.2 } # a type that Model Placer does not know
- { device: Tesla T4, host: node-b, cpu: 8, host_memory: 32GB } # what each one's server may use of
  # its host; hosts may differ. Counted with `--limits memory,cpu,host_memory`
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from profiles.device import DeviceType, find_device, parse_bytes
from profiles.document import converter, read_yaml, structure
from profiles.errors import InputError
from profiles.mig import MigProfile, partitions
from profiles.model_name import unfit_for_path

# What no fleet could mean: figures beyond these are slips of the pen.
MOST_DEVICES = 1_000_000  # of a row
MOST_PRICE = 1e9
MOST_POWER_W = 1e6
MOST_CORES = 100_000


@dataclass(frozen=True)
class Device:
    """Equal devices of the fleet."""

    name: str
    device_type: DeviceType
    count: int | None = None  # None: as many as wanted
    price: float = 1.0
    host: str | None = None
    mig: tuple[MigProfile, ...] = ()  # slices that it may be cut into
    cpu_cores: float | None = None  # what each device's server may use of its host
    host_memory_bytes: int | None = None

    @property
    def partitions(self) -> tuple[tuple[str, ...], ...]:
        """The legal sets of slices, by profile name."""
        return partitions(self.mig)


@dataclass(frozen=True)
class FleetRow:
    """A row of a fleet file."""

    device: str
    count: int | None = None
    price: float | None = None
    host: str | None = None
    name: str | None = None
    owned: bool = False
    memory: str | int | float | None = None
    power: float | None = None
    kind: Literal["gpu", "mig", "cpu"] | None = None
    cores: int | None = None
    mig: bool = False
    cpu: float | None = None
    host_memory: str | int | float | None = None


_converter = converter()
_converter.register_structure_hook(str | int | float | None, lambda value, _: value)


def single(device: str, count: int | None = None, extra: tuple[DeviceType, ...] = ()) -> Device:
    """The fleet that `--device NAME --count N` means; `extra` types are known by name too."""
    kind = next((t for t in extra if t.name == device), None) or find_device(device)
    return Device("gpu" if kind.kind != "cpu" else "host", kind, count, kind.price_per_hour)


def load_fleet(path: Path, extra: tuple[DeviceType, ...] = ()) -> list[Device]:
    """The fleet in a YAML file; raises InputError that names the row and field at fault."""
    return read_fleet(read_yaml(path), str(path), extra)


def read_fleet(
    document: Any, source: str = "fleet", extra: tuple[DeviceType, ...] = ()
) -> list[Device]:
    """The fleet in a list of mappings."""
    if isinstance(document, dict) and set(document) == {"devices"}:
        document = document["devices"]
    if not isinstance(document, list) or not document:
        raise InputError(f"{source}: a list of devices such as `- device: Tesla T4` is expected.")
    devices: list[Device] = []
    for number, row in enumerate(document, start=1):
        where = f"{source} row {number}"
        if not isinstance(row, dict):
            raise InputError(f"{where}: a mapping such as `device: Tesla T4` is expected.")
        devices.append(_device(where, structure(_converter, row, FleetRow, where), extra))
    return _named(source, devices)


def _device(where: str, row: FleetRow, extra: tuple[DeviceType, ...]) -> Device:
    known = next((t for t in extra if t.name == row.device), None)
    memory = _bytes(where, "memory", row.memory)
    host_memory = _bytes(where, "host_memory", row.host_memory)
    for field, name in (("device", row.device), ("name", row.name), ("host", row.host)):
        _name(where, field, name, path=field != "device")
    for field, figure, most in (
        ("count", row.count, MOST_DEVICES),
        ("price", row.price, MOST_PRICE),
        ("power", row.power, MOST_POWER_W),
        ("cores", row.cores, MOST_CORES),
        ("cpu", row.cpu, MOST_CORES),
    ):
        if figure is not None and not figure >= 0:
            raise InputError(f"{where}: {field} must be at least 0, not {figure:g}.")
        if figure is not None and figure > most:
            raise InputError(f"{where}: {field} must be at most {most:,g}, not {figure:g}.")
    if known is None:
        try:
            known = find_device(row.device)
        except InputError as error:
            if memory is None:
                raise InputError(f"{where}: {error}") from None
            known = DeviceType(row.device, memory)
    kind = replace(
        known,
        memory_bytes=known.memory_bytes if memory is None else memory,
        kind=row.kind or known.kind,
        power_w=known.power_w if row.power is None else row.power,
        cores=known.cores if row.cores is None else row.cores,
    )
    price = known.price_per_hour if row.price is None else row.price
    if row.mig and not kind.mig:
        raise InputError(f"{where}: {row.device} has no MIG profiles that Model Placer knows.")
    count = row.count if row.count is not None else 1 if row.owned or row.name else None
    return Device(
        name=row.name or "",
        device_type=kind,
        count=count,
        price=0.0 if row.owned else price,
        host=row.host,
        mig=kind.mig if row.mig else (),
        cpu_cores=row.cpu,
        host_memory_bytes=host_memory,
    )


def _bytes(where: str, field: str, text: str | float | None) -> int | None:
    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise InputError(f"{where}: {field}: {error}.") from None


def _name(where: str, field: str, name: str | None, *, path: bool) -> None:
    """Device names become those of directories and of services; none leads out of one."""
    why = None if name is None else unfit_for_path(name if path else name.replace("/", "-"))
    if why is not None:
        raise InputError(f"{where}: {field}: {name!r} cannot be a name: {why}.")


def _named(source: str, devices: list[Device]) -> list[Device]:
    """Every row under a name: its own, else its host's, else one from the type's name."""
    given = [d.name for d in devices if d.name]
    for name, times in Counter(given).items():
        if times > 1:
            raise InputError(f"{source}: {times} rows have the name {name!r}.")
    kinds: dict[str, DeviceType] = {}
    named = []
    taken = set(given)
    for device in devices:
        kind = device.device_type
        if kinds.setdefault(kind.name, kind) != kind:
            raise InputError(f"{source}: two rows describe {kind.name!r} differently.")
        name = device.name
        if not name:
            stem = device.host or re.sub("[ /]", "-", kind.name.removeprefix("NVIDIA ").lower())
            name, number = stem, 1
            while name in taken:
                number += 1
                name = f"{stem}.{number}"
            taken.add(name)
        named.append(replace(device, name=name))
    return named
