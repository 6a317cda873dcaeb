"""First layouts: the one that runs, and insertion guided by the relaxation's dual prices."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import numpy as np

from placement.layout.replica import Replica
from placement.solver.incumbent import Incumbent, open_named
from placement.solver.result import Deadline

FULL = 0.03  # of a device's worth: with less left a seat is not looked at any more
LOOKED = 160  # seats that an insertion looks at
LATE = 64  # insertions between two looks at the clock


def construct(
    incumbent: Incumbent,
    items: Iterable[int],
    deadline: Deadline,
    *,
    opening: float = 1.25,
    parts: Mapping[int, float] | None = None,
    kinds: Mapping[int, int] | None = None,
) -> bool:
    """Insert the items one after the other; False when the deadline came first.

    `parts`: of their rates that are inserted; `kinds`: the only device type of an item.
    """
    active = [int(d) for d in incumbent.seats()]
    for number, i in enumerate(items):
        if number % LATE == LATE - 1 and deadline.left_s <= 0:
            return False
        part = 1.0 if parts is None else parts[i]
        kind = None if kinds is None else kinds.get(i)
        incumbent.insert(i, active, opening=opening, part=part, kind=kind)
        if len(active) > LOOKED:
            seats = np.array(active)
            left = incumbent.slack(seats) / np.maximum(
                incumbent.worth[incumbent.type[seats]], 1e-300
            )
            kept = seats[left > FULL]
            if len(kept) > LOOKED // 2:
                order = np.argsort(-incumbent.slack(kept), kind="stable")
                kept = kept[np.sort(order[: LOOKED // 2])]
            active = [int(d) for d in kept]
    return True


def by_value(
    incumbent: Incumbent, rng: random.Random | None = None, noise: float = 0.0
) -> list[int]:
    """Items, the dearest first; for most throughput those that bring most for what they take."""
    instance = incumbent.instance
    value = np.array([incumbent.unit[i] * item.rate for i, item in enumerate(instance.items)])
    if instance.flexible and len(value):
        value = incumbent.penalties / np.maximum(value, 1e-300)
    if rng is not None and noise:
        value = value * np.array([1 + noise * rng.random() for _ in value])
    return [int(i) for i in np.argsort(-value, kind="stable")]


def seat_replicas(incumbent: Incumbent, replicas: Iterable[Replica]) -> None:
    """Put replicas on the seats that they name, as far as rules and capacities let them."""
    instance = incumbent.instance
    number = {name: i for i, item in enumerate(instance.items) for name, _ in item.members}
    for replica in replicas:
        i = number[replica.model]
        item = instance.items[i]
        if len(item.members) > 1:
            continue
        d = open_named(incumbent, replica.seat)
        if d is None:
            continue
        for j in range(item.rows.start, item.rows.stop):
            if instance.options[j] == (replica.k,) and incumbent.fits(i, d, j, replica.share):
                incumbent.put(i, d, j, replica.share)
                break
        incumbent.close_empty(d)
    for i in range(len(instance.items)):
        incumbent.recount(i)
