"""Every packing of one bin that can take part where the price is to be no more than a target.

Item values of which no bin of type b holds more than z[b], scaled so that this is its price: the
bins of a packing at the target price leave unused, together, the target less the items' value. So
none leaves more than that slack, and what leaves more takes no part. All of it is counted in
integers, and a list is complete or there is none.

Packings grow item by item. Each relaxation (one resource alone, or all weighted into one) tells the
most value that later items can add to what is left, by dynamic programming: what cannot reach the
least value any more is dropped. With one resource every step is thus part of a listed packing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from placement.solver.packing.knapsack import Entries
from placement.solver.packing.table import Table
from placement.solver.result import Deadline

LISTED = 100_000  # packings of a bin type, and beginnings of them, that are kept
FINEST = 10_000  # units in which a relaxation counts a capacity, at most
CELLS = 16_000_000  # of a relaxation's table


def least_values(
    table: Table, values: Any, most: list[int], counts: Any, price: int
) -> list[int] | None:
    """Per bin type, what a bin holds at least in packings of these items at this price.

    None where nothing follows (bins that cost nothing); an empty list where the price is too low.
    """
    money, bins = table.value_of_money, table.instance.bins
    if any(kind.price == 0 for kind in bins):
        return None
    scale = max(Fraction(z) / (kind.price * money) for z, kind in zip(most, bins, strict=True))
    slack = scale * price * money - int((values.astype(object) * counts).sum())
    if slack < 0:
        return []
    return [max(0, int(-(-(scale * kind.price * money - slack) // 1))) for kind in bins]


@dataclass(frozen=True)
class _Step:
    """The choice of one item: how many copies of it, or one copy in which option."""

    owner: int
    entries: list[int]
    times: int


@dataclass(frozen=True)
class _Relaxation:
    """Resources weighted into one: needs and room in whole units, rounded down."""

    weights: Any  # (R,), for parts of the capacity
    units: int
    exact: bool  # units are those of the only resource
    capacity: Any
    reach: list[Any]  # by step: the most value of later steps in so many units

    def upper(self, step: int, rem: Any) -> Any:
        """What the steps from this one on can add at most where so much is left."""
        return self.reach[step][_units(rem, self.capacity, self.weights, self.units, self.exact)]


FINE = 1 << 16  # parts of a capacity, before weights


def _units(needs: Any, capacity: Any, weights: Any, units: int, exact: bool) -> Any:
    if exact:
        return needs[:, 0]
    parts = needs * FINE // np.maximum(capacity, 1)
    return parts @ weights * units // (FINE * int(weights.sum()))


def listed(
    entries: Entries,
    values: Any,
    counts: Any,
    least: int,
    y: Any,
    deadline: Deadline,
    *,
    finished: bool,
) -> list[list[int]] | None:
    """The packings (as entries) worth at least `least`; None: too many.

    `finished` packings have no room for more. Items without value are left out.
    """
    good = (values[entries.owner] > 0) & (counts[entries.owner] > 0)
    live = np.flatnonzero(good & (entries.needs <= entries.capacity).all(axis=1))
    if not len(live) or int(entries.capacity.max()) > np.iinfo(np.int64).max // FINE:
        return None
    steps = list(_steps(entries, counts, live))
    relaxations = _relaxations(entries, values, steps, y, deadline)
    if not relaxations:
        return None
    rem = entries.capacity[None, :].astype(np.int64)
    got = np.zeros(1, np.int64)
    trail: list[tuple[Any, Any, Any]] = []  # parent, entry, times after each step
    for number, step in enumerate(steps):
        if deadline.left_s <= 0:
            return None
        here = np.arange(len(got))
        parts: list[tuple[Any, ...]] = [(here, np.full(len(got), -1), 0, rem, got)]
        for choice in step.entries:
            for copies in range(1, step.times + 1):
                need = entries.needs[choice] * copies
                fits = np.flatnonzero((rem >= need).all(axis=1))
                if not len(fits):
                    break
                value = got[fits] + int(values[step.owner]) * copies
                parts.append((fits, np.full(len(fits), choice), copies, rem[fits] - need, value))
        kept: list[tuple[Any, ...]] = []
        for parent, entry, times, after, value in parts:
            alive = value + relaxations[0].upper(number + 1, after) >= least
            for relaxation in relaxations[1:]:
                left = np.flatnonzero(alive)
                alive[left] = value[left] + relaxation.upper(number + 1, after[left]) >= least
            index = np.flatnonzero(alive)
            kept.append(
                (
                    parent[index],
                    entry[index],
                    np.full(len(index), times),
                    after[index],
                    value[index],
                )
            )
        parent, entry, times, rem, got = (np.concatenate(part) for part in zip(*kept, strict=True))
        if len(got) > LISTED:
            return None
        trail.append((parent, entry, times))
    return _read(entries, counts, steps, trail, rem, finished)


def _steps(entries: Entries, counts: Any, live: Any) -> Iterator[_Step]:
    """Items with the bulkiest first, each option in turn where there are several."""
    size = (entries.needs / np.maximum(entries.capacity, 1)).sum(axis=1)
    mine: dict[int, list[int]] = {}
    for entry in live[np.argsort(-size[live], kind="stable")].tolist():
        mine.setdefault(int(entries.owner[entry]), []).append(entry)
    for owner, choices in mine.items():
        if len(choices) == 1:
            yield _Step(owner, choices, int(counts[owner]))
            continue
        for _ in range(int(counts[owner])):
            yield _Step(owner, choices, 1)


def _relaxations(
    entries: Entries, values: Any, steps: list[_Step], y: Any, deadline: Deadline
) -> list[_Relaxation]:
    capacity = entries.capacity.astype(np.int64)
    resources = len(capacity)
    units = min(FINEST, CELLS // (len(steps) + 1))
    if units < 100:
        return []
    made = []
    exact = resources == 1 and int(capacity[0]) <= units
    mixed = np.asarray(y, float) * capacity
    rows = [1 + np.round(100 * mixed / max(float(mixed.max()), 1e-12)).astype(np.int64)]
    if resources > 1:
        rows += list(np.eye(resources, dtype=np.int64))
    for weights in rows:
        if deadline.left_s <= 0:
            return []
        room = int(capacity[0]) if exact else units
        sizes = _units(entries.needs, capacity, weights, room, exact)
        reach = [np.zeros(room + 1, np.int64)]
        for step in reversed(steps):
            value = int(values[step.owner])
            best = reach[-1].copy()
            for entry in step.entries:
                size = int(sizes[entry])
                if size == 0:
                    best = np.maximum(best, reach[-1] + value * step.times)
                    continue
                for times in range(1, min(step.times, room // size) + 1):
                    shifted = reach[-1][: room + 1 - size * times] + value * times
                    np.maximum(best[size * times :], shifted, out=best[size * times :])
            reach.append(best)
        reach.reverse()
        made.append(_Relaxation(weights, room, exact, capacity, reach))
    return made


def _read(
    entries: Entries,
    counts: Any,
    steps: list[_Step],
    trail: list[tuple[Any, Any, Any]],
    rem: Any,
    finished: bool,
) -> list[list[int]]:
    """The packings of the last states, each set of items once."""
    here = np.arange(len(rem))
    inside: list[list[int]] = [[] for _ in here]
    owners: dict[int, Any] = {}
    for step, (parent, entry, times) in zip(reversed(steps), reversed(trail), strict=True):
        used = owners.setdefault(step.owner, np.zeros(len(inside), np.int64))
        used += times[here]
        for row in np.flatnonzero(times[here]).tolist():
            inside[row] += [int(entry[here[row]])] * int(times[here[row]])
        here = parent[here]
    full = np.ones(len(inside), bool)
    for step in steps if finished else ():
        more = np.flatnonzero(full & (owners[step.owner] < counts[step.owner]))
        for choice in step.entries:
            full[more[(rem[more] >= entries.needs[choice]).all(axis=1)]] = False
    seen: set[tuple[int, ...]] = set()
    found = []
    for row in np.flatnonzero(full).tolist():
        key = tuple(sorted(int(entries.owner[e]) for e in inside[row]))
        if key not in seen:
            seen.add(key)
            found.append(inside[row])
    return found
