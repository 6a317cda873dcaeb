"""Co-location measurements from a verified device, for the store."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

from analyzer.deploy.drive import Seen, by_chance, in_full, placed_load
from analyzer.deploy.run_layout import RunningServer
from placement.layout import PlacedDevice, Resident
from placement.problem import Option
from placement.problem.formulate import RESOURCES
from placement.problem.part_load import Part, curves
from placement.problem.uses import device_uses
from profiles.colocation import Colocation, Neighbour
from profiles.environment import Environment
from profiles.measurement import LoadPoint, Measurement
from profiles.part_load import Loads, loads
from profiles.variant import Variant


def colocations(
    server: RunningServer,
    device: PlacedDevice,
    seen: Seen,
    profile: Iterable[Measurement] = (),
    server_uses: Mapping[str, float] | None = None,
) -> list[Colocation]:
    """A row per resident of a shared device; none for a model that is alone.

    What a resident uses alone is what the profile says of its variant and load, at part load by the
    curve that was measured, else what the layout does. `server_uses`: what the server takes of the
    device by itself, by resource; by default as the layout has it.
    """
    residents = [r for r in device.residents if r.share > 0 and r.rate > 0 and r.load]
    if len(residents) < 2:
        return []
    profile = list(profile)
    known = loads(m for m in profile if m.device_type == device.device_type)
    measured = {
        (m.variant, m.load): m
        for m in profile
        if m.device_type == device.device_type and m.status == "ok"
    }
    run = uuid.uuid4().hex
    environment = (
        server.sampler.environment(server.description)
        if server.sampler
        else Environment(triton=server.description)
    )
    uses = {r.model: _uses(r, measured) for r in residents}
    beside = {
        r.model: Neighbour(
            r.model,
            seen.results[r.model].throughput,
            _at(
                seen.results[r.model].throughput / _solo(r),
                uses[r.model],
                measured.get((r.variant, r.load)) if r.variant and r.load else None,
                known,
            ),
        )
        for r in residents
    }
    rows = []
    for r in residents:
        result = seen.results[r.model]
        doubts = (result.client_limited, result.drift)
        rows.append(
            Colocation(
                run=run,
                model=r.model,
                device_type=device.device_type,
                load=placed_load(r),
                solo_throughput=_solo(r),
                throughput=result.throughput,
                neighbours=tuple(beside[n.model] for n in residents if n is not r),
                wanted_throughput=_asked(r, result.throughput, seen.duration_s),
                uses=uses[r.model],
                variant=r.variant,
                option=r.option,
                solo_latency_ms=r.latency_ms * r.kept if r.latency_ms else None,
                latency_ms=result.latency.percentile(r.percentile) if result.latency else None,
                percentile=r.percentile,
                failures=result.failures,
                device_uses=_device_uses(device, seen, server_uses),
                environment=environment,
                warnings=tuple(doubt for doubt in doubts if doubt),
            )
        )
    return rows


def _asked(resident: Resident, reached: float, duration_s: float) -> float:
    """What was asked of it: of requests at random, as many as came where all were answered."""
    if in_full(resident):
        return _solo(resident)
    all_that_came = reached >= resident.rate * (1 - by_chance(resident, duration_s))
    return min(resident.rate, reached) if all_that_came else resident.rate


def _at(
    share: float, uses: Mapping[str, float], full: Measurement | None, known: Loads
) -> dict[str, float]:
    """What a model uses alone at a share of its full load; by its curve, where there is one."""
    parts = [
        Part(
            m.throughput / full.throughput, {n: u for n, u in _figures(m).items() if u is not None}
        )
        for m in (known.at_part(full) if full else ())
        if full
    ]
    if not parts or share >= 1:
        return {name: use * share for name, use in uses.items()}
    curve = curves(Option("", "", uses), parts, uses)
    return {name: curve.need(name, share) for name in uses}


def _device_uses(
    device: PlacedDevice, seen: Seen, server_uses: Mapping[str, float] | None
) -> dict[str, float]:
    """What was measured of the whole device, less the server's own."""
    if seen.figures is None:
        return {}
    if server_uses is None:
        server_uses = {
            name: use - sum(r.uses.get(name, 0.0) for r in device.residents)
            for name, use in device.uses.items()
        }
    return {
        name: max(0.0, use - max(0.0, server_uses.get(name, 0.0)))
        for name, use in device_uses(seen.figures).items()
        if use is not None
    }


def _figures(m: Measurement) -> dict[str, float | None]:
    """What a model uses of each resource that scales."""
    return {**device_uses(m.usage), "cpu": m.host.cpu_cores if m.host else None}


def _solo(resident: Resident) -> float:
    return resident.rate / _part(resident)


def _part(resident: Resident) -> float:
    """What it carries, as a part of the throughput at its load."""
    return min(resident.share, resident.kept) * (resident.load_part or 1.0)


def _uses(
    resident: Resident, measured: Mapping[tuple[Variant, LoadPoint], Measurement]
) -> dict[str, float]:
    """By resource that scales, at the option's full throughput."""
    found = (
        measured.get((resident.variant, resident.load))
        if resident.variant and resident.load
        else None
    )
    if found is None or found.usage is None:
        return {
            name: use / _part(resident)
            for name, use in resident.uses.items()
            if name in RESOURCES and RESOURCES[name].scales
        }
    return {name: float(use) for name, use in _figures(found).items() if use is not None}
