"""Co-location measurements from a verified device, for the store."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

from analyzer.deploy.drive import Seen, in_full, placed_load
from analyzer.deploy.run_layout import RunningServer
from placement.layout import PlacedDevice, Resident
from placement.problem.formulate import RESOURCES
from profiles.colocation import Colocation, Neighbour
from profiles.environment import Environment
from profiles.measurement import LoadPoint, Measurement
from profiles.variant import Variant


def colocations(
    server: RunningServer,
    device: PlacedDevice,
    seen: Seen,
    profile: Iterable[Measurement] = (),
) -> list[Colocation]:
    """A row per resident of a shared device; none for a model that is alone.

    What a resident uses alone is what the profile says of its variant and load, else what the
    layout does.
    """
    residents = [r for r in device.residents if r.share > 0 and r.rate > 0 and r.load]
    if len(residents) < 2:
        return []
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
            {
                name: use * seen.results[r.model].throughput / _solo(r)
                for name, use in uses[r.model].items()
            },
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
                wanted_throughput=_solo(r) if in_full(r) else r.rate,
                uses=uses[r.model],
                variant=r.variant,
                option=r.option,
                solo_latency_ms=r.latency_ms * r.kept if r.latency_ms else None,
                latency_ms=result.latency.percentile(r.percentile) if result.latency else None,
                percentile=r.percentile,
                failures=result.failures,
                environment=environment,
                warnings=tuple(doubt for doubt in doubts if doubt),
            )
        )
    return rows


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
    figures = {
        "utilization": found.usage.utilization_percent,
        "memory_utilization": found.usage.memory_utilization_percent,
        "power": found.usage.power_w,
        "cpu": found.host.cpu_cores if found.host else None,
    }
    return {name: float(use) for name, use in figures.items() if use is not None}
