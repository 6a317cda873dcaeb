"""From replicas on seats to a layout, with the use of every resource that it predicts."""

from __future__ import annotations

from collections import defaultdict

from placement.assignment import Replica
from placement.colocation import SHARES, total, use
from placement.fleet import Unit
from placement.layout import Layout, PlacedDevice, Resident
from placement.problem import PlacementProblem


def build_layout(
    problem: PlacementProblem, fleet: list[Unit], replicas: tuple[Replica, ...]
) -> Layout:
    """The replicas on their devices, with the use that each predicts."""
    models = dict(problem.copies())
    kinds = {kind.name: kind for kind in problem.types}
    here: dict[str, list[Replica]] = defaultdict(list)
    for replica in replicas:
        here[replica.seat].append(replica)
    devices = []
    for unit in fleet:
        for seat in unit.seats:
            if seat.name not in here:
                continue
            residents = []
            for replica in here[seat.name]:
                option = models[replica.model].options[replica.k]
                share = replica.share / SHARES
                residents.append(
                    Resident(
                        model=replica.model,
                        option=option.name,
                        share=share,
                        rate=option.throughput * share,
                        uses={r.name: use(r, option, share) for r in problem.resources},
                        latency_ms=option.latency_ms,
                        variant=option.variant,
                        load=option.load,
                        latency_limit_ms=models[replica.model].latency_limit_ms,
                        percentile=models[replica.model].percentile,
                    )
                )
            kind = kinds[seat.device_type]
            shares = [(models[r.model].options[r.k], r.share / SHARES) for r in here[seat.name]]
            devices.append(
                PlacedDevice(
                    name=seat.name,
                    device_type=seat.device_type,
                    residents=tuple(residents),
                    uses={
                        r.name: total(r, kind.baseline.get(r.name, 0.0), shares)
                        for r in problem.resources
                    },
                    capacity=dict(kind.capacity),
                    host=unit.pool.host,
                    price=unit.pool.price,
                    parent=None if seat.slice_number is None else unit.name,
                )
            )
    return Layout(
        tuple(devices), problem.objective, units={r.name: r.unit for r in problem.resources}
    )


def headroom(layout: Layout) -> float:
    """The least free part of the capacity of any device in use, over all resources."""
    return min(
        (
            1 - device.uses[name] / limit
            for device in layout.devices
            for name, limit in device.capacity.items()
            if limit > 0 and name in device.uses
        ),
        default=1.0,
    )
