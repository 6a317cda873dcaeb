"""Large neighbourhood search: empty a few devices, insert their items again, keep what is better.

Ruin and recreate (Schrimpf et al., "Record breaking optimization results using the ruin and
recreate principle", 2000). Devices are drawn by what is left on them, their items are taken off
everywhere and inserted again in random order of size, at the dual prices with a little noise. A
step is kept when it costs no more, or with a chance that falls over a cycle (simulated annealing).
Of layouts of one cost that with its free room on few devices is better: those can be emptied next.
"""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from placement.solver.incumbent import Incumbent
from placement.solver.insertion import insert
from placement.solver.refill import QUICK, put_chosen, refill
from placement.solver.result import Deadline

DRAWN = (1, 2, 2, 3, 3, 4, 5)  # devices that are emptied in a step
RECEIVERS = 12  # devices with room that take part, too
NOISE = 0.1  # on the prices of an insertion
ORDER = 0.4  # noise on the order by size
OPENING = (1.0, 1.4)  # how much dearer a replica on a new device is taken to be
CONCENTRATION = 0.3  # of the cost: weight of free room that lies on few devices
WARM = 0.012  # of a device's worth: temperature at the start of a cycle
CYCLE = 3000  # steps
REPLICAS = 6  # more of one item are left where they are, but for those on emptied devices
REDRAW = 16  # steps for which the weights of devices hold
EXCHANGED = 0.05  # part of the steps that exchange the device type of an item
REFILL = 12  # steps from one refill to the next
REFILLED = (2, 2, 3, 3, 4)  # devices
REFILL_S = 0.5
TABLE = 1 << 17  # random factors that are drawn at once
LARGE = 20_000  # items from which the search only descends
EPSILON = 1e-9


def improve(
    incumbent: Incumbent,
    deadline: Deadline,
    seed: int,
    *,
    target: float = -math.inf,
    patience: int = 12_000,
    allowed_moves: int | None = None,
    cycle: int = CYCLE,
) -> int:
    """Improve the layout in place until `target` is reached, or the deadline; returns the steps.

    The best layout is what is there at the end. The search also ends after `patience` steps
    without a better one. It cools down over `cycle` steps, time and again.
    """
    search = _Search(incumbent, seed, allowed_moves)
    best = incumbent.cost
    # Of so many a snapshot takes longer than a step: nothing dearer is taken, and none is needed.
    descending = len(incumbent.instance.items) > LARGE and allowed_moves is None
    kept = [] if descending else snapshot(incumbent)
    since = steps = 0
    while deadline.left_s > 0 and since < patience and best > target + EPSILON:
        steps += 1
        since += 1
        heat = 0.0 if descending else WARM * (1.0 - (steps % cycle) / cycle)
        if search.refills and steps % REFILL == 0:
            search.refill(deadline)
        else:
            search.step(heat)
        cost = incumbent.cost
        if cost < best - EPSILON and search.within():
            best, since = cost, 0
            kept = kept if descending else snapshot(incumbent)
        elif steps % cycle == 0 and cost > best + EPSILON and not descending:
            restore(incumbent, kept)
    if not descending and (incumbent.cost > best + EPSILON or not search.within()):
        restore(incumbent, kept)
    return steps


Snapshot = list[tuple[int, Any, int, str, int, float]]


def snapshot(incumbent: Incumbent) -> Snapshot:
    """All replicas: item, GPU, type and name of the seat, row, share."""
    return [
        (i, incumbent.gpu_of[d], int(incumbent.type[d]), incumbent.name_of[d], j, share)
        for i, here in enumerate(incumbent.of)
        for d, (j, share) in here.items()
    ]


def restore(incumbent: Incumbent, kept: Snapshot) -> None:
    """Bring the layout back to what it was."""
    incumbent.log = None
    wanted = {(i, name): (gpu, kind, j, share) for i, gpu, kind, name, j, share in kept}
    touched = set()
    for i, here in enumerate(incumbent.of):
        for d, what in list(here.items()):
            old = wanted.get((i, incumbent.name_of[d]))
            if old is None or old[2:] != what:
                incumbent.take(i, d)
                touched.add(i)
            else:
                del wanted[i, incumbent.name_of[d]]
    for (i, name), (gpu, kind, j, share) in wanted.items():
        d = gpu.seats.get(name)
        if d is None:
            d = incumbent.open_seat(gpu, kind, name)
        incumbent.put(i, d, j, share)
        touched.add(i)
    for i in touched:
        incumbent.recount(i)


class _Search:
    def __init__(self, incumbent: Incumbent, seed: int, allowed_moves: int | None) -> None:
        self.incumbent = incumbent
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(seed)
        self.allowed_moves = allowed_moves
        self.value = [
            incumbent.unit[i] * item.rate for i, item in enumerate(incumbent.instance.items)
        ]
        self.flexible = incumbent.flexible
        self.age = REDRAW
        self.refills = incumbent.flexible and not incumbent.instance.slowed
        self.table = 1.0 + NOISE * self.numbers.random(TABLE)
        self.typical = (
            float(np.median(incumbent.worth[incumbent.worth > 0]))
            if (incumbent.worth > 0).any()
            else 1.0
        )

    def _noise(self, number: int) -> Any:
        """So many factors near one, out of a table."""
        if number >= len(self.table):
            self.table = 1.0 + NOISE * self.numbers.random(2 * number + TABLE)
        start = int(self.random.random() * (len(self.table) - number))
        return self.table[start : start + number]

    def within(self) -> bool:
        """Whether the moves are within their limit."""
        return self.allowed_moves is None or self.incumbent.moves <= self.allowed_moves

    def _draw(self, number: int) -> list[int]:
        """Seats in use, drawn by what is left on them."""
        if self.age >= REDRAW:
            self.age = 0
            self.seats = self.incumbent.seats()
            left = np.maximum(self.incumbent.slack(self.seats), 1e-3 * self.typical)
            self.sums = np.cumsum(left)
        self.age += 1
        if not len(self.seats):
            return []
        points = self.numbers.random(number) * self.sums[-1]
        places = np.minimum(np.searchsorted(self.sums, points), len(self.seats) - 1)
        drawn = dict.fromkeys(self.seats[places].tolist())
        return [int(d) for d in drawn if self.incumbent.open[d]]

    def _gpu_seats(self, seats: list[int]) -> list[int]:
        """With each slice the other ones of its GPU: only whole GPUs are given back."""
        found: dict[int, None] = {}
        for d in seats:
            gpu = self.incumbent.gpu_of[d]
            assert gpu is not None
            found.update(dict.fromkeys(gpu.seats.values()))
        return list(found)

    def step(self, heat: float) -> None:
        """One neighbourhood: kept, or undone."""
        incumbent = self.incumbent
        emptied = self._gpu_seats(self._draw(self.random.choice(DRAWN)))
        receivers = self._draw(RECEIVERS)
        items: dict[int, None] = {}
        moved, kind = self._exchanged()
        if moved is not None:
            items[moved] = None
        for d in emptied:
            items.update(dict.fromkeys(incumbent.residents[d]))
        items.update(dict.fromkeys(self._unmet()))
        if not items:
            return
        involved = dict.fromkeys([*emptied, *receivers])
        gone = set(emptied)
        for i in items:
            here = incumbent.of[i]
            if len(here) <= REPLICAS:
                involved.update(dict.fromkeys(here))
        before = incumbent.cost
        seats = list(involved)
        packed = incumbent.concentration(np.array(seats, dtype=int))
        incumbent.log = []
        for i in items:
            here = incumbent.of[i]
            everywhere = len(here) <= REPLICAS or i == moved
            for d in list(here):
                if everywhere or d in gone:
                    incumbent.take(i, d)
        order = sorted(items, key=self._key)
        if moved is not None:
            order.remove(moved)
            order.insert(0, moved)
        candidates = [d for d in seats if incumbent.open[d]]
        opening = self.random.uniform(*OPENING)
        limit = math.inf if self.flexible else before + EPSILON + heat * self.typical
        good = True
        for i in order:
            met = insert(
                incumbent,
                i,
                candidates,
                noise=self._noise,
                opening=opening,
                limit=limit,
                kind=kind if i == moved else None,
            )
            if not met and incumbent.price > limit:
                good = False
                break
        if good and self.flexible:
            for i in order:
                if incumbent.unmet[i] > 0:
                    incumbent.top_up(i)
            for d in candidates:
                for i in list(incumbent.residents[d]):
                    if incumbent.unmet[i] > 0:
                        incumbent.top_up(i)
        if good and self._keeps(before, packed, involved, candidates, heat):
            incumbent.log = None
        else:
            incumbent.undo()

    def refill(self, deadline: Deadline) -> None:
        """A few devices filled anew by a mixed integer program: kept unless that is worse."""
        incumbent = self.incumbent
        seats = incumbent.seats()
        if not len(seats):
            return
        number = min(len(seats), self.random.choice(REFILLED))
        emptied = [int(d) for d in self.numbers.choice(seats, number, replace=False)]
        items = dict.fromkeys(i for d in emptied for i in incumbent.residents[d])
        items.update(dict.fromkeys(self._unmet()))
        before = incumbent.cost
        incumbent.log = []
        for d in emptied:
            for i in list(incumbent.residents[d]):
                incumbent.take(i, d, keep=True)
        worth = {i: float(incumbent.penalties[i]) for i in items}
        limit_s = max(0.01, min(REFILL_S, deadline.left_s))
        chosen = refill(incumbent, dict.fromkeys(items, emptied), worth, limit_s, QUICK)
        put_chosen(incumbent, chosen)
        for i in items:
            incumbent.top_up(i)
        for d in emptied:
            incumbent.close_empty(d)
        if incumbent.cost <= before + EPSILON:
            incumbent.log = None
        else:
            incumbent.undo()

    def _key(self, i: int) -> float:
        value = max(self.value[i], 1e-300)
        if self.flexible:
            value = float(self.incumbent.penalties[i]) / value
        return -float(value) * (1 + ORDER * self.random.random())

    def _exchanged(self) -> tuple[int | None, int | None]:
        """At times an item with several replicas, and another device type to run it on."""
        if self.random.random() > EXCHANGED:
            return None, None
        incumbent = self.incumbent
        several = [i for i, here in enumerate(incumbent.of) if len(here) > 1]
        if not several:
            return None, None
        drawn = self.random.sample(several, min(2, len(several)))
        i = max(drawn, key=lambda i: len(incumbent.of[i]))
        rows = incumbent.instance.items[i].rows
        kinds = sorted(set(incumbent.instance.type_of[rows].tolist()))
        return i, self.random.choice(kinds)

    def _unmet(self) -> list[int]:
        """Some of the items whose demand is not met."""
        missing = self.incumbent.lacking()
        if not len(missing):
            return []
        most = 6 if self.flexible else 12
        if len(missing) > most:
            missing = self.numbers.choice(missing, most, replace=False)
        return [int(i) for i in missing]

    def _keeps(
        self, before: float, packed: float, involved: dict[int, None], candidates: list[int],
        heat: float,
    ) -> bool:  # fmt: skip
        incumbent = self.incumbent
        if not self.within() and incumbent.cost >= before - EPSILON:
            return False
        seats = [d for d in dict.fromkeys([*involved, *candidates]) if incumbent.open[d]]
        now = incumbent.concentration(np.array(seats, dtype=int))
        change = incumbent.cost - before - CONCENTRATION * (now - packed)
        if change <= 0:
            return True
        scale = heat * self.typical
        return scale > 0 and self.random.random() < math.exp(-change / scale)
