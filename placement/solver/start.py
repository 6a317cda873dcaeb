"""First layouts: the one that runs, and insertion guided by the relaxation's dual prices."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np

from placement.layout.replica import Replica
from placement.solver.incumbent import Incumbent, open_named
from placement.solver.insertion import insert
from placement.solver.result import Deadline

FULL = 0.03  # of a device's worth: with less left a seat is not looked at any more
LOOKED = 160  # seats that an insertion looks at
ROOMIEST = 40  # of them always those with the most left; the others take turns
TURN = 16  # insertions


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
    waiting: deque[int] = deque()
    for number, i in enumerate(items):
        if number and deadline.left_s <= 0:
            return False
        part = 1.0 if parts is None else parts[i]
        kind = None if kinds is None else kinds.get(i)
        insert(incumbent, i, active, opening=opening, part=part, kind=kind)
        if len(active) > LOOKED or (waiting and number % TURN == TURN - 1):
            active = _take_turns(incumbent, active, waiting)
    return True


def _take_turns(incumbent: Incumbent, active: list[int], waiting: deque[int]) -> list[int]:
    """The seats with the most left, and those that have waited longest; full ones are dropped."""
    seats = np.array(active)
    slack = incumbent.slack(seats)
    order = np.argsort(-slack, kind="stable")
    free = slack > FULL * incumbent.worth[incumbent.type[seats]]
    kept = seats[order[free[order]]].tolist()
    waiting.extend(kept[ROOMIEST:])
    turn = [waiting.popleft() for _ in range(min(len(waiting), LOOKED // 2 - ROOMIEST))]
    chosen = np.array(kept[:ROOMIEST] + turn, dtype=int)  # of equal seats the fullest is taken
    return [int(d) for d in chosen[np.argsort(incumbent.slack(chosen), kind="stable")]]


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
