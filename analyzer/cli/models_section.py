"""Reads the configuration file's `models:` section: settings per model.

models:
  bert:                      # measured as the options say
  pipeline:
    concurrency: [1, 8, 16]  # in place of --concurrency
    shapes: {IMAGE: [3, 224, 224]}
    members:
      detector: {instance_counts: [1, 2]}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analyzer.cli import values
from analyzer.cli.command import nearest
from analyzer.measure.grid import Sweep
from profiles.errors import InputError

Reader = Callable[[Any], Any]

CONFIGURATION: dict[str, Reader] = {  # of a model, so of a member, too
    "instance_counts": values.values_of(values.count),
    "max_batch_sizes": values.values_of(values.count),
    "max_queue_delays_us": values.values_of(values.whole),
    "preferred_batch_sizes": values.values_of(values.count),
    "kind": values.one_of(*values.KINDS),
    "parameters": values.parameters,
    "rate_limiters": values.each(values.rate_limiter),
    "warm_ups": values.values_of(values.whole),
    "host_policies": values.each(values.host_policy),
}
LOAD: dict[str, Reader] = {
    "batch_sizes": values.values_of(values.count),
    "concurrency": values.values_of(values.count),
    "request_rates": values.values_of(values.rate),
    "arrivals": values.one_of("constant", "poisson"),
    "sequence_length": values.count,
}
NEVER_EMPTY = {"batch_sizes", "concurrency"}
OTHERS = ("members", "shapes", "input_data", "random_ranges")


@dataclass(frozen=True)
class ModelEntry:
    """Settings of one model; the command's options hold for what it leaves out."""

    sweep: Mapping[str, Any]  # fields of Sweep
    shapes: Mapping[str, tuple[int, ...]]
    input_data: str | None
    ranges: Mapping[str, tuple[float, float]]  # of random data
    with_models: tuple[str, ...]  # members by name: an ensemble's are known without

    def changed(self, sweep: Sweep) -> Sweep:
        """The sweep, with the settings of this entry."""
        return replace(sweep, **self.sweep)


def read(section: Mapping[Any, Any], file: Path) -> dict[str, ModelEntry]:
    """The entries by model; raises InputError that names file, field and remedy."""
    return {str(name): _entry(value, f"{file}: models: {name}") for name, value in section.items()}


def _entry(value: Any, where: str) -> ModelEntry:
    given = _fields(value, where, (*CONFIGURATION, *LOAD, *OTHERS))
    members = _members(given.get("members"), f"{where}: members")
    sweep = _read(given, {**CONFIGURATION, **LOAD}, where)
    if members:
        sweep["members"] = tuple(members.items())
    shapes = _value(
        lambda shapes: values.mapping(shapes or {}, "{IMAGE: [3, 224, 224]}"),
        given.get("shapes"),
        f"{where}: shapes",
    )
    ranges = _value(
        lambda ranges: values.mapping(ranges or {}, "{request_output_len: [64, 512]}"),
        given.get("random_ranges"),
        f"{where}: random_ranges",
    )
    data = given.get("input_data")
    return ModelEntry(
        sweep,
        {n: _value(values.dims, dims, f"{where}: shapes: {n}") for n, dims in shapes.items()},
        None if data is None else _value(values.text, data, f"{where}: input_data"),
        {n: _value(values.limits, w, f"{where}: random_ranges: {n}") for n, w in ranges.items()},
        tuple(members),
    )


def _members(value: Any, where: str) -> dict[str, Sweep]:
    if isinstance(value, list):
        value = dict.fromkeys(value)
    if not isinstance(value, Mapping | None):
        raise InputError(f"{where}: expected names, or a mapping {{detector: {{...}}}}.")
    members = {}
    for name, fields in (value or {}).items():
        place = f"{where}: {name}"
        given = _fields(fields, place, tuple(CONFIGURATION))
        members[str(name)] = Sweep(**_read(given, CONFIGURATION, place))
    return members


def _fields(value: Any, where: str, known: tuple[str, ...]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: expected a mapping, e.g. {{batch_sizes: [1, 2]}}.")
    given = {str(key).replace("-", "_"): one for key, one in value.items()}
    for key in given:
        if key not in known:
            hint = nearest(key, known) or f" Known fields: {', '.join(known)}."
            raise InputError(f"{where}: unknown field {key!r}.{hint}")
    return given


def _read(given: Mapping[str, Any], readers: Mapping[str, Reader], where: str) -> dict[str, Any]:
    found = {
        name: _value(readers[name], value, f"{where}: {name}")
        for name, value in given.items()
        if name in readers
    }
    for name in NEVER_EMPTY & found.keys():
        if not found[name]:
            raise InputError(f"{where}: {name}: expected at least one value, e.g. [1].")
    return found


def _value(reader: Reader, value: Any, where: str) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise InputError(f"{where}: {error}.") from None
