"""From a problem to its Result: which method is used when, and the layout it ends in."""

from __future__ import annotations

import re
from collections import defaultdict
from math import ceil

from placement import assignment, check
from placement.assignment import Replica, usable
from placement.colocation import SHARES, scale, total, use
from placement.fleet import Unit, units
from placement.layout import Layout, PlacedDevice, Resident
from placement.problem import Model, PlacementProblem
from placement.result import Deadline, Result
from placement.validate import validate


def solve(
    problem: PlacementProblem,
    time_limit_s: float = 30.0,
    seed: int = 0,
    deadline: Deadline | None = None,
) -> Result:
    """The best placement found within the time limit, with its proof.

    The same problem and seed give the same answer, unless the time limit cuts the search short.
    Raises InputError when the problem contradicts itself.
    """
    validate(problem)
    deadline = deadline or Deadline(time_limit_s)
    scaled = scale(problem)
    fleet = units(problem, _wanted(problem))
    answer = assignment.search(problem, scaled, fleet, deadline, seed)
    layout = _layout(problem, fleet, answer.replicas) if answer.replicas else None
    if layout is not None:
        faults = check.violations(problem, layout)
        if faults:  # a fault of ours: better no answer than a wrong one
            raise AssertionError(f"The solver's layout does not hold: {'; '.join(faults)}")
    return Result(
        status=answer.status,  # type: ignore[arg-type]
        layout=layout,
        value=answer.value,
        bound=answer.bound,
        time_s=deadline.spent_s,
        method="CP-SAT",
        headroom=answer.headroom,
    )


def _wanted(problem: PlacementProblem) -> int:
    """As many devices of one pool as could ever be of use."""
    if problem.objective == "max-throughput":
        return max((pool.count or 0 for pool in problem.pools), default=0)
    rules = problem.rules
    # One for each replica; more for devices that rules name, since these are taken by number.
    named = [d for _, d in (*rules.pins, *rules.forbidden, *problem.current)]
    named += rules.excluded_devices
    numbers = [int(n) for name in named if (n := _device_number(name))]
    return sum(_replicas(model) for _, model in problem.copies()) + max(numbers, default=0)


def _device_number(name: str) -> str:
    match = re.search(r"-(\d+)(/.*)?$", name)
    return match[1] if match else ""


def _replicas(model: Model) -> int:
    best = min((o.throughput for _, o in usable(model) if o.throughput > 0), default=0.0)
    by_rate = ceil(model.rate / best) if model.rate and best else 1
    return max(model.min_replicas, by_rate)


def _layout(problem: PlacementProblem, fleet: list[Unit], replicas: tuple[Replica, ...]) -> Layout:
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
