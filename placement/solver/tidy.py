"""Small things about a layout that the search does not mind, put right where that holds.

The search counts devices, not replicas: on a device that is paid for anyway it may leave a replica
with no share at all, or with a small part that another one could carry. And its devices have the
numbers in which they were opened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

from placement.layout.replica import Replica
from placement.problem import Option, PlacementProblem
from placement.problem.colocation import use
from placement.problem.fleet import Places

DUST = 0.05  # of what the model carries in all
MOST = 400  # replicas, beyond which those that carry a little are left alone


def tidy(
    problem: PlacementProblem,
    replicas: tuple[Replica, ...],
    holds: Callable[[tuple[Replica, ...]], bool],
) -> tuple[Replica, ...]:
    """The replicas without idle ones, and with the least ones merged into others where that holds.

    Models that rules keep together, and replicas that a model must have, are left alone.
    """
    models = dict(problem.copies())
    bound = {name for group in problem.rules.together for name in group}
    kept = {(r.model, r.seat): r for r in replicas}
    seats: dict[str, list[str]] = defaultdict(list)
    for r in replicas:
        seats[r.model].append(r.seat)
    several = {name for name, mine in seats.items() if len(mine) > 1}
    at_seat = Counter(r.seat for r in replicas)
    rest = dict(kept)
    idle = 0
    for place in sorted(kept, key=lambda place: kept[place].share):
        name, seat = place
        if name not in several:
            continue
        model, small = models[name], rest[place]
        others = [(name, other) for other in seats[name] if other != seat and (name, other) in rest]
        alone = at_seat[seat] < 2
        if len(others) < max(1, model.min_replicas) or {name, model.name} & bound or alone:
            continue
        if small.share <= 0:
            del rest[place]
            at_seat[seat] -= 1
            idle += 1
            continue
        if idle and not holds(tuple(rest.values())):
            return replicas
        idle = 0
        carried = sum(
            models[name].options[r.k].throughput * r.share
            for r in (kept[name, other] for other in seats[name])
        )
        amount = model.options[small.k].throughput * small.share
        if amount > DUST * carried or len(replicas) > MOST or not model.rate:
            continue
        for other in others:
            throughput = model.options[rest[other].k].throughput
            share = rest[other].share + amount / throughput if throughput else 2.0
            merged = {**rest, other: replace(rest[other], share=share)}
            del merged[place]
            if share <= 1 and holds(tuple(merged.values())):
                rest = merged
                at_seat[seat] -= 1
                break
    if idle and not holds(tuple(rest.values())):
        return replicas
    return tuple(rest.values())


def tightest(problem: PlacementProblem, replicas: tuple[Replica, ...]) -> tuple[Replica, ...]:
    """Each replica by the piece of its option's curve that lies lowest at the share it carries."""
    models = dict(problem.copies())
    if not any(option.standing for model in problem.models for option in model.options):
        return replicas

    def piece(r: Replica) -> Replica:
        options = models[r.model].options
        mine = options[r.k]
        same = [
            k
            for k, o in enumerate(options)
            if replace(o, name=mine.name, needs=mine.needs, standing=mine.standing) == mine
        ]
        return replace(r, k=min(same, key=lambda k: (_used(problem, options[k], r.share), k)))

    return tuple(piece(r) for r in replicas)


def _used(problem: PlacementProblem, option: Option, share: float) -> float:
    """What it uses of all that scales: where one piece lies lowest, it does so for each."""
    return sum(use(resource, option, share) for resource in problem.resources if resource.scales)


def renumber(problem: PlacementProblem, replicas: tuple[Replica, ...]) -> tuple[Replica, ...]:
    """The replicas on the first devices of each pool, those that rules name left alone."""
    rules = problem.rules
    named = {d for _, d in (*rules.pins, *rules.forbidden, *problem.current)}
    named |= set(rules.excluded_devices)
    named |= {d.split("/", 1)[0] for d in named}
    places = Places(problem)
    found = {r.seat: place for r in replicas if (place := places.find(r.seat)) is not None}
    used: dict[str, set[str]] = defaultdict(set)
    order: dict[str, tuple[int, int, str]] = {}
    for place in found.values():
        used[place.pool.name].add(place.gpu)
        order[place.gpu] = place.order
    new: dict[str, str] = {}
    for pool in problem.pools:
        number = 0
        for gpu in sorted(used[pool.name], key=lambda gpu: order[gpu]):
            if gpu in named or pool.count == 1:
                new[gpu] = gpu
                continue
            number += 1
            while f"{pool.name}-{number}" in named:
                number += 1
            new[gpu] = f"{pool.name}-{number}"
    return tuple(
        replace(r, seat=new[found[r.seat].gpu] + r.seat[len(found[r.seat].gpu) :]) for r in replicas
    )
