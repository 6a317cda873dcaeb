"""Which replica of which model, in which variant, on which device, and the predicted use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from profiles import output_file
from profiles.document import check_schema_version, converter, parse_yaml, read_text, structure
from profiles.errors import InputError
from profiles.json_schema import link
from profiles.measurement import LoadPoint
from profiles.model_name import check_model_name
from profiles.variant import Variant

SCHEMA_VERSION = 1
HEADER = (
    "# A placement by Model Placer. Edit it by hand if you like: `verify` and `export`\n"
    "# read it. `uses` and `capacity` are predictions and limits, by resource.\n"
)

LARGEST = 1e18  # of any figure, as bytes: what no device has
MOST_REQUESTS = 2**31 - 1  # of a load: as many as Triton counts in a batch

_converter = converter()


@dataclass(frozen=True)
class Resident:
    """A replica of a model on a device."""

    model: str
    option: str
    share: float = 1.0  # of the option's measured throughput that this replica carries, 0 to 1
    rate: float = 0.0  # the same in inferences per second
    uses: Mapping[str, float] = field(default_factory=dict)  # by resource, at that share
    latency_ms: float | None = None  # predicted in full load, at the demanded percentile
    variant: Variant | None = None
    load: LoadPoint | None = None
    latency_limit_ms: float | None = None  # demanded
    percentile: int = 99  # of latency, of which `latency_ms` and its limit speak
    kept: float = 1.0  # part of its option's throughput that its neighbours leave it at most;
    # where that is less than `share`, `rate` and `uses` are those of so much
    load_part: float | None = None  # its option's throughput, as a part of that at `load`: below 1
    # it is driven at a rate; None: its use was measured at that load alone


@dataclass(frozen=True)
class PlacedDevice:
    """A device in use."""

    name: str
    device_type: str
    residents: tuple[Resident, ...]
    uses: Mapping[str, float] = field(default_factory=dict)  # the server's baseline included
    capacity: Mapping[str, float] = field(default_factory=dict)  # by resource, after rules
    host: str | None = None
    price: float = 1.0
    parent: str | None = None  # a MIG slice's GPU; its price is paid once for all its slices


@dataclass(frozen=True)
class Layout:
    """A placement; `save` and `load` keep it as YAML that a person can read and edit."""

    devices: tuple[PlacedDevice, ...]
    objective: str = "min-hardware"
    schema_version: int = SCHEMA_VERSION
    units: Mapping[str, str] = field(default_factory=dict)  # by resource

    @property
    def price(self) -> float:
        """What the devices in use cost; the slices of one GPU pay it once."""
        return sum({d.parent or d.name: d.price for d in self.devices}.values())

    @property
    def gpu_count(self) -> int:
        """Physical devices in use: the slices of one GPU count as one."""
        return len({d.parent or d.name for d in self.devices})

    def rates(self) -> dict[str, float]:
        """Inferences per second that each model's replicas carry together."""
        totals: dict[str, float] = {}
        for device in self.devices:
            for resident in device.residents:
                totals[resident.model] = totals.get(resident.model, 0.0) + resident.rate
        return totals


def with_limit(layout: Layout, resource: str, factor: float) -> Layout:
    """The layout with that many times its limit on a resource, where it has one."""

    def device(each: PlacedDevice) -> PlacedDevice:
        limit = each.capacity.get(resource)
        if limit is None or factor == 1:
            return each
        return replace(each, capacity={**each.capacity, resource: limit * factor})

    return replace(layout, devices=tuple(map(device, layout.devices)))


def document(layout: Layout) -> dict[str, Any]:
    """The layout as plain lists, mappings and scalars, as it is saved."""
    plain: dict[str, Any] = _converter.unstructure(layout)
    return {"schema_version": layout.schema_version, "objective": layout.objective} | plain


def dumps(layout: Layout) -> str:
    """The layout as YAML."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # ten times as fast
    text: str = yaml.dump(
        document(layout), Dumper=dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return HEADER + text


def loads(text: str, source: str = "layout") -> Layout:
    """The layout in a YAML text; raises InputError that names the line or the field at fault."""
    raw = parse_yaml(text, source)
    if not isinstance(raw, dict) or "devices" not in raw:
        raise InputError(f"{source}: is not a layout: it has no `devices`.")
    check_schema_version(raw, SCHEMA_VERSION, source)
    layout = structure(_converter, raw, Layout, source)
    _check(layout, source)
    return layout


def save(layout: Layout, path: Path) -> None:
    """Write the layout as YAML, whole or not at all; raises InputError."""
    output_file.write_text(path, link("layout") + dumps(layout))


def load(path: Path) -> Layout:
    """The layout in a YAML file; raises InputError when it is missing or broken."""
    return loads(read_text(path, "place -o FILE"), str(path))


def _check(layout: Layout, source: str) -> None:
    names = set()
    for row, device in enumerate(layout.devices):
        where = f"{source}: devices[{row}] ({device.name})"
        if device.name in names:
            raise InputError(f"{where}: another device has this name.")
        names.add(device.name)
        models = set()
        for number, resident in enumerate(device.residents):
            at = f"{where}.residents[{number}] ({resident.model})"
            check_model_name(resident.model, f"{where}.residents[{number}].model")
            if resident.model in models:
                raise InputError(f"{at}: the device holds this model twice; one server cannot.")
            models.add(resident.model)
            if not 0 <= resident.share <= 1 + 1e-9:
                raise InputError(f"{at}.share: must lie between 0 and 1, not {resident.share:g}.")
            if not 0 <= resident.kept <= 1 + 1e-9:
                raise InputError(f"{at}.kept: must lie between 0 and 1, not {resident.kept:g}.")
            _check_figures(f"{at}.", {"rate": resident.rate, **_latencies(resident)})
            _check_figures(f"{at}.uses.", resident.uses)
            if resident.load is not None:
                _check_load(f"{at}.load", resident.load)
        _check_figures(f"{where}.uses.", device.uses)
        _check_figures(f"{where}.capacity.", device.capacity)
        _check_figures(f"{where}.", {"price": device.price})


def _latencies(resident: Resident) -> dict[str, float]:
    known = {
        "latency_ms": resident.latency_ms,
        "latency_limit_ms": resident.latency_limit_ms,
    }
    return {name: figure for name, figure in known.items() if figure is not None}


def _check_figures(where: str, figures: Mapping[str, float]) -> None:
    for name, figure in figures.items():
        if not 0 <= figure <= LARGEST:  # NaN is not
            raise InputError(f"{where}{name}: must lie between 0 and {LARGEST:g}, not {figure:g}.")


def _check_load(where: str, load: LoadPoint) -> None:
    if (load.concurrency is None) == (load.request_rate is None):
        raise InputError(f"{where}: needs either concurrency or request_rate.")
    whole = {"batch_size": load.batch_size, "concurrency": load.concurrency}
    for name, number in (*whole.items(), ("sequence_length", load.sequence_length)):
        if number is not None and not 1 <= number <= MOST_REQUESTS:
            raise InputError(f"{where}.{name}: must lie between 1 and {MOST_REQUESTS}: {number}.")
    if load.request_rate is not None and not 0 < load.request_rate <= MOST_REQUESTS:
        raise InputError(
            f"{where}.request_rate: must lie above 0 and be at most {MOST_REQUESTS}, "
            f"not {load.request_rate:g}."
        )
