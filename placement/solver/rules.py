"""The rules, and the moves from where models run now, as constraints of the compact model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from placement.problem import Model, PlacementProblem
from placement.problem.fleet import Unit, means


def allowed(problem: PlacementProblem, name: str, model: Model, unit: Unit, seat: Any) -> bool:
    """Whether the rules let the model onto the seat."""
    names = {name, model.name}
    pins = [device for rule, device in problem.rules.pins if rule in names]
    if pins and not any(means(unit, seat, device) for device in pins):
        return False
    return not any(
        rule in names and means(unit, seat, device) for rule, device in problem.rules.forbidden
    )


def constrain(
    cp: Any,
    problem: PlacementProblem,
    fleet: list[Unit],
    x: Mapping[tuple[str, int, str], Any],
    of_model: Mapping[str, list[tuple[str, int, str]]],
) -> None:
    """Add the rules that speak of several models or replicas."""
    rules = problem.rules
    names: dict[str, list[str]] = defaultdict(list)
    for name, model in problem.copies():
        names[model.name].append(name)
        if name != model.name:
            names[name].append(name)

    def here(name: str) -> dict[str, Any]:
        sums: dict[str, Any] = defaultdict(int)
        for key in of_model[name]:
            sums[key[2]] += x[key]
        return sums

    for group in rules.apart:
        members = [here(name) for rule in group for name in names[rule]]
        for unit in fleet:
            for seat in unit.seats:
                present = [m[seat.name] for m in members if seat.name in m]
                if len(present) > 1:
                    cp.add(sum(present) <= 1)
    for group in rules.together:
        members = [here(name) for rule in group for name in names[rule]]
        for unit in fleet:
            for seat in unit.seats:
                for other in members[1:]:
                    cp.add(members[0].get(seat.name, 0) == other.get(seat.name, 0))
    for rule in rules.spread:
        for name in names[rule]:
            present_at = here(name)
            hosts: dict[str, Any] = defaultdict(int)
            for unit in fleet:
                for seat in unit.seats:
                    if seat.name in present_at:
                        hosts[unit.host] += present_at[seat.name]
            for present in hosts.values():
                cp.add(present <= 1)


def moves(cp: Any, problem: PlacementProblem, x: Mapping[tuple[str, int, str], Any]) -> Any:
    """The number of moves, held to the limit."""
    running = {model for model, _ in problem.current}
    moved = [
        var
        for (name, _, seat), var in x.items()
        if name in running and (name, seat) not in problem.current
    ]
    if problem.max_moves is not None and moved:
        cp.add(sum(moved) <= problem.max_moves)
    return sum(moved) if moved else 0
