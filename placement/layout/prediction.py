"""From replicas on seats to a layout, with the use of every resource that it predicts."""

from __future__ import annotations

from collections import defaultdict

from placement.layout import Layout, PlacedDevice, Resident
from placement.problem import Option, PlacementProblem
from placement.problem.colocation import SHARES, kept, total, use
from placement.problem.fleet import Unit
from placement.problem.slowdown import Runner, reached
from placement.solver.assignment import Replica


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
            options = [models[r.model].options[r.k] for r in here[seat.name]]
            shares = [r.share / SHARES for r in here[seat.name]]
            # What each reaches beside the others; its share where no slowdown is known.
            paced = [
                problem.objective == "max-throughput" or bool(models[r.model].rate)
                for r in here[seat.name]
            ]
            carried = list(zip(options, _reached(options, shares, paced), strict=True))
            for number, replica in enumerate(here[seat.name]):
                option, part = carried[number]
                left = kept(option, carried[:number] + carried[number + 1 :])
                left = part if part < shares[number] else max(part, left)
                latency_ms = option.latency_ms
                residents.append(
                    Resident(
                        model=replica.model,
                        option=option.name,
                        share=shares[number],
                        rate=option.throughput * part,
                        uses={r.name: use(r, option, part) for r in problem.resources},
                        latency_ms=latency_ms / left if latency_ms and left else latency_ms,
                        variant=option.variant,
                        load=option.load,
                        latency_limit_ms=models[replica.model].latency_limit_ms,
                        percentile=models[replica.model].percentile,
                        kept=left,
                    )
                )
            kind = kinds[seat.device_type]
            devices.append(
                PlacedDevice(
                    name=seat.name,
                    device_type=seat.device_type,
                    residents=tuple(residents),
                    uses={
                        r.name: total(r, kind.baseline.get(r.name, 0.0), carried)
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


def _reached(options: list[Option], shares: list[float], paced: list[bool]) -> list[float]:
    """The shares that replicas reach beside each other; paced ones carry a demanded rate."""
    if not any(option.sensitivity for option in options):
        return shares
    return reached(
        [
            Runner(share, option.busy, option.sensitivity, paced=rated)
            for option, share, rated in zip(options, shares, paced, strict=True)
        ]
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
