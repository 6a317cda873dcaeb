"""The layout that a search is working on: what stands where, what is left, and what it costs.

    cost = sum of the prices of GPUs in use + price of moves + penalties of what is not met

A replica is put on a seat (a device, or a MIG slice of one) or taken from it, one at a time; every
such step is undone when the neighbourhood that it was part of turns out no better. What goes where
is decided in `insertion.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.layout.replica import Replica
from placement.problem import Pool
from placement.solver.instance import LEAST, MANDATORY, DeviceClass, Instance, owns
from placement.solver.relaxation import Relaxation
from placement.solver.rows import SLACK

REST = 1e-11  # of a rate: what floats leave over
SPREAD = 0.1  # part of the dual prices that is spread evenly over a device's resources


@dataclass
class Gpu:
    """A physical device, in use while any of its seats is."""

    pool: Pool
    cls: int
    name: str
    seats: dict[str, int]  # open seats by name
    slices: Counter[int]  # of open seats, by type; empty when used whole
    named: bool = False  # by a rule or the current layout: it then equals no other
    free: bool = True


class Incumbent:
    """See the module's text. Seats are numbered; arrays are by seat."""

    def __init__(self, instance: Instance, relaxation: Relaxation, *, free_devices: bool) -> None:
        self.instance, self.relaxation = instance, relaxation
        problem = instance.problem
        resources = instance.resources
        prices = relaxation.prices
        worth = prices.sum(axis=1)
        dearest = max([0.0, *worth.tolist(), *(cls.price for cls in instance.classes)]) or 1.0
        limited = np.maximum(1, instance.limited.sum(axis=1))
        even = np.where(instance.limited, (worth / limited)[:, None], 0.0)
        self.prices = (1 - SPREAD) * prices + SPREAD * even + 1e-6 * dearest * instance.limited
        self.worth = self.prices.sum(axis=1)
        of_row = self.prices[instance.type_of]
        self.h = (instance.base * of_row).sum(axis=1)
        self.c = (instance.slope * of_row).sum(axis=1)
        with np.errstate(divide="ignore"):
            self.inverse = np.where(
                instance.slope > 0, 1.0 / np.where(instance.slope > 0, instance.slope, 1.0), 1e12
            )
        rates = np.array([max(i.rate, 1e-300) for i in instance.items])
        self.unit = np.maximum(relaxation.values, 1e-9 * dearest) / rates
        self.device_price = [0.0 if free_devices else cls.price for cls in instance.classes]
        self.room = np.where(instance.limited, 1.0, 1e18)
        kinds = len(instance.types)  # the first seats stand for empty devices of each type
        self.size = 64 + kinds
        self.free = np.zeros((self.size, resources))
        self.type = np.zeros(self.size, int)
        self.open = np.zeros(self.size, bool)
        self.residents: list[dict[int, tuple[int, float]]] = [{} for _ in range(self.size)]
        self.gpu_of: list[Gpu | None] = [None] * self.size
        self.name_of: list[str] = [""] * self.size
        self.spare = list(range(self.size - 1, kinds - 1, -1))
        self.type[:kinds] = np.arange(kinds)
        self.free[:kinds] = self.room
        self._cache: list[tuple[Any, ...] | None] = [None] * len(instance.items)
        self.pressure = np.zeros(self.size)  # device time that residents take
        self.stretch = np.full(self.size, 1e18)  # device time that they can still bear
        self.of: list[dict[int, tuple[int, float]]] = [{} for _ in instance.items]
        self.price = 0.0
        self.moves = 0
        self.used = 0  # GPUs
        self.unmet = np.ones(len(instance.items))  # parts of rates that are not carried
        self.absent = np.array([float(item.replicas) for item in instance.items])  # replicas
        for i, item in enumerate(instance.items):
            if not item.replicas and problem.objective == "min-hardware" and item.rate <= 0:
                self.unmet[i] = 0.0
        self.log: list[tuple[Any, ...]] | None = None
        self.flexible = instance.flexible
        self.move_price = problem.move_price if problem.objective == "min-hardware" else 0.0
        self.most_moves = problem.max_moves if problem.current else None
        self.must = MANDATORY * max([1.0, *(cls.price for cls in instance.classes)])
        self.excess = 10.0 * dearest  # for each move beyond the limit
        # What an insertion takes a move to cost; where moves are limited they are never free.
        self.move_weight = self.move_price
        if self.most_moves is not None:
            self.move_weight = max(self.move_weight, 0.2 * dearest)
        self._fleet()

    # -- the fleet ---------------------------------------------------------------------------

    def _fleet(self) -> None:
        """GPUs that rules or the current layout name exist from the start; others when opened."""
        problem = self.instance.problem
        rules = problem.rules
        names = {d for _, d in (*rules.pins, *rules.forbidden, *problem.current)}
        names |= {device for device in rules.excluded_devices if "/" in device}
        excluded = set(rules.excluded_devices)
        self.known: dict[str, Gpu] = {}
        self.closed: list[dict[str, list[Gpu]]] = []  # by class and pool
        self.number: dict[str, int] = {}
        self.excluded = excluded
        self.barred: set[str] = set()  # pools of which no new GPU is taken
        self.may_open: Callable[[str, str], bool] | None = None  # pool, name; None: any
        self.named: list[dict[str, Gpu]] = []  # by class: such GPUs that are not in use
        self.kinds_open: dict[int, set[str]] = defaultdict(set)  # class: sliced GPUs in use
        for cls in self.instance.classes:
            self.closed.append({pool.name: [] for pool in cls.pools})
            self.named.append({})
            for pool in cls.pools:
                self.number[pool.name] = 0
        by_pool = {p.name: (c, p) for c, cls in enumerate(self.instance.classes) for p in cls.pools}
        for name in sorted(names):
            for device in {name, name.split("/", 1)[0]}:
                for c, pool in by_pool.values():
                    if owns(pool, device) and device not in self.known and device not in excluded:
                        gpu = Gpu(pool, c, device, {}, Counter(), named=True)
                        self.known[device] = self.named[c][device] = gpu

    def _new(self, c: int, pool: Pool) -> Gpu | None:
        """A GPU of the pool that was never in use; None when there is none left."""
        if pool.name in self.barred:
            return None
        most = pool.count
        while most is None or self.number[pool.name] < most:
            self.number[pool.name] += 1
            number = self.number[pool.name]
            name = pool.name if pool.count == 1 else f"{pool.name}-{number}"
            if name in self.known or name in self.excluded:
                continue
            if self.may_open is not None and not self.may_open(pool.name, name):
                continue
            gpu = Gpu(pool, c, name, {}, Counter())
            self.known[name] = gpu
            return gpu
        return None

    def gpu_named(self, pool_name: str, name: str) -> Gpu:
        """The pool's GPU of that name, as one that is not in use if it never was."""
        known = self.known.get(name)
        if known is not None:
            return known
        for c, cls in enumerate(self.instance.classes):
            for pool in cls.pools:
                if pool.name == pool_name:
                    gpu = self.known[name] = Gpu(pool, c, name, {}, Counter())
                    self.closed[c][pool.name].append(gpu)
                    return gpu
        raise KeyError(pool_name)

    def any_closed(self, c: int) -> Gpu | None:
        """A GPU of the class that is not in use."""
        for pool in self.instance.classes[c].pools:
            waiting = self.closed[c][pool.name]
            while waiting:
                return waiting[-1]
            fresh = self._new(c, pool)
            if fresh is not None:
                waiting.append(fresh)
                return fresh
        return next(iter(self.named[c].values()), None)

    def adopt(self, device: str) -> Gpu | None:
        """The GPU of that name, which was never in use; None where the fleet has no such GPU."""
        for name in (device, device.partition("/")[0]):
            for c, cls in enumerate(self.instance.classes):
                for pool in cls.pools:
                    if (name == pool.name or name.startswith(pool.name + "-")) and owns(pool, name):
                        if name in self.excluded:
                            return None
                        gpu = Gpu(pool, c, name, {}, Counter())
                        self.known[name] = gpu
                        self.closed[c][pool.name].append(gpu)
                        return gpu
        return None

    def reserve(self, gpu: Gpu) -> None:
        """Take a GPU off those that are not in use, before its seats are opened."""
        self._in_use(gpu)

    def _in_use(self, gpu: Gpu) -> None:
        gpu.free = False
        self.used += 1
        self.price += self.device_price[gpu.cls]
        waiting = self.closed[gpu.cls][gpu.pool.name]
        if gpu.named:
            del self.named[gpu.cls][gpu.name]
        elif waiting and waiting[-1] is gpu:
            waiting.pop()
        else:
            waiting.remove(gpu)

    def allowed(self, item: Any, gpu: Gpu, seat: str) -> bool:
        names = {gpu.name, gpu.pool.name, seat}
        if item.pins is not None and not names & item.pins:
            return False
        return not names & item.forbidden

    def host_of(self, gpu: Gpu) -> str:
        return gpu.pool.host or gpu.name

    def hosts_of(self, i: int) -> set[str]:
        return {self.host_of(self.gpu_of[d]) for d in self.of[i]}  # type: ignore[arg-type]

    def closed_gpu(self, c: int, i: int, hosts: set[str], kind: int) -> Gpu | None:
        """A GPU of the class that is not in use and may take the item."""
        item = self.instance.items[i]
        problem = self.instance.problem
        if problem.max_devices is not None and self.used >= problem.max_devices:
            return None
        cls = self.instance.classes[c]
        best: Gpu | None = None
        for device in sorted(item.current | (item.pins or frozenset())):
            named = self.named[c].get(device.split("/", 1)[0])
            if named is not None and self._takes(named, item, kind, hosts):
                return named
        for named in self.named[c].values():
            if self._takes(named, item, kind, hosts):
                best = named
                break
        for pool in cls.pools:
            if item.pins is not None and pool.name not in item.pins:
                continue
            if pool.name in item.forbidden or (
                item.spread and pool.host is not None and pool.host in hosts
            ):
                continue
            waiting = self.closed[c][pool.name]
            if waiting:
                return waiting[-1]
            fresh = self._new(c, pool)
            if fresh is not None:
                waiting.append(fresh)
                return fresh
        return best

    def _takes(self, gpu: Gpu, item: Any, kind: int, hosts: set[str]) -> bool:
        """Whether a seat of the type on the GPU, which is not in use, may hold the item."""
        seat = self.next_seat(gpu, kind)
        if seat is None or not self.allowed(item, gpu, seat):
            return False
        return not (item.spread and self.host_of(gpu) in hosts)

    def next_seat(self, gpu: Gpu, kind: int) -> str | None:
        """The name of one more seat of the type on the GPU, if it can have one."""
        cls = self.instance.classes[gpu.cls]
        if kind == cls.type and not gpu.seats:
            return gpu.name
        if not cls.partitions or gpu.name in gpu.seats:
            return None
        label = self.instance.types[kind]
        number = 1
        while (name := f"{gpu.name}/{label}-{number}") in gpu.seats or name in self.excluded:
            number += 1
        return name if self.legal(gpu, kind, number) else None

    def legal(self, gpu: Gpu, kind: int, number: int) -> bool:
        """Whether some partition has the GPU's open slices and the n-th one of the type."""
        most: Counter[int] = Counter({kind: number})
        for name, d in gpu.seats.items():
            t = int(self.type[d])
            most[t] = max(most[t], int(name.rpartition("-")[2]))
        return any(most <= Counter(p) for p in self.instance.classes[gpu.cls].partitions)

    # -- steps, and how they are undone --------------------------------------------------------

    def open_seat(self, gpu: Gpu, kind: int, name: str) -> int:
        """Open a seat, and the GPU with it."""
        if not self.spare:
            self._grow()
        d = self.spare.pop()
        self._open(d, gpu, kind, name)
        if self.log is not None:
            self.log.append(("open", d))
        return d

    def _open(self, d: int, gpu: Gpu, kind: int, name: str) -> None:
        self.type[d] = kind
        self.open[d] = True
        self.free[d] = self.room[kind]
        self.residents[d] = {}
        self.gpu_of[d] = gpu
        self.name_of[d] = name
        self.pressure[d], self.stretch[d] = 0.0, 1e18
        if gpu.free:
            self._in_use(gpu)
        gpu.seats[name] = d
        if name != gpu.name:
            gpu.slices[kind] += 1
            self.kinds_open[gpu.cls].add(gpu.name)

    def _close(self, d: int) -> None:
        gpu = self.gpu_of[d]
        assert gpu is not None
        self.open[d] = False
        self.spare.append(d)
        name = self.name_of[d]
        del gpu.seats[name]
        if name != gpu.name:
            gpu.slices[int(self.type[d])] -= 1
            gpu.slices += Counter()
        if not gpu.seats:
            gpu.free = True
            self.used -= 1
            self.price -= self.device_price[gpu.cls]
            self.kinds_open[gpu.cls].discard(gpu.name)
            if gpu.named:
                self.named[gpu.cls][gpu.name] = gpu
            else:
                self.closed[gpu.cls][gpu.pool.name].append(gpu)

    def put(self, i: int, d: int, j: int, share: float) -> None:
        """Put a replica of the item, as row j, on an open seat."""
        self._put(i, d, j, share)
        if self.log is not None:
            self.log.append(("put", i, d))

    def _put(self, i: int, d: int, j: int, share: float) -> None:
        instance = self.instance
        self.residents[d][i] = self.of[i][d] = (j, share)
        self.free[d] -= instance.base[j] + share * instance.slope[j]
        item = instance.items[i]
        if item.running and self.name_of[d] not in item.current:
            self.moves += item.running
        if instance.slowed:
            self._felt(d)

    def take(self, i: int, d: int, *, keep: bool = False) -> None:
        """Take the item's replica from the seat, which closes when nothing is left on it.

        With `keep` it stays open.
        """
        j, share = self._take(i, d)
        if self.log is not None:
            self.log.append(("take", i, d, j, share))
        if not self.residents[d] and not keep:
            gpu, kind, name = self.gpu_of[d], int(self.type[d]), self.name_of[d]
            self._close(d)
            if self.log is not None:
                self.log.append(("close", d, gpu, kind, name))

    def _take(self, i: int, d: int) -> tuple[int, float]:
        instance = self.instance
        j, share = self.residents[d].pop(i)
        del self.of[i][d]
        if self.residents[d]:
            self.free[d] += instance.base[j] + share * instance.slope[j]
        else:
            self.free[d] = self.room[self.type[d]]  # rounding does not pile up
        item = instance.items[i]
        if item.running and self.name_of[d] not in item.current:
            self.moves -= item.running
        if instance.slowed:
            self._felt(d)
        return j, share

    def undo(self) -> None:
        """Take back what was done since the log began, in reverse order."""
        log, self.log = self.log or [], None
        for step in reversed(log):
            if step[0] == "put":
                self._take(step[1], step[2])
            elif step[0] == "take":
                self._put(*step[1:])
            elif step[0] == "open":
                self._close(step[1])
            elif step[0] == "close":
                _, d, gpu, kind, name = step
                if self.spare and self.spare[-1] == d:
                    self.spare.pop()
                else:
                    self.spare.remove(d)
                self._open(d, gpu, kind, name)
            elif step[0] == "share":
                _, i, d, j, share, more = step
                self.free[d] += more * self.instance.slope[j]
                self.residents[d][i] = self.of[i][d] = (j, share)
            else:  # unmet
                self.unmet[step[1]], self.absent[step[1]] = step[2:]

    def close_empty(self, d: int) -> None:
        """Close a seat that was opened for a replica that did not come."""
        if self.open[d] and not self.residents[d]:
            gpu, kind, name = self.gpu_of[d], int(self.type[d]), self.name_of[d]
            self._close(d)
            if self.log is not None:
                self.log.append(("close", d, gpu, kind, name))

    def fits(self, i: int, d: int, j: int, share: float) -> bool:
        """Whether the seat has room for the replica and the rules allow it there."""
        instance, item = self.instance, self.instance.items[i]
        if i in self.residents[d] or self.type[d] != instance.type_of[j]:
            return False
        use = instance.base[j] + share * instance.slope[j]
        if not (use <= self.free[d] + SLACK).all():
            return False
        if instance.slowed:
            lost = self.pressure[d] * instance.sensitivity[j]
            if lost > self._bears(i, j) + SLACK or self.stretch[d] < instance.busy[j] * share:
                return False
            if self.paced(i) and share + lost > 1 + SLACK:
                return False
        return self.may_take(item, d, self.hosts_of(i) if item.spread else set())

    def may(self, i: int, d: int) -> bool:
        """Whether the rules allow the item on the seat, beside what sits there."""
        item = self.instance.items[i]
        return self.may_take(item, d, self.hosts_of(i) if item.spread else set())

    def most_share(self, d: int, j: int) -> float:
        """The share for which the seat has room; below zero where it has none for the base."""
        spare = self.free[d] - self.instance.base[j] + SLACK
        return min(1.0, float((spare * self.inverse[j]).min()))

    def set_share(self, i: int, d: int, share: float) -> None:
        """Have the replica carry another share."""
        j, before = self.of[i][d]
        self.free[d] -= (share - before) * self.instance.slope[j]
        self.residents[d][i] = self.of[i][d] = (j, share)
        if self.instance.slowed:
            self._felt(d)

    def recount(self, i: int) -> None:
        """Find anew which part of the item's demand is not met."""
        item = self.instance.items[i]
        left, replicas = self.missing(i)
        part = left / item.rate if item.rate > 0 else 0.0
        self._set_unmet(i, part, float(replicas))

    def _set_unmet(self, i: int, part: float, absent: float) -> None:
        """Record which part of the item's demand is not met."""
        if part != self.unmet[i] or absent != self.absent[i]:
            if self.log is not None:
                self.log.append(("unmet", i, self.unmet[i], self.absent[i]))
            self.unmet[i], self.absent[i] = part, absent

    def _grow(self) -> None:
        old = self.size
        self.size *= 2
        self.free = np.vstack([self.free, np.zeros_like(self.free)])
        self.type = np.concatenate([self.type, np.zeros(old, int)])
        self.open = np.concatenate([self.open, np.zeros(old, bool)])
        self.pressure = np.concatenate([self.pressure, np.zeros(old)])
        self.stretch = np.concatenate([self.stretch, np.full(old, 1e18)])
        self.residents += [{} for _ in range(old)]
        self.gpu_of += [None] * old
        self.name_of += [""] * old
        self.spare = list(range(self.size - 1, old - 1, -1))

    def _felt(self, d: int) -> None:
        """Device time that the seat's residents take, and how much more they bear."""
        instance = self.instance
        here = self.residents[d]
        total = sum(instance.busy[j] * share for j, share in here.values())
        stretch = 1e18
        for i, (j, share) in here.items():
            b = instance.sensitivity[j]
            if b <= 0:
                continue
            beside = total - instance.busy[j] * share
            spare = min(1.0, self._bears(i, j))
            if self.paced(i):
                spare = min(spare, 1.0 - share)
            stretch = min(stretch, spare / b - beside)
        self.pressure[d], self.stretch[d] = total, stretch

    def _bears(self, i: int, j: int) -> float:
        """The part of its speed that neighbours may take of the replica."""
        most = self.instance.problem.max_slowdown
        spare = float(self.instance.spare[j])
        return spare if most is None or self.paced(i) else min(spare, most)

    def paced(self, i: int) -> bool:
        item = self.instance.items[i]
        rated = any(model.rate for _, model in item.members)
        return rated or self.instance.problem.objective == "max-throughput"

    def clear(self) -> None:
        """Take everything off."""
        for i, here in enumerate(self.of):
            for d in list(here):
                self.take(i, d)
            self.recount(i)

    def top_up(self, i: int) -> None:
        """Let the item's replicas carry more of its rate where their devices have room."""
        instance = self.instance
        left, _ = self.missing(i)
        for d in list(self.of[i]):
            if left <= 0:
                break
            j, share = self.of[i][d]
            more = min(1.0 - share, left / float(instance.throughput[j]))
            slope = instance.slope[j]
            growing = slope > 0
            if growing.any():
                more = min(more, float((self.free[d][growing] / slope[growing]).min()))
            if more <= LEAST * share or instance.slowed:
                continue
            only = len(self.residents[d]) == 1
            if only:  # the seat stays open
                self.free[d] -= more * slope
                self.residents[d][i] = self.of[i][d] = (j, share + more)
                if self.log is not None:
                    self.log.append(("share", i, d, j, share, more))
            else:
                self.take(i, d)
                self.put(i, d, j, share + more)
            left, _ = self.missing(i)
        self.recount(i)

    # -- what it costs ---------------------------------------------------------------------------

    @property
    def cost(self) -> float:
        """Prices, moves and penalties."""
        return (
            self.price
            + self.move_price * self.moves
            + self.excess * self._beyond()
            + float(self.penalties @ self.unmet)
            + self.must * float(self.absent.sum())
        )

    def lacking(self) -> Any:
        """The items whose demand is not met."""
        return np.flatnonzero((self.unmet > 0) | (self.absent > 0))

    def _beyond(self) -> int:
        """Moves beyond the limit."""
        return 0 if self.most_moves is None else max(0, self.moves - self.most_moves)

    @property
    def penalties(self) -> Any:
        """By item."""
        if not hasattr(self, "_penalties"):
            self._penalties = np.array([item.penalty for item in self.instance.items])
        return self._penalties

    def seats(self) -> Any:
        """The open seats."""
        return np.flatnonzero(self.open)

    def slack(self, seats: Any) -> Any:
        """What is left of seats, at the dual prices; at most what they are worth."""
        return np.minimum(
            (np.minimum(self.free[seats], 1.0) * self.prices[self.type[seats]]).sum(axis=1),
            self.worth[self.type[seats]],
        )

    def concentration(self, seats: Any) -> float:
        """High when what is left lies on few seats, which may then be emptied."""
        if not len(seats):
            return 0.0
        left = self.slack(seats)
        return float((left * left / np.maximum(self.worth[self.type[seats]], 1e-300)).sum())

    def replicas(self) -> tuple[Replica, ...]:
        """The layout by names."""
        instance = self.instance
        problem = instance.problem
        found = []
        for i, item in enumerate(instance.items):
            for d, (j, share) in self.of[i].items():
                for (name, model), k in zip(item.members, instance.options[j], strict=True):
                    part = 1.0
                    rated = model.rate or problem.objective == "max-throughput"
                    if rated and len(item.members) == 1:
                        part = share
                    elif rated:
                        carried = share * instance.throughput[j]
                        top = model.options[k].throughput
                        part = min(1.0, carried * (model.rate or 0.0) / top) if top else 0.0
                    found.append(Replica(name, k, self.name_of[d], part))
        return tuple(found)

    # -- what an insertion asks ------------------------------------------------------------------

    def missing(self, i: int) -> tuple[float, int]:
        """What is left of the item's rate, and of the number of GPUs that it has to be on."""
        item = self.instance.items[i]
        carried = 0.0
        for j, share in self.of[i].values():
            carried += self.instance.throughput[j] * share
        left = item.rate - carried
        if left <= REST * item.rate:
            left = 0.0
        gpus = len({id(self.gpu_of[d]) for d in self.of[i]}) if item.replicas else 0
        return left, max(0, item.replicas - gpus)

    def may_take(self, item: Any, d: int, hosts: set[str]) -> bool:
        """Whether rules let the item stand on the seat, where it is on these hosts already."""
        gpu = self.gpu_of[d]
        assert gpu is not None
        if not self.allowed(item, gpu, self.name_of[d]):
            return False
        if item.spread and self.host_of(gpu) in hosts:
            return False
        if item.apart:
            mine = set(item.apart)
            return not any(mine & set(self.instance.items[o].apart) for o in self.residents[d])
        return True

    def rows_of(self, i: int) -> tuple[Any, ...]:
        """The item's rows: base, inverse slope, throughput, prices, type; the least base price."""
        known = self._cache[i]
        if known is None:
            rows = self.instance.items[i].rows
            h = self.h[rows]
            known = self._cache[i] = (
                self.instance.base[rows],
                self.inverse[rows],
                self.instance.throughput[rows],
                h,
                self.c[rows],
                self.instance.type_of[rows],
                float(h.min()),
            )
        return known


def open_named(incumbent: Incumbent, device: str) -> int | None:
    """The seat of that name, opened if it can be; None where the fleet has no such seat."""
    parent, _, part = device.partition("/")
    known = incumbent.known
    gpu = known.get(device) or known.get(parent) or incumbent.adopt(device)
    if gpu is None:
        return None
    name = gpu.name if gpu.name == device else device
    if name in gpu.seats:
        return gpu.seats[name]
    cls: DeviceClass = incumbent.instance.classes[gpu.cls]
    problem = incumbent.instance.problem
    if gpu.free and problem.max_devices is not None and incumbent.used >= problem.max_devices:
        return None
    if name == gpu.name:
        return None if gpu.seats else incumbent.open_seat(gpu, cls.type, name)
    label = part.rsplit("-", 1)[0]
    kind = next((t for t, known in enumerate(incumbent.instance.types) if known == label), None)
    if kind is None or gpu.name in gpu.seats:
        return None
    number = part.rsplit("-", 1)[-1]
    if name in incumbent.excluded or not number.isdecimal():
        return None
    return incumbent.open_seat(gpu, kind, name) if incumbent.legal(gpu, kind, int(number)) else None
