"""From measurements, a fleet and demands to a placement problem."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from placement.problem import (
    Model,
    Option,
    PlacementProblem,
    Pool,
    PoolType,
    Resource,
    stream_limits,
)
from placement.problem.demands import Demand, Demands
from placement.problem.fleet_file import Device
from placement.problem.neighbour_cost import USE, NeighbourCost, beside
from placement.problem.offers import OfferedTypes, offered_types
from placement.problem.part_load import Part, curves, pieces
from placement.problem.slowdown import SlowdownModel
from placement.problem.uses import device_uses
from profiles.errors import InputError, NoAnswerError
from profiles.measurement import Baseline, Measurement
from profiles.mig import largest
from profiles.part_load import fell_short, loads
from profiles.percentile import requests_needed
from profiles.up_to_date import up_to_date

RESOURCES = {
    "memory": Resource("memory", scales=False, unit="bytes"),
    "utilization": Resource("utilization"),
    "memory_utilization": Resource("memory_utilization"),
    "power": Resource("power", unit="W"),
    "cpu": Resource("cpu", unit="cores"),
    "host_memory": Resource("host_memory", scales=False, unit="bytes"),
}
NAMED = 5  # models in a note
DEFAULT_LIMITS = ("memory", "utilization", "memory_utilization")


@dataclass(frozen=True)
class Formulation:
    """A problem, and what of the profile was left out of it, in words."""

    problem: PlacementProblem
    notes: tuple[str, ...] = ()
    missed: Mapping[str, str] = field(default_factory=dict)  # by model: why it has no option
    device_types: Mapping[str, str] = field(default_factory=dict)  # by type of the problem: the
    # device type as NVML and the user know it; others where hosts offer such devices differently


def formulate(
    measurements: Iterable[Measurement],
    baselines: Iterable[Baseline],
    fleet: Iterable[Device],
    demands: Demands | None = None,
    limits: Iterable[str] = DEFAULT_LIMITS,
    at_most: Mapping[str, float] | None = None,
    objective: Literal["min-hardware", "max-throughput"] = "min-hardware",
    fairness: Literal["sum", "max-min"] = "sum",
    models: Iterable[str] | None = None,
    slowdown: SlowdownModel | None = None,
    neighbour_costs: Mapping[tuple[str, str], NeighbourCost] | None = None,
) -> Formulation:
    """The problem of placing every measured model on the fleet.

    Parameters
    ----------
    limits
        The resources that limit what shares a device.
    at_most
        By resource, the part of a device's capacity that may be used, 0 to 1.
    models
        The models to place; all that were measured when not given.
    slowdown
        What is known of models that share a device; none is assumed when not given.
    neighbour_costs
        By model and device type, how much more an inference takes of it beside neighbours; nothing
        more when not given.

    Raises InputError when a name is unknown, NoAnswerError when a model was never measured with
    success on any device type of the fleet or meets its latency limit in no measured option.
    """
    demands = demands or Demands()
    fleet, limits = list(fleet), tuple(limits)
    resources = tuple(RESOURCES[_known("resource", name, RESOURCES)] for name in limits)
    every = list(measurements)
    measured = sorted({m.model for m in every})
    if not measured:
        raise InputError("The store has no measurements: run `model-placer profile` first.")
    current = up_to_date(every)
    within = _within(current.rows, {*(models or ()), *demands.models})
    wanted = [m for m in measured if m not in within] if models is None else list(models)
    for name in (*wanted, *demands.models):
        _known("model", name, measured)
    by_model: dict[str, list[Measurement]] = defaultdict(list)
    for m in current.rows:
        by_model[m.model].append(m)
    older = {m.model: m for m in current.older}
    server = {b.device_type: b for b in baselines}  # the newest is the last
    known = offered_types(fleet, server, resources, at_most or {})
    on = {m.device_type for m in current.rows}
    notes = [
        f"{kind}: no baseline was measured; the server itself is counted as nothing."
        for kind in known.by_device_type
        if kind not in server and kind in on
    ]
    notes += [note for name in wanted for note in current.notes.get(name, ())]
    if models is None:
        notes += [
            f"{name} is placed within {owner}; --models or a demand that names it places it by "
            "itself, too."
            for name, owner in within.items()
        ]
    kinds = known.types
    notes += _idle_limits(resources, kinds.values(), at_most or {})
    # A CPU host, say, has no GPU memory bandwidth: what no device has limits nothing.
    resources = tuple(r for r in resources if any(r.name in k.capacity for k in kinds.values()))
    if not resources:
        raise InputError(
            f"No device of the fleet has a known limit on {_listed(limits)}: nothing would limit "
            "what shares a device. Name other --limits, such as memory, or a fleet file that tells."
        )
    missed: dict[str, str] = {}
    placed = []
    for name in wanted:
        demand = demands.models.get(name, Demand())
        options = _options(
            stream_limits.within(by_model[name], demand),
            known,
            resources,
            demand,
            notes,
            slowdown or SlowdownModel(),
            neighbour_costs or {},
            at_a_rate=demand.rate is not None or objective == "max-throughput",
        )
        if not options:
            missed[name] = stream_limits.why_none(name, by_model[name], demand) or _why_not(
                name, by_model[name], older.get(name), known
            )
        placed.append(
            Model(
                name=name,
                options=tuple(options),
                rate=demand.rate,
                latency_limit_ms=demand.latency_limit_ms,
                percentile=demand.percentile,
                min_replicas=demand.replicas,
                weight=demand.weight,
            )
        )
    if missed:
        raise NoAnswerError("\n".join(missed.values()))
    notes += _proportional(placed, objective)
    used = {o.device_type for m in placed for o in m.options}
    problem = PlacementProblem(
        models=tuple(placed),
        types=tuple(kinds.values()),
        pools=tuple(_pool(device, used, known) for device in fleet),
        resources=resources,
        rules=demands.rules,
        objective=objective,
        fairness=fairness,
    )
    named = {kind: real for real, kinds in known.by_device_type.items() for kind in kinds}
    return Formulation(problem, tuple(dict.fromkeys(notes)), device_types=named)


def _idle_limits(
    resources: Iterable[Resource], kinds: Iterable[PoolType], at_most: Mapping[str, float]
) -> Iterator[str]:
    """Notes on limits that were asked for and hold for nothing."""
    named = [r.name for r in resources]
    capacities = {name for kind in kinds for name in kind.capacity}
    for name in named:
        if name not in capacities and (name not in DEFAULT_LIMITS or at_most.get(name, 1) < 1):
            yield f"{name} limits nothing: no device of the fleet tells how much of it it has."
    for name, part in at_most.items():
        if part < 1 and name not in named:
            option = name.replace("_", "-")
            yield (
                f"--max-{option} limits nothing, as {name} is not among the limits: "
                f"--limits {','.join((*named, name))}."
            )


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _proportional(models: Iterable[Model], objective: str) -> Iterator[str]:
    """A note on models that may run at part load, of which nothing but full load is known."""
    names = [
        model.name
        for model in models
        if (model.rate is not None or objective == "max-throughput")
        and any(option.load_part is None for option in model.options)
    ]
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield (
            f"{', '.join(names[:NAMED])}{more}: at a part of its load a model is taken to use its "
            "device in proportion, and to answer as late as in full. "
            "`profile --part-load auto` measures both."
        )


def _within(rows: Iterable[Measurement], asked: set[str]) -> dict[str, str]:
    """By model that others are composed of, and that is not asked for: one of these others."""
    return {
        member.model: m.model
        for m in rows
        if m.status == "ok"
        for member in m.variant.members
        if member.model not in asked
    }


def _known(what: str, name: str, names: Iterable[str]) -> str:
    names = list(names)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"Unknown {what} {name!r}. Known {what}s: {', '.join(names)}.{hint}")
    return name


def _options(
    rows: list[Measurement],
    known: OfferedTypes,
    resources: tuple[Resource, ...],
    demand: Demand,
    notes: list[str],
    slowdown: SlowdownModel,
    neighbour_costs: Mapping[tuple[str, str], NeighbourCost],
    *,
    at_a_rate: bool,
) -> list[Option]:
    options: list[Option] = []
    notes += _unknown_latencies(rows, known, demand)
    told = loads(rows)
    notes += _short(rows)
    scaled = [resource.name for resource in resources if resource.scales]
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for m in told.full:
        kinds = [known.types[name] for name in known.by_device_type.get(m.device_type, ())]
        if not kinds or m.status != "ok" or m.usage is None or m.throughput <= 0:
            continue
        figures = _figures(m)
        needs = {}
        for resource in resources:
            figure = figures[resource.name]
            if figure is not None:
                needs[resource.name] = float(figure)
            elif any(resource.name in kind.capacity for kind in kinds):
                notes.append(
                    f"{m.model} on {m.device_type}: {resource.name} was not measured; "
                    "it is counted as nothing."
                )
        name = f"{m.variant} {m.load}"
        taken[name, m.device_type] += 1
        times = taken[name, m.device_type]
        parts = [
            Part(
                part.throughput / m.throughput,
                {n: float(f) for n, f in _figures(part).items() if f is not None},
                _latency_ms(part, demand),
            )
            for part in told.at_part(m)
        ]
        plain = [
            Option(
                name=name if times == 1 else f"{name} ({times})",
                device_type=kind.name,
                needs=needs,
                throughput=m.throughput,
                latency_ms=_latency_ms(m, demand),
                variant=m.variant,
                load=m.load,
                busy=(m.usage.utilization_percent or 0.0) / 100
                if slowdown.knows(m.device_type)
                else 0.0,
                sensitivity=slowdown.sensitivity(m.model, m.device_type),
            )
            for kind in kinds
        ]
        cost = neighbour_costs.get((m.model, m.device_type))
        for option, kind in zip(plain, kinds, strict=True):
            limit = kind.capacity.get(USE)
            curve = curves(option, parts if at_a_rate else (), scaled)
            if cost is not None and cost.g > 0 and limit is not None:
                curve = beside(curve, cost.g, limit - kind.baseline.get(USE, 0.0))
            elif not at_a_rate or not parts:
                options.append(option)
                continue
            if not at_a_rate:
                full = {USE: curve.needs[USE][-1]} if USE in option.needs else {}
                options.append(replace(option, needs={**option.needs, **full}))
                continue
            made = pieces(option, curve, demand.latency_limit_ms)
            options += made if parts else [replace(piece, load_part=None) for piece in made]
    return options


def _figures(m: Measurement) -> dict[str, float | None]:
    """What was used of each resource."""
    return {
        "memory": m.usage.memory_hot_bytes if m.usage else None,
        **device_uses(m.usage),
        "cpu": m.host.cpu_cores if m.host else None,
        "host_memory": m.host.memory_bytes if m.host else None,
    }


def _latency_ms(m: Measurement, demand: Demand) -> float | None:
    """At the demanded percentile; its upper confidence limit where a limit is held against it."""
    if demand.latency_limit_ms is not None:
        return m.latency_surely_ms(demand.percentile)
    return m.latency.percentile(demand.percentile) if m.latency else None


def _short(rows: Iterable[Measurement]) -> Iterator[str]:
    """Notes on points at part load that carried less than they were sent."""
    for m in rows:
        if m.status == "ok" and m.load.arrivals == "poisson" and fell_short(m):
            yield (
                f"{m.model} carried {m.throughput:.4g} inferences/s at {m.load}: the point is left "
                "out. Measure it again on a quiet machine (`profile --part-load --remeasure`)."
            )


def _unknown_latencies(
    rows: list[Measurement], known: OfferedTypes, demand: Demand
) -> Iterator[str]:
    """A note on measurements that are too short to know the percentile of a latency limit."""
    if demand.latency_limit_ms is None:
        return
    mine = [
        m
        for m in rows
        if m.status == "ok" and m.latency is not None and m.device_type in known.by_device_type
    ]
    short = [m for m in mine if m.latency_surely_ms(demand.percentile) is None]
    if short:
        most, needed = max(m.requests for m in short), requests_needed(demand.percentile)
        dependent = "" if most < needed else ", which depend on one another"
        yield (
            f"{short[0].model}: p{demand.percentile} latency is unknown in {len(short)} of "
            f"{len(mine)} measurements, which are left out since they may break its limit: "
            f"it takes {needed} independent requests, they have {most} at most{dependent}. "
            f"`profile --latency-percentile {demand.percentile} --remeasure` takes as many."
        )


def _why_not(
    name: str, rows: list[Measurement], older: Measurement | None, known: OfferedTypes
) -> str:
    measured = sorted({m.device_type for m in rows if m.status == "ok" and m.usage})
    if not measured and any(m.status == "ok" for m in rows):
        return (
            f"{name} was measured without the memory that it needs: the table that it was imported "
            "from has none, or its Triton's processes could not be seen. Import a table with "
            "memory_mb, or profile it on a Triton that is started for it (--launch-mode local)."
        )
    if not measured:
        reasons = [m.reason.partition("\n")[0] for m in rows if m.reason]
        why = f": {reasons[-1]}" if reasons else "."
        if older is not None:
            return (
                f"{name} was never measured with success as it is now{why} Older measurements are "
                "of other model files or another server."
            )
        return f"{name} was never measured with success{why}"
    types = ", ".join(known.by_device_type)
    stale = (
        f" Measurements on {older.device_type} are of other model files or another server."
        if older is not None and older.device_type in known.by_device_type
        else ""
    )
    return (
        f"{name} was measured on {', '.join(measured)}, but on no device type of the fleet "
        f"({types}).{stale} Profile it there, or name a fleet of what was measured."
    )


def _pool(device: Device, used: set[str], known: OfferedTypes) -> Pool:
    """The device as a pool; partitions keep only slices that some model was measured on."""
    kind = device.device_type
    sets = [
        tuple(
            s
            for profile in partition
            if (s := known.of_pool[device.name, kind.slice_name(profile)]) in used
        )
        for partition in device.partitions
    ]
    return Pool(
        name=device.name,
        device_type=known.of_pool[device.name, kind.name],
        count=device.count,
        price=device.price,
        host=device.host,
        partitions=largest(sets),
    )
