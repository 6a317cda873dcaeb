"""A placement problem as arrays: the form in which it is bounded, built and improved.

Sets and figures:

    i  items: a copy of a model, or the copies of several that a rule keeps together
    j  rows: the ways to run an item, one device type each; item i owns rows first[i]..last[i]
    t  device types (whole devices and MIG slices);  r  resources

    use of r by a replica in row j that carries the share s in [0, 1]:  base[j,r] + slope[j,r]·s
    carried: throughput[j]·s, of rate[i] that is demanded; or, where a model has no rate,
    one of the rate[i] replicas that are demanded, at the use of its measured load

Uses are parts of what one server on a device of the row's type leaves to models, so that every
limited resource of every device has room 1. They are floats: sums are compared with 1 + SLACK, and
a layout counts only after the independent checker (`placement/layout/check.py`) has passed it.
A slot that models of a large `apart` group exclude each other from is a resource of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, product
from typing import Any

import numpy as np

from placement.problem import Model, Option, PlacementProblem, Pool
from placement.problem.options import reference, worthwhile
from placement.solver.rows import SLACK, SingleRows, free_room, joined, single_rows

LEAST = 1e-3  # of a rate: a smaller part is not worth a replica
SLOT_GROUP = 8  # members from which an `apart` group is counted as a resource
SLOTS = 5  # such resources at most
HEAVY = 4.0  # replicas from which a model's own slot, one to a device, is counted
COMBINATIONS = 60  # rows of models that are kept together, at most for each device type
MANDATORY = 1e7  # times the dearest device: what a demand that must be met costs when it is not


@dataclass(frozen=True)
class Item:
    """What is placed as one; see the module's text."""

    name: str
    members: tuple[tuple[str, Model], ...]  # copies by the name that layouts use
    rows: slice
    rate: float
    replicas: int  # at least, on distinct GPUs
    penalty: float  # for leaving all of the rate unmet
    apart: tuple[int, ...] = ()  # groups of which one member at most sits on a device
    pins: frozenset[str] | None = None  # devices or pools
    forbidden: frozenset[str] = frozenset()
    spread: bool = False
    current: frozenset[str] = frozenset()  # devices where all of it runs now
    running: int = 0  # members that run somewhere now


@dataclass(frozen=True)
class DeviceClass:
    """Pools that differ in nothing but rules, hosts and names."""

    type: int
    price: float
    partitions: tuple[tuple[int, ...], ...]  # types of the slices
    pools: tuple[Pool, ...]
    count: int | None  # devices that are not excluded; None: as many as wanted


@dataclass(frozen=True)
class Instance:
    """The problem; arrays are by row (n,), (n, resources) or by type."""

    problem: PlacementProblem
    items: tuple[Item, ...]
    types: tuple[str, ...]
    classes: tuple[DeviceClass, ...]
    type_of: Any
    base: Any
    slope: Any
    throughput: Any
    options: tuple[tuple[int, ...], ...]  # by row: each member's option, by place in its list
    limited: Any  # (types, resources): whether there is a limit
    busy: Any  # device time taken at full share
    sensitivity: Any
    spare: Any  # part of its speed that it may lose before its latency passes its limit
    slowed: bool  # whether any sensitivity is known
    flexible: bool  # demands may be left unmet, at their penalties

    @property
    def resources(self) -> int:
        """How many there are, slots included."""
        return int(self.base.shape[1])


def most_share(instance: Instance) -> Any:
    """By row: the greatest share for which an empty device has room, at most 1."""
    spare = np.maximum(0.0, 1.0 + SLACK - instance.base)
    slope = instance.slope
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(slope > 0, spare / slope, 1.0)
    return np.minimum(1.0, share.min(axis=1, initial=1.0))


def compile_instance(problem: PlacementProblem, factor: float | None = None) -> Instance:
    """The arrays of a problem.

    With `factor`, of a problem for most throughput, every model has to carry that much of its
    reference; without, leaving it costs its weight.
    """
    kinds = {kind.name: number for number, kind in enumerate(problem.types)}
    table = _Table(problem, kinds)
    groups = _apart_groups(problem)
    large = min(SLOT_GROUP, sum(model.count for model in problem.models))
    slots = [g for g, group in enumerate(groups) if len(group) >= large][:SLOTS]
    group_of: dict[str, list[int]] = defaultdict(list)
    for g, group in enumerate(groups):
        for name in group:
            group_of[name].append(g)
    items = []
    must = MANDATORY * max([1.0, *(pool.price for pool in problem.pools)])
    rules = _Rules(problem)
    single = single_rows(
        problem, {m.name: _rate(problem, m, factor) for m in problem.models}, kinds
    )
    places: list[Any] = []  # of each item's rows in the table of single models, or after it
    number = 0
    flexible = problem.objective == "max-throughput" and factor is None
    for members in _bundles(problem):
        apart = [g for name, _ in members for g in group_of[name]]
        if len(members) == 1:
            place, rate, replicas = single.of(members[0][1])
        else:
            start = len(table.base)
            rate, replicas = table.bundle(members, factor)
            place = len(single.type_of) + np.arange(start, len(table.base))
        if len(set(apart)) < len(apart):  # members that exclude each other
            place = place[:0]
        places.append(place)
        rows = slice(number, number + len(place))
        number = rows.stop
        penalty = sum(model.weight for _, model in members) if flexible else must
        items.append(
            Item(
                members[0][0],
                members,
                rows,
                rate,
                replicas,
                penalty,
                tuple(g for g in apart if g not in slots),
                *rules.of(members),
            )
        )
    order = np.concatenate(places) if places else np.zeros(0, int)
    return _finish(
        problem, kinds, table, single, order, items, [set(groups[g]) for g in slots], flexible
    )


def with_own_slots(instance: Instance) -> Instance | None:
    """The instance with a slot for each of the models that need most replicas; None without such.

    A device holds one replica of a model, which the aggregated relaxation does not see by itself.
    """
    heavy = []
    for item in instance.items:
        if item.rows.start == item.rows.stop or not item.rate:
            continue
        use = (instance.base[item.rows] + instance.slope[item.rows]).max(axis=1)
        lean = int((use / instance.throughput[item.rows]).argmin()) + item.rows.start
        replicas = item.rate / float(instance.throughput[lean])
        if replicas >= HEAVY:
            heavy.append((-replicas, item.rows.start, item.rows))
    if not heavy:
        return None
    own = np.zeros((len(instance.base), min(SLOTS, len(heavy))))
    for column, (_, _, rows) in enumerate(sorted(heavy, key=lambda h: h[:2])[:SLOTS]):
        own[rows, column] = 1.0
    return replace(
        instance,
        base=np.hstack([instance.base, own]),
        slope=np.hstack([instance.slope, np.zeros_like(own)]),
        limited=np.hstack([instance.limited, np.ones((len(instance.types), own.shape[1]), bool)]),
    )


@dataclass
class _Table:
    """Rows of models that are kept together, as they are gathered."""

    problem: PlacementProblem
    kinds: dict[str, int]
    type_of: list[int] = field(default_factory=list)
    base: list[list[float]] = field(default_factory=list)
    slope: list[list[float]] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)
    options: list[tuple[int, ...]] = field(default_factory=list)
    slowdown: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.room: list[list[float | None]] = []
        for kind in self.problem.types:
            room = free_room(self.problem, kind)
            self.room.append(room)
        self.names = [(r.name, r.scales) for r in self.problem.resources]

    def bundle(
        self, members: tuple[tuple[str, Model], ...], factor: float | None
    ) -> tuple[float, int]:
        """Models on the same devices: each device carries the same part of every rate."""
        rates = [_rate(self.problem, model, factor) for _, model in members]
        by_type: list[dict[int, list[tuple[int, Option]]]] = []
        for _, model in members:
            mine: dict[int, list[tuple[int, Option]]] = defaultdict(list)
            for k, option in worthwhile(self.problem, model):
                mine[self.kinds[option.device_type]].append((k, option))
            by_type.append(mine)
        replicas = max(model.min_replicas for _, model in members)
        rated = any(rate is not None for rate in rates)
        for kind in set(by_type[0]).intersection(*by_type[1:]):
            every = product(*(mine[kind] for mine in by_type))
            for chosen in islice(every, COMBINATIONS):
                parts = [
                    option.throughput / rate if rate else 1.0
                    for (_, option), rate in zip(chosen, rates, strict=True)
                    if rate is not None
                ]
                part = min([1.0, *parts])  # of all rates, that one device carries
                if part <= 0:
                    continue
                uses = [
                    (option, rate, part * rate / option.throughput if rate is not None else 1.0)
                    for (_, option), rate in zip(chosen, rates, strict=True)
                ]
                self._row(tuple(k for k, _ in chosen), uses, part, members[0][1])
        return (1.0 if rated else float(replicas)), replicas

    def _row(
        self,
        options: tuple[int, ...],
        uses: list[tuple[Option, float | None, float]],
        throughput: float,
        model: Model,
    ) -> None:
        """One row, unless it fits on no device; `uses`: option, rate, share at full throughput."""
        kind = self.kinds[uses[0][0].device_type]
        room = self.room[kind]
        base, slope = [], []
        rated = any(rate is not None for _, rate, _ in uses)
        for (name, scales), free in zip(self.names, room, strict=True):
            hard = soft = 0.0
            for option, rate, part in uses:
                need = option.needs.get(name, 0.0)
                if scales and rate is not None:
                    standing = option.standing.get(name, 0.0)
                    hard += standing
                    soft += (need - standing) * part
                else:
                    hard += need
            if free is None:
                hard = soft = 0.0
            elif free <= 0:  # the server alone fills it, or more than that
                if hard > 0 or free < 0:
                    return
                hard, soft = 0.0, (2.0 / SLACK if soft > 0 else 0.0)
            else:
                hard, soft = hard / free, soft / free
            if hard > 1 + SLACK:
                return
            base.append(hard)
            slope.append(soft)
        self.type_of.append(kind)
        self.base.append(base)
        self.slope.append(slope)
        self.throughput.append(throughput if rated else 1.0)
        self.options.append(options)
        limit = model.latency_limit_ms
        option = uses[0][0]
        spare = 1.0
        if limit is not None and option.latency_ms is not None:
            spare = 1.0 - option.latency_ms / limit
        busy = sum(option.busy * part for option, _, part in uses)
        self.slowdown.append((busy, max(o.sensitivity for o, _, _ in uses), spare))


def _rate(problem: PlacementProblem, model: Model, factor: float | None) -> float | None:
    """What its replicas carry together; None where each runs at its measured load."""
    if problem.objective == "min-hardware":
        return model.rate
    return reference(model) * (1.0 if factor is None else factor)


def _bundles(problem: PlacementProblem) -> Iterator[tuple[tuple[str, Model], ...]]:
    """The copies of models, those that rules keep together as one."""
    copies = dict(problem.copies())
    leader = {name: name for name in copies}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for group in problem.rules.together:
        names = [n for rule in group for n in _named(copies, rule)]
        for other in names[1:]:
            leader[find(other)] = find(names[0])
    bundles: dict[str, list[tuple[str, Model]]] = defaultdict(list)
    for name, model in copies.items():
        bundles[find(name)].append((name, model))
    yield from (tuple(bundle) for bundle in bundles.values())


def _named(copies: dict[str, Model], rule: str) -> list[str]:
    if rule in copies:
        return [rule, *(n for n, m in copies.items() if m.name == rule and n != rule)]
    return [n for n, m in copies.items() if m.name == rule]


def _apart_groups(problem: PlacementProblem) -> list[tuple[str, ...]]:
    """Copies of which two may not share a device; groups that overlap into a clique are one."""
    if not problem.rules.apart:
        return []
    copies = dict(problem.copies())
    groups = [
        tuple(dict.fromkeys(n for rule in group for n in _named(copies, rule)))
        for group in problem.rules.apart
    ]
    edges: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        for name in group:
            edges[name].update(group)
    if len(groups) > 1 and all(len(edges[n]) == len(copies) for n in copies):
        return [tuple(copies)]
    return [group for group in groups if len(group) > 1]


class _Rules:
    """Rules by the copy that they speak of."""

    def __init__(self, problem: PlacementProblem) -> None:
        rules = problem.rules
        self.pins: dict[str, set[str]] = defaultdict(set)
        for model, device in rules.pins:
            self.pins[model].add(device)
        self.forbidden: dict[str, set[str]] = defaultdict(set)
        for model, device in rules.forbidden:
            self.forbidden[model].add(device)
        self.spread = set(rules.spread)
        self.current: dict[str, set[str]] = defaultdict(set)
        for model, device in problem.current:
            self.current[model].add(device)

    def of(self, members: tuple[tuple[str, Model], ...]) -> tuple[Any, ...]:
        """Pins, forbidden devices, spread, current devices, and how many members run now."""
        pins: frozenset[str] | None = None
        forbidden: set[str] = set()
        for name, model in members:
            mine = self.pins.get(name, set()) | self.pins.get(model.name, set())
            if mine:  # pins of several members: a device that all of them name
                pins = frozenset(mine) if pins is None else pins & mine
            forbidden |= self.forbidden.get(name, set()) | self.forbidden.get(model.name, set())
        spread = any({name, model.name} & self.spread for name, model in members)
        where = [self.current[name] for name, _ in members if name in self.current]
        current = frozenset(set.intersection(*where)) if where else frozenset()
        return pins, frozenset(forbidden), spread, current, len(where)


def _finish(
    problem: PlacementProblem,
    kinds: dict[str, int],
    table: _Table,
    single: SingleRows,
    order: Any,
    items: list[Item],
    slots: list[set[str]],
    flexible: bool,
) -> Instance:
    n, resources = len(order), len(problem.resources)
    base = np.zeros((n, max(1, resources + len(slots))))
    slope = np.zeros_like(base)
    base[:, :resources] = joined(single.base, table.base, order)
    slope[:, :resources] = joined(single.slope, table.slope, order)
    limited = np.zeros((len(kinds), base.shape[1]), bool)
    for t, room in enumerate(table.room):
        limited[t, :resources] = [free is not None for free in room]
    for number, group in enumerate(slots):
        limited[:, resources + number] = True
        for item in items:
            if any(name in group for name, _ in item.members):
                base[item.rows, resources + number] = 1.0
    slowdown = joined(single.slowdown, table.slowdown, order)
    options = [*single.options, *table.options]
    return Instance(
        problem,
        tuple(items),
        tuple(kinds),
        _classes(problem, kinds),
        joined(single.type_of, table.type_of, order),
        base,
        slope,
        joined(single.throughput, table.throughput, order),
        tuple(options[place] for place in order.tolist()),
        limited,
        slowdown[:, 0],
        slowdown[:, 1],
        slowdown[:, 2],
        bool((slowdown[:, 1] > 0).any()),
        flexible,
    )


def _classes(problem: PlacementProblem, kinds: dict[str, int]) -> tuple[DeviceClass, ...]:
    excluded = set(problem.rules.excluded_devices)
    groups: dict[tuple[int, float, tuple[tuple[int, ...], ...]], list[Pool]] = defaultdict(list)
    for pool in problem.pools:
        if pool.count == 0 or pool.name in excluded:
            continue
        partitions = tuple(tuple(kinds[s] for s in p) for p in pool.partitions)
        groups[kinds[pool.device_type], pool.price, partitions].append(pool)
    found = []
    for (kind, price, partitions), pools in groups.items():
        count: int | None = 0
        for pool in pools:
            if pool.count is None:
                count = None
                break
            count += pool.count - len({n for n in excluded if owns(pool, n)})  # type: ignore[operator]
        found.append(DeviceClass(kind, price, partitions, tuple(pools), count))
    return tuple(found)


def owns(pool: Pool, name: str) -> bool:
    """Whether the pool has a device of this name."""
    if pool.count == 1:
        return name == pool.name
    number = name.removeprefix(pool.name + "-")
    if number == name or not number.isdecimal() or number.startswith("0"):
        return False
    return pool.count is None or int(number) <= pool.count


def exclusive(instance: Instance) -> bool:
    """Whether no device of any type holds two replicas: some resource forbids every pair."""
    if not len(instance.base):
        return False
    for t in set(instance.type_of.tolist()):
        base = instance.base[instance.type_of == t]
        if not (base.min(axis=0) > 0.5 + SLACK).any():
            return False
    return True
