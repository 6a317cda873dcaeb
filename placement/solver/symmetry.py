"""The order of equal devices: of the layouts that differ in nothing else the search sees one.

Devices of one pool that no rule names are equal. Each is in use if the next one is, and holds at
least as much of the first resource that does not scale.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from placement.problem import PlacementProblem
from placement.problem.colocation import Scale
from placement.problem.fleet import Unit, is_singled_out

if TYPE_CHECKING:
    from placement.solver.assignment import Replica
    from placement.solver.compact import Key


def constrain(
    cp: Any,
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    used: list[Any],
    on_seat: Mapping[str, list[tuple[Key, tuple[int, ...]]]],
    x: Mapping[Key, Any],
) -> None:
    """Ask for the order in a model where `used` are the units', `x` the replicas' variables."""
    hard = _hard(scale)
    for run in _runs(problem, fleet):
        for a, b in pairwise(run):
            cp.add(used[a] >= used[b])
            if hard is not None and len(fleet[a].seats) == 1:
                cp.add(
                    sum(needs[hard] * x[key] for key, needs in on_seat[fleet[a].seats[0].name])
                    >= sum(needs[hard] * x[key] for key, needs in on_seat[fleet[b].seats[0].name])
                )


def in_order(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], replicas: Iterable[Replica]
) -> tuple[Replica, ...]:
    """The same layout with equal devices in that order: what sits on them changes seats."""
    on: dict[str, list[Replica]] = defaultdict(list)
    for replica in replicas:
        on[replica.seat].append(replica)
    models = dict(problem.copies())
    hard = _hard(scale)

    def fullness(unit: Unit) -> tuple[bool, int]:
        here = [replica for seat in unit.seats for replica in on[seat.name]]
        if hard is None or len(unit.seats) > 1:
            return bool(here), 0
        return bool(here), sum(scale.needs(models[r.model].options[r.k])[hard] for r in here)

    ordered = []
    for run in _runs(problem, fleet):
        places = [fleet[n] for n in run]
        for place, unit in zip(places, sorted(places, key=fullness, reverse=True), strict=True):
            for there, seat in zip(place.seats, unit.seats, strict=True):
                ordered += [replace(replica, seat=there.name) for replica in on[seat.name]]
    return tuple(ordered)


def _runs(problem: PlacementProblem, fleet: list[Unit]) -> list[list[int]]:
    """Each unit's place in the fleet, equal ones that follow each other together."""

    def pool(place: int) -> tuple[str, int]:
        unit = fleet[place]
        return unit.pool.name, place if is_singled_out(problem, unit) else -1

    return [list(run) for _, run in groupby(range(len(fleet)), pool)]


def _hard(scale: Scale) -> int | None:
    """The first resource that does not scale."""
    return next((r for r, resource in enumerate(scale.resources) if not resource.scales), None)
