"""From replicas on seats to a layout, with the use of every resource that it predicts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from placement.layout.layout import Layout, PlacedDevice, Resident
from placement.layout.replica import Replica
from placement.problem import Option, PlacementProblem
from placement.problem.colocation import kept, total, use
from placement.problem.fleet import Places
from placement.problem.slowdown import Runner, reached

ROUNDING = 1e-9  # of a capacity, by which a full device may seem overfull


def build_layout(problem: PlacementProblem, replicas: Iterable[Replica]) -> Layout:
    """The replicas on their devices, with the use that each predicts."""
    models = dict(problem.copies())
    kinds = {kind.name: kind for kind in problem.types}
    places = Places(problem)
    here: dict[str, list[Replica]] = defaultdict(list)
    for replica in replicas:
        here[replica.seat].append(replica)
    found = {seat: place for seat in here if (place := places.find(seat)) is not None}
    rank = {name: number for number, name in enumerate(models)}
    devices = []
    for seat in sorted(found, key=lambda seat: found[seat].order):
        place = found[seat]
        residents = []
        sitting = sorted(here[seat], key=lambda replica: rank[replica.model])
        options = [models[r.model].options[r.k] for r in sitting]
        shares = [r.share for r in sitting]
        # What each reaches beside the others; its share where no slowdown is known.
        flexible = problem.objective == "max-throughput"
        paced = [flexible or bool(models[r.model].rate) for r in sitting]
        carried = list(zip(options, _reached(options, shares, paced), strict=True))
        for number, replica in enumerate(sitting):
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
                    load_part=option.load_part,
                )
            )
        kind = kinds[place.device_type]
        devices.append(
            PlacedDevice(
                name=seat,
                device_type=place.device_type,
                residents=tuple(residents),
                uses={
                    r.name: total(r, kind.baseline.get(r.name, 0.0), carried)
                    for r in problem.resources
                },
                capacity=dict(kind.capacity),
                host=place.pool.host,
                price=place.pool.price,
                parent=None if place.gpu == seat else place.gpu,
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
    least = min(
        (
            1 - device.uses[name] / limit
            for device in layout.devices
            for name, limit in device.capacity.items()
            if limit > 0 and name in device.uses
        ),
        default=1.0,
    )
    return 0.0 if -ROUNDING < least < 0 else least
