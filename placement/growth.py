"""A first layout for most throughput: how far can every model grow at once?

A growth factor f asks for a rate of f times each model's reference. Whether the fleet carries it is
a least-hardware question, answered by the quick constructions; f is found by bisection.
"""

from __future__ import annotations

from dataclasses import replace

from placement import filling
from placement.aggregate import melt
from placement.assignment import Replica, reference, usable
from placement.colocation import COVER, SHARES, Scale, cover
from placement.fleet import Unit
from placement.heuristics import construct
from placement.problem import PlacementProblem
from placement.result import Deadline

PROBES = 8
LEAST = 1e-3  # of a factor: about standing by
SLACKS = (1.0, 0.97, 0.93)


def grow(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    bound: float,
    deadline: Deadline,
    seed: int = 0,
) -> tuple[Replica, ...] | None:
    """Replicas with the greatest factor that was reached; None when even standing by fails."""
    high = bound if problem.fairness == "max-min" else 1.0
    best = None
    low = 0.0
    for probe in range(PROBES):
        factor = high if probe == 0 else (low + high) / 2
        if deadline.left_s <= 0:
            break
        found = _carry(problem, scale, fleet, max(factor, LEAST), deadline, seed)
        if found is not None:
            best, low = found, factor
            if probe == 0:
                break
        else:
            high = factor
    if best is None:
        best = _carry(problem, scale, fleet, LEAST, deadline, seed)
    return best


def _carry(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    factor: float,
    deadline: Deadline,
    seed: int,
) -> tuple[Replica, ...] | None:
    asked = replace(
        problem,
        objective="min-hardware",
        models=tuple(
            replace(model, rate=reference(model) * factor) if reference(model) else model
            for model in problem.models
        ),
        move_price=0.0,
    )
    filled = _filled(asked, scale, fleet, Deadline(deadline.left_s * 0.1), seed)
    if filled is not None:
        return filled
    found = construct(asked, scale, fleet, Deadline(deadline.left_s * 0.1), seed)
    for slack in SLACKS:
        if found is not None or deadline.left_s <= 0:
            break
        shrunk = replace(
            asked,
            types=tuple(
                replace(kind, capacity={n: c * slack for n, c in kind.capacity.items()})
                for kind in asked.types
            ),
        )
        melted = melt(shrunk, scale, fleet, Deadline(deadline.left_s * 0.1))
        if melted is None:
            return None
        found = construct(asked, scale, fleet, Deadline(deadline.left_s * 0.1), seed, melted.plan)
    return found


def _filled(
    asked: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline, seed: int
) -> tuple[Replica, ...] | None:
    """One replica of each model, with the share that its rate takes, filled into equal devices."""
    shares: dict[tuple[str, int], int] = {}
    models = []
    scaled = [resource.name for resource in asked.resources if resource.scales]
    for name, model in asked.copies():
        options = []
        for k, option in usable(model):
            part = cover(option.throughput, model.rate) if model.rate else COVER
            share = -(-COVER * SHARES // part) if part else SHARES + 1
            if share > SHARES:
                continue
            shares[name, k] = share
            needs = {
                resource: need * share / SHARES if resource in scaled else need
                for resource, need in option.needs.items()
            }
            options.append(replace(option, name=str(k), needs=needs, latency_ms=None))
        if not options:
            return None
        models.append(
            replace(model, name=name, count=1, options=tuple(options), rate=None,
                    latency_limit_ms=None)
        )  # fmt: skip
    plain = replace(asked, models=tuple(models))
    if not filling.applies(plain, fleet):
        return None
    filled = filling.fill(plain, scale, fleet, deadline, seed)
    if filled is None or filled.replicas is None:
        return None
    by_name = {model.name: model for model in models}
    chosen = [(r, int(by_name[r.model].options[r.k].name)) for r in filled.replicas]
    return tuple(Replica(r.model, k, r.seat, shares[r.model, k]) for r, k in chosen)
