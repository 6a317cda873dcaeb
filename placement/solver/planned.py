"""Replicas that are planned, put on devices: a packing that stops when the fleet suffices.

A plan says with which options and shares each model runs. A replica may swap its option for another
that carries as much; which option it has and where it goes is a packing, which the packing engine
answers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil, lcm

from placement.problem import PlacementProblem
from placement.problem.colocation import SHARES, Scale
from placement.problem.fleet import Unit
from placement.problem.options import worthwhile
from placement.solver.assignment import Replica
from placement.solver.heuristics import Plan
from placement.solver.packing import BinType, Choice, ItemType, PackingInstance, solve_packing
from placement.solver.result import Deadline

SLOTTED = 0.9  # replicas of a lot of divided models, per device, at most
HAIR = 2  # shares

_Group = tuple[str, Fraction]  # device type and price of equal devices


def applies(problem: PlacementProblem) -> bool:
    """Whether nothing but what they need and carry decides where replicas go."""
    rules = problem.rules
    return (
        bool(problem.models)
        and problem.max_moves is None
        and problem.max_devices is None
        and not any((rules.pins, rules.forbidden, rules.apart, rules.together, rules.spread))
        and not any(pool.partitions for pool in problem.pools)
        and all(model.min_replicas <= 1 for model in problem.models)
    )


def alone(problem: PlacementProblem) -> Plan | None:
    """One replica for each model, by an option that carries its rate; None if one has no such."""
    plan = {}
    for name, model in problem.copies():
        for k, option in worthwhile(problem, model):
            share = ceil(SHARES * (model.rate or option.throughput) / option.throughput)
            if share <= SHARES:
                plan[name] = ((k, share),)
                break
        else:
            return None
    return plan


def settle(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    plan: Plan,
    deadline: Deadline,
    seed: int = 0,
    *,
    merged: bool = False,
    cheapest: bool = False,
) -> tuple[Replica, ...] | None:
    """The plan's replicas on the fleet; None when no packing of them was found in time.

    Any packing that the fleet has room for, or the `cheapest` that is found before the deadline.
    Replicas of a model go on distinct devices. `merged`: they may meet, which is easier to pack;
    of two on one device one is left, with the share of both if it can.
    """
    groups: dict[_Group, list[Unit]] = defaultdict(list)
    for unit in fleet:
        price = Fraction(repr(float(unit.pool.price))) if cheapest else Fraction(1)
        groups[unit.pool.device_type, price].append(unit)
    slots = {} if merged else _slots(plan, len(fleet))
    lots = max(slots.values(), default=-1) + 1
    items, replicas_of = _items(problem, scale, groups, plan, slots, lots)
    denominator = lcm(*(price.denominator for _, price in groups))
    rooms = {kind.name: scale.room(kind) for kind in problem.types}
    everything = [
        1 + sum(max((c.needs[r] for c in item.options), default=0) * item.count for item in items)
        for r in range(len(scale.resources))
    ]
    bins = tuple(
        BinType(
            tuple(
                everything[r] if limit is None else max(0, limit) * SHARES
                for r, limit in enumerate(rooms[kind])
            )
            + (1,) * lots,
            int(price * denominator),
            # Where devices are equal the engine may pass through packings that take too many.
            None if len(groups) == 1 else len(units),
        )
        for (kind, price), units in groups.items()
    )
    until = deadline.part(1.0)

    def watch(price: int | None, bound: int) -> None:
        if (price is not None and price <= len(fleet)) or bound > len(fleet):
            until.stop()

    instance = PackingInstance(items, bins)
    found = solve_packing(instance, until, seed, None if cheapest else watch).bins
    if found is None or len(found) > len(fleet):
        return None
    free = [iter(units) for units in groups.values()]
    settled: dict[tuple[str, str], Replica] = {}
    for packing in found:
        seat = next(free[packing.bin]).seats[0].name
        for item, option in packing.contents:
            replica = replicas_of[item][option]
            share = replica.share
            other = settled.get((replica.model, seat))
            if other is not None:
                if other.k != replica.k and other.share >= share:
                    continue
                share = min(SHARES, share + (other.share if other.k == replica.k else 0))
            settled[replica.model, seat] = replace(replica, seat=seat, share=share)
    replicas = tuple(settled.values())
    flexible = problem.objective == "max-throughput"
    return replicas if flexible or _carry_all(problem, replicas) else None


def _carry_all(problem: PlacementProblem, replicas: Iterable[Replica]) -> bool:
    """Whether every model carries its rate."""
    models = dict(problem.copies())
    amounts: dict[str, float] = defaultdict(float)
    for replica in replicas:
        throughput = models[replica.model].options[replica.k].throughput
        amounts[replica.model] += throughput * replica.share / SHARES
    return all(amounts[name] >= (model.rate or 0.0) * (1 - 1e-10) for name, model in models.items())


def _items(
    problem: PlacementProblem,
    scale: Scale,
    groups: Iterable[_Group],
    plan: Plan,
    slots: Mapping[str, int],
    lots: int,
) -> tuple[tuple[ItemType, ...], list[list[Replica]]]:
    """The plan's replicas as items; for each choice of an item the replica, without its seat."""
    pieces = Counter((name, k, share) for name in plan for k, share in plan[name])
    models = dict(problem.copies())
    items, replicas_of = [], []
    for (name, planned, planned_share), count in pieces.items():
        model = models[name]
        carried = model.options[planned].throughput * planned_share
        choices, replicas = [], []
        for k, option in worthwhile(problem, model):
            share = SHARES + 1
            if k == planned:
                # The plan was made in floats: a hair more makes up for what they lost.
                share = min(SHARES, planned_share + HAIR) if model.rate else planned_share
            elif option.throughput > 0:
                share = int(carried / option.throughput) + 1
            if share > SHARES:
                continue
            needs = (
                *(
                    need * (share if resource.scales else SHARES)
                    for need, resource in zip(scale.needs(option), scale.resources, strict=True)
                ),
                *(int(slots.get(name) == lot) for lot in range(lots)),
            )
            for number, (kind, _) in enumerate(groups):
                if kind == option.device_type:
                    choices.append(Choice(number, needs))
                    replicas.append(Replica(name, k, "", share))
        items.append(ItemType(tuple(choices), count))
        replicas_of.append(replicas)
    return tuple(items), replicas_of


def _slots(plan: Plan, devices: int) -> dict[str, int]:
    """A lot for each divided model; a device takes one replica of each lot.

    So no two replicas of a model meet. A lot has fewer replicas than there are devices.
    """
    lots: list[int] = []
    found = {}
    for name in sorted(plan, key=lambda name: (-len(plan[name]), name)):
        count = len(plan[name])
        if count < 2:
            break
        lot = next((i for i, n in enumerate(lots) if n + count <= devices * SLOTTED), len(lots))
        if lot == len(lots):
            lots.append(0)
        lots[lot] += count
        found[name] = lot
    return found
