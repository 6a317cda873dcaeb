"""The layout that runs now, as one of the problem's: its options and shares found anew.

The current layout says which model runs on which device, not in which option or with which share.
These are chosen by the program of `refill.py`, one for each set of devices that models connect;
shares that carry every rate exactly are found by `shares.py`.
"""

from __future__ import annotations

import random
from collections import defaultdict

from placement.layout import Layout
from placement.layout.replica import Replica
from placement.problem import PlacementProblem
from placement.problem.fleet import Places
from placement.solver.incumbent import Incumbent, open_named
from placement.solver.insertion import insert
from placement.solver.refill import put_chosen, refill
from placement.solver.result import Deadline
from placement.solver.shares import settle

LEAST_S = 0.05
WHOLE = 60  # items up to which devices that models connect are asked for in one program
NEAR = 3  # devices of a neighbourhood
LOCAL_S = 0.4  # for one
UNMET = 1e-7  # of a rate: less is settled by exact shares
PATIENCE = 12  # neighbourhoods without success, for each item that lacks something


def replicas_of(problem: PlacementProblem, layout: Layout) -> tuple[Replica, ...]:
    """The layout's replicas of models that the problem has, in options that it has."""
    models = dict(problem.copies())
    places = Places(problem)
    found = []
    for device in layout.devices:
        place = places.find(device.name)
        for resident in device.residents if place is not None else ():
            model = models.get(resident.model)
            for k, option in enumerate(model.options if model is not None else ()):
                if (option.name, option.device_type) == (resident.option, place.device_type):  # type: ignore[union-attr]
                    found.append(Replica(resident.model, k, device.name, resident.share))
    return tuple(found)


def stay(incumbent: Incumbent, deadline: Deadline) -> None:
    """Put what runs now where it runs, as far as that holds; the rest is left unmet."""
    seats: dict[str, int] = {}
    instance = incumbent.instance
    for item in instance.items:
        for device in sorted(item.current):
            if device not in seats:
                d = open_named(incumbent, device)
                if d is not None:
                    seats[device] = d
    where = {
        i: [seats[device] for device in sorted(item.current) if device in seats]
        for i, item in enumerate(instance.items)
    }
    worth = {i: float(incumbent.unit[i] * item.rate) for i, item in enumerate(instance.items)}
    for items in _components(incumbent, seats):
        left = max(LEAST_S, deadline.left_s * 0.5)
        if len(items) <= WHOLE:
            here = {i: where[i] for i in items}
            put_chosen(incumbent, refill(incumbent, here, worth, left, "limits/gap = 1e-6\n"))
        else:
            _by_neighbourhoods(incumbent, items, where, worth, deadline)
    for d in seats.values():
        incumbent.close_empty(d)
    for i in range(len(instance.items)):
        incumbent.recount(i)
    _settle(incumbent)


def _by_neighbourhoods(
    incumbent: Incumbent,
    items: list[int],
    where: dict[int, list[int]],
    worth: dict[int, float],
    deadline: Deadline,
) -> None:
    """Greedily first; then around an item that lacks something, a few devices at a time."""
    rng = random.Random(0)
    for i in sorted(items, key=lambda i: -worth[i]):
        insert(incumbent, i, list(where[i]), opening=None)
    mine, failed = set(items), 0
    while deadline.left_s > 0:
        lacking = [
            int(i) for i in incumbent.lacking() if int(i) in mine
            and (incumbent.unmet[i] > UNMET or incumbent.absent[i])
        ]  # fmt: skip
        if not lacking or failed > PATIENCE * len(lacking):
            return
        near = dict.fromkeys(where[rng.choice(lacking)])
        beside = [i for d in near for i in incumbent.residents[d] if len(where[i]) > 1]
        rng.shuffle(beside)
        for i in beside:
            near.update(dict.fromkeys(where[i]))
            if len(near) >= NEAR:
                break
        around = dict.fromkeys(i for d in near for i in incumbent.residents[d])
        around.update(dict.fromkeys(i for i in lacking if near.keys() & set(where[i])))
        before = incumbent.cost
        incumbent.log = []
        for d in near:
            for i in list(incumbent.residents[d]):
                incumbent.take(i, d, keep=True)
        here = {i: [d for d in where[i] if d in near] for i in around}
        put_chosen(incumbent, refill(incumbent, here, worth, LOCAL_S, "limits/gap = 1e-5\n"))
        for i in around:
            incumbent.recount(i)
        if incumbent.cost < before * (1 - 1e-9):
            failed = 0
            incumbent.log = None
        elif incumbent.cost <= before:
            failed += 1
            incumbent.log = None
        else:
            failed += 1
            incumbent.undo()


def _components(incumbent: Incumbent, seats: dict[str, int]) -> list[list[int]]:
    """Items that share devices, directly or through others; the smallest sets first."""
    leader: dict[str, str] = {name: name for name in seats}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    items = incumbent.instance.items
    mine = [(i, [d for d in sorted(item.current) if d in seats]) for i, item in enumerate(items)]
    for _, here in mine:
        for other in here[1:]:
            leader[find(other)] = find(here[0])
    groups: dict[str, list[int]] = defaultdict(list)
    for i, here in mine:
        if here:
            groups[find(here[0])].append(i)
    return sorted(groups.values(), key=len)


def _settle(incumbent: Incumbent) -> None:
    """Shares that carry every rate exactly, where there are any."""
    problem = incumbent.instance.problem
    if any(len(item.members) > 1 for item in incumbent.instance.items):
        return
    places = Places(problem)
    replicas = incumbent.replicas()
    kinds = {r.seat: places.find(r.seat).device_type for r in replicas}  # type: ignore[union-attr]
    settled = settle(problem, kinds, replicas)
    if settled is None:
        return
    number = {item.name: i for i, item in enumerate(incumbent.instance.items)}
    seat = {incumbent.name_of[int(d)]: int(d) for d in incumbent.seats()}
    for replica in settled:
        incumbent.set_share(number[replica.model], seat[replica.seat], replica.share)
    for i in range(len(incumbent.instance.items)):
        incumbent.recount(i)
