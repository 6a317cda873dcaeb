"""The Tritons that a layout asks for: one per device, or one per host.

One Triton per device is the rule: a server then sees its own device alone, as GPU 0, and that is
how its models were profiled. With `per_host` a server sees all of its host's GPUs, numbered in the
order of the layout, and each instance group names those that the layout chose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from placement.export.companions import Companions, Entries, companions, entries_of
from placement.layout import Layout, PlacedDevice
from profiles import model_config, repository
from profiles.errors import InputError
from profiles.model_config import ModelConfig
from profiles.repository import ModelDirectory
from profiles.variant import AS_CONFIGURED, Variant, server_arguments

HTTP_PORT = 8000  # Triton's own defaults; the next server on a host is PORT_STEP above
PORT_STEP = 10

DeviceKind = Literal["gpu", "mig", "cpu"]


@dataclass(frozen=True)
class ServedModel:
    """A model of a server, with the configuration that it gets there."""

    name: str  # as the server knows it
    source: ModelDirectory
    config: ModelConfig
    origin: str  # why it is there, in words
    placed: str | None = None  # as the layout calls it; None for a step that came with its ensemble
    weight: float = 0.0  # inferences per second that the layout sends here; 0 when it says none
    uses: Companions = field(default_factory=Companions)  # beside its own directory


@dataclass(frozen=True)
class Server:
    """A Triton to run."""

    name: str  # fit for a directory, a container and a Kubernetes object
    devices: tuple[PlacedDevice, ...]
    kind: DeviceKind
    host: str | None
    device_ids: tuple[str, ...]  # numbers on their host, or UUIDs; empty on a CPU host
    http_port: int  # a suggestion: distinct among the servers of a host
    models: tuple[ServedModel, ...] = field(default=())
    extra_arguments: tuple[str, ...] = ()  # of tritonserver, for what the variants ask

    @property
    def grpc_port(self) -> int:
        """The next port, as Triton does it."""
        return self.http_port + 1

    @property
    def metrics_port(self) -> int:
        """The next but one."""
        return self.http_port + 2

    @property
    def names(self) -> dict[str, str]:
        """By a model's name in the layout, its name on the server."""
        return {model.placed: model.name for model in self.models if model.placed is not None}

    @property
    def shared_memory_mib(self) -> int:
        """Docker's default, and ten times the 1 MiB that each Python instance was seen to take."""
        instances = sum(
            max(1, sum(max(1, int(group.count)) for group in model.config.instance_group))
            for model in self.models
        )
        return 64 + 10 * instances * max(1, len(self.device_ids))

    def arguments(self, repository: str) -> list[str]:
        """How `tritonserver` is started on its repository: `apply` may load and unload later."""
        return [
            f"--model-repository={repository}",
            "--model-control-mode=explicit",
            *self.extra_arguments,
            *(f"--load-model={model.name}" for model in self.models),
        ]


def servers(
    layout: Layout,
    models: Path,
    *,
    per_host: bool = False,
    with_models: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Server, ...]:
    """The layout's servers in its order, each with its models' final configurations.

    `with_models` names, by model, those that its business logic calls, where the layout does not.

    Raises
    ------
    InputError
        A model is not in the repository, cannot be varied as the layout says, or two devices of
        one host want it in different variants although they share a server.
    """
    known = repository.model_names(models)
    entries = entries_of(models)
    made: list[Server] = []
    for group in _groups(layout, per_host):
        names = {_name(r.model, known): r.model for d in group for r in d.residents}
        server = _server(group, made, per_host)
        found: dict[str, ServedModel] = {}
        for name, placed in names.items():
            found[name] = _served(server, name, placed, models, known)
        variants = [r.variant for d in group for r in d.residents if r.variant is not None]
        told: dict[str, Sequence[str]] = {
            variant.model: [m.model for m in variant.members]
            for variant in variants
            if variant.members
        }
        told |= with_models or {}
        found = {n: _with_companions(model, known, told, entries) for n, model in found.items()}
        _add_members(server, found, models, known, variants, told, entries)
        made.append(
            replace(
                server,
                models=tuple(found[name] for name in sorted(found)),
                extra_arguments=_arguments(server, variants),
            )
        )
    return tuple(made)


def device_kind(device: PlacedDevice) -> DeviceKind:
    """What the device is, as its type's name tells: a CPU host's ends in its count of cores."""
    if re.search(r"\(\d+ cores?\)$", device.device_type):
        return "cpu"
    if " MIG " in f" {device.device_type} " or device.parent is not None:
        return "mig"
    kinds = {r.variant.kind for r in device.residents if r.variant is not None}
    return "cpu" if kinds == {"KIND_CPU"} else "gpu"


def hosts_of(made: Iterable[Server]) -> dict[str, tuple[tuple[Server, float], ...]]:
    """For each model the servers that host it, each with its weight (equal when there is none)."""
    found: dict[str, list[tuple[Server, float]]] = {}
    for server in made:
        for model in server.models:
            found.setdefault(model.name, []).append((server, model.weight))
    return {
        name: tuple((s, w if any(weight for _, weight in rows) else 1.0) for s, w in rows)
        for name, rows in sorted(found.items())
    }


def source_name(placed: str, known: Iterable[str]) -> str:
    """The repository's name of a model that a layout calls `bert`, or `bert#2` of several."""
    names = tuple(known)
    base, mark, number = placed.rpartition("#")
    name = base if mark and number.isdecimal() and placed not in names else placed
    return repository.select(names, [name])[0]


def _name(placed: str, known: tuple[str, ...]) -> str:
    """The name that a server gives it: independent copies of a model are told apart."""
    if source_name(placed, known) == placed:
        return placed
    name = placed.replace("#", "_")  # a `#` would end the path of a URL
    if name in known:
        raise InputError(f"{placed} would be served as {name}, which another model is called.")
    return name


def _groups(layout: Layout, per_host: bool) -> list[tuple[PlacedDevice, ...]]:
    used = [_measured(device, layout) for device in layout.devices if device.residents]
    if not per_host:
        return [(device,) for device in used]
    groups: dict[str, list[PlacedDevice]] = {}
    for device in used:
        if device.host is None:
            raise InputError(
                f"{device.name} names no host, so there is no telling which devices share a "
                "server: give it `host:` in the layout, or leave out --per-host."
            )
        if device_kind(device) == "mig":
            # CUDA: a process uses one MIG compute instance at most.
            raise InputError(
                f"{device.name} is a MIG slice, and a process uses only one: leave out --per-host."
            )
        groups.setdefault(device.host, []).append(device)
    return [tuple(group) for group in groups.values()]


def _measured(device: PlacedDevice, layout: Layout) -> PlacedDevice:
    """The device without uses of memory in units of its own: a hand-made problem may have them."""
    other = [n for n in ("memory", "host_memory") if layout.units.get(n, "bytes") != "bytes"]
    return replace(device, uses={k: use for k, use in device.uses.items() if k not in other})


def _server(group: tuple[PlacedDevice, ...], made: list[Server], per_host: bool) -> Server:
    first = group[0]
    kinds = {device_kind(device) for device in group}
    if len(kinds) > 1:
        raise InputError(
            f"host {first.host} has GPUs and is a CPU host, too: they need servers of their own; "
            "leave out --per-host."
        )
    kind = kinds.pop()
    neighbours = [s for s in made if s.host == first.host]
    taken = {s.name for s in made}
    wanted = slug(first.host if per_host and first.host else first.name)
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    port = HTTP_PORT + PORT_STEP * len(neighbours)
    ids = () if kind == "cpu" else _device_ids(group, neighbours)
    return Server(name, group, kind, first.host, ids, port)


def _device_ids(group: tuple[PlacedDevice, ...], neighbours: Iterable[Server]) -> tuple[str, ...]:
    """The devices' numbers on their host, in the order of the layout.

    A device that is named by its UUID (GPU-..., MIG-...) says itself which it is. A slice is
    `<GPU>:<slice>`, as NVIDIA's container runtime takes it.
    """
    before = [d for server in neighbours if server.kind != "cpu" for d in server.devices]
    ids = []
    for device in group:
        if re.match(r"(GPU|MIG)-[0-9a-f]{8}", device.name):
            ids.append(device.name)
        else:
            unit = device.parent or device.name
            units = list(dict.fromkeys(d.parent or d.name for d in (*before, device)))
            number = str(units.index(unit))
            if device.parent is not None:
                number += f":{sum(d.parent == unit for d in before)}"
            ids.append(number)
        before.append(device)
    return tuple(ids)


def slug(name: str) -> str:
    """A name in lower-case letters, digits and dashes, as containers and Kubernetes take it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-") or "device"


def _served(
    server: Server, name: str, placed: str, models: Path, known: tuple[str, ...]
) -> ServedModel:
    residents = [
        (index, resident)
        for index, device in enumerate(server.devices)
        for resident in device.residents
        if resident.model == placed
    ]
    chosen = residents[0][1].variant
    for index, resident in residents:
        if resident.variant != chosen:
            raise InputError(
                f"{placed} has one variant on {server.devices[residents[0][0]].name} and another "
                f"on {server.devices[index].name}: one server cannot hold both; leave out "
                "--per-host."
            )
    source = repository.read_model(models, source_name(placed, known))
    variant = replace(chosen or Variant(model=""), model=name)
    gpus = None if server.kind == "cpu" else [index for index, _ in residents]
    config = _configured(source, variant, gpus, alone=len(server.devices) == 1)
    devices = ", ".join(server.devices[index].name for index, _ in residents)
    origin = f"{name} for {devices}: {variant}"
    weight = sum(resident.rate for _, resident in residents)
    return ServedModel(name, source, config, origin, placed, weight)


def _configured(
    source: ModelDirectory, variant: Variant, gpus: list[int] | None, *, alone: bool
) -> ModelConfig:
    if source.config is not None:
        original = source.config
    else:  # the server completes what is missing here
        original = model_config.new(source.name)
        original.max_batch_size = variant.max_batch_size or 0
    if original.HasField("ensemble_scheduling"):
        gpus = None
    config = model_config.apply_variant(original, variant, gpus, alone=alone)
    if gpus is None:
        for group in config.instance_group:
            del group.gpus[:]  # a CPU host has none
    return config


def _arguments(server: Server, variants: Iterable[Variant]) -> tuple[str, ...]:
    try:
        return server_arguments(variants)
    except InputError as error:
        raise InputError(f"{server.name}: {error} Or keep the models apart in `rules`.") from None


def _add_members(
    server: Server,
    found: dict[str, ServedModel],
    models: Path,
    known: tuple[str, ...],
    variants: Iterable[Variant],
    told: Mapping[str, Sequence[str]],
    entries: Entries,
) -> None:
    """What the placed models are composed of and is not placed itself comes with them.

    That is an ensemble's steps, and what business logic calls from its code: members that a variant
    names, else those that are told or found. A member that its variant varies gets that
    configuration.
    """
    wanted: dict[str, tuple[str, Variant]] = {}  # by member: who calls it, and how it is to be
    for variant in variants:
        for member in variant.members:
            varied = str(member) != AS_CONFIGURED
            owner, before = wanted.get(member.model, (variant.model, member))
            if varied and str(before) != AS_CONFIGURED and before != member:
                raise InputError(
                    f"{server.name}: {owner} was measured with {member.model} as {before}, "
                    f"{variant.model} with it as {member}, and a server holds one of them: keep "
                    f"both apart in `rules`, or measure them alike."
                )
            if varied or member.model not in wanted:
                wanted[member.model] = (variant.model, member)
    queue = [(model, step) for model in found.values() for step in model_config.steps(model.config)]
    calls = [(owner, name) for name, (owner, _) in wanted.items()]
    for owner, name in calls:
        caller = next((m for m in found.values() if m.source.name == owner), None)
        if caller is not None:
            queue.append((caller, name))
    for model in found.values():
        queue += [(model, name) for name in (*told.get(model.source.name, ()), *model.uses.called)]
    while queue:
        caller, name = queue.pop()
        if name in found:
            _check_same(server, found[name], wanted.get(name))
            continue
        if name not in known:
            raise InputError(
                f"{caller.source.path}: it calls a model that is not there: "
                + repository.unknown_name("model", name, known)
            )
        source = repository.read_model(models, name)
        gpus = None if server.kind == "cpu" else list(range(len(server.devices)))
        variant = wanted[name][1] if name in wanted else Variant(model=name)
        config = _configured(source, variant, gpus, alone=len(server.devices) == 1)
        step = name in model_config.steps(caller.config)
        what = f"a step of {caller.name}" if step else f"called by {caller.name}"
        how = "" if str(variant) == AS_CONFIGURED else f": {variant}"
        found[name] = ServedModel(
            name, source, config, f"{name}: {what}{how}", weight=caller.weight
        )
        found[name] = _with_companions(found[name], known, told, entries)
        more = (*model_config.steps(config), *told.get(name, ()), *found[name].uses.called)
        queue += [(found[name], step) for step in more]


def _with_companions(
    model: ServedModel,
    known: tuple[str, ...],
    told: Mapping[str, Sequence[str]],
    entries: Entries,
) -> ServedModel:
    uses = companions(model.source, known, told=model.source.name in told, entries=entries)
    return replace(model, uses=uses)


def _check_same(server: Server, placed: ServedModel, wanted: tuple[str, Variant] | None) -> None:
    """A model that is placed itself and is also a member must be what both were measured with."""
    if wanted is None or placed.placed is None or str(wanted[1]) == AS_CONFIGURED:
        return
    config = placed.config
    if model_config.apply_variant(config, wanted[1]) != config:
        raise InputError(
            f"{server.name}: {placed.name} is placed there as {placed.origin.rpartition(': ')[2]}, "
            f"and {wanted[0]} was measured with it as {wanted[1]}: keep both apart in `rules`, or "
            "measure them alike."
        )


def memory_use_bytes(server: Server) -> float | None:
    """The RAM that the layout predicts for the server; None when it was not measured."""
    name = "memory" if server.kind == "cpu" else "host_memory"
    uses = [device.uses.get(name) for device in server.devices]
    known = [use for use in uses if use]
    return sum(known) if len(known) == len(uses) else None


def cpu_use(server: Server) -> float | None:
    """The cores that the layout predicts for the server; None when they were not measured."""
    known = [device.uses["cpu"] for device in server.devices if device.uses.get("cpu")]
    return round(sum(known), 3) if len(known) == len(server.devices) else None


def described(server: Server) -> Mapping[str, object]:
    """The server as the manifest tells it."""
    return {
        "name": server.name,
        "host": server.host,
        "devices": [device.name for device in server.devices],
        "device_type": server.devices[0].device_type,
        "kind": server.kind,
        "visible_devices": list(server.device_ids),
        "models": [model.name for model in server.models],
        "arguments": list(server.extra_arguments),
        "http_port": server.http_port,
        "grpc_port": server.grpc_port,
        "metrics_port": server.metrics_port,
    }
