"""The rows of models by themselves, all of them at once.

As `worthwhile` of `placement/problem/options.py` finds them one by one: the options that meet the
latency limit, that no other one of the model on the same device type makes needless, and that fit a
device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from placement.problem import Model, PlacementProblem, PoolType

SLACK = 1e-10  # of a device, by which floats may exceed it; a tenth of the checker's tolerance


@dataclass(frozen=True)
class SingleRows:
    """By row; those of one model side by side, in the order of its options."""

    type_of: Any
    base: Any
    slope: Any
    throughput: Any
    options: tuple[tuple[int, ...], ...]
    slowdown: Any  # (n, 3): busy, sensitivity, spare
    first: Mapping[str, int]  # by model
    last: Mapping[str, int]
    rates: Mapping[str, float | None]

    def of(self, model: Model) -> tuple[Any, float, int]:
        """Places of the model's rows, its rate and its least number of replicas."""
        rate = self.rates[model.name]
        rows = np.arange(self.first[model.name], self.last[model.name])
        return rows, float(model.min_replicas) if rate is None else rate, model.min_replicas


def single_rows(
    problem: PlacementProblem, rates: Mapping[str, float | None], kinds: Mapping[str, int]
) -> SingleRows:
    """The rows of each model of the problem; `rates` as in its items, None at measured load."""
    models = problem.models
    lengths = np.array([len(model.options) for model in models], dtype=int)
    owner = np.repeat(np.arange(len(models)), lengths)
    options = [option for model in models for option in model.options]
    numbers: Any = np.arange(len(options)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    limit = np.array([_nan(model.latency_limit_ms) for model in models])[owner]
    rated = np.array([rates[model.name] is not None for model in models], dtype=bool)[owner]
    latency = np.array([_nan(option.latency_ms) for option in options])
    type_of = np.array([kinds[option.device_type] for option in options], dtype=int)
    throughput = np.array([option.throughput for option in options], dtype=float)
    busy = np.array([option.busy for option in options], dtype=float)
    sensitivity = np.array([option.sensitivity for option in options], dtype=float)
    needs: Any = np.empty((len(options), len(problem.resources)))
    standing: Any = np.zeros_like(needs)
    stands = any(option.standing for option in options)
    for r, resource in enumerate(problem.resources):
        name = resource.name
        needs[:, r] = [option.needs.get(name, 0.0) for option in options]
        if stands:
            standing[:, r] = [option.standing.get(name, 0.0) for option in options]
    scales = np.array([resource.scales for resource in problem.resources], dtype=bool)

    usable = np.isnan(limit) | (latency <= limit)
    price = _prices(
        problem, owner, usable, needs, standing, throughput, busy, sensitivity, latency, limit
    )
    kept = np.flatnonzero(
        usable & ~_needless(owner, type_of, usable, price) & (~rated | (throughput > 0))
    )
    del price  # by far the largest
    owner, numbers, limit, rated, latency, type_of, throughput, busy, sensitivity = (
        column[kept]
        for column in (
            owner, numbers, limit, rated, latency, type_of, throughput, busy, sensitivity,
        )
    )  # fmt: skip
    needs, standing = needs[kept], standing[kept]

    soft = np.where(rated[:, None] & scales, needs - standing, 0.0)
    hard = np.where(rated[:, None] & scales, standing, needs)
    rooms = [[_nan(free) for free in free_room(problem, kind)] for kind in problem.types]
    room = np.array(rooms).reshape(len(rooms), len(problem.resources))[type_of]
    none, full = np.isnan(room), room <= 0  # the server alone fills it, or more than that
    keep = ~(full & ((hard > 0) | (room < 0))).any(axis=1)
    safe = np.where(none | full, 1.0, room)
    hard = np.where(none | full, 0.0, hard / safe)
    soft = np.where(none, 0.0, np.where(full, np.where(soft > 0, 2.0 / SLACK, 0.0), soft / safe))
    keep &= (hard <= 1 + SLACK).all(axis=1)

    kept = np.flatnonzero(keep)
    counts = np.bincount(owner[kept], minlength=len(models))
    last = np.cumsum(counts)
    known = [(k,) for k in range(int(lengths.max(initial=0)))]
    with np.errstate(divide="ignore", invalid="ignore"):
        spare = np.where(np.isnan(limit) | np.isnan(latency), 1.0, 1.0 - latency / limit)
    names = [model.name for model in models]
    return SingleRows(
        type_of[kept],
        hard[kept],
        soft[kept],
        np.where(rated, throughput, 1.0)[kept],
        tuple(known[k] for k in numbers[kept].tolist()),
        np.stack([busy, sensitivity, spare], axis=1)[kept],
        dict(zip(names, (last - counts).tolist(), strict=True)),
        dict(zip(names, last.tolist(), strict=True)),
        rates,
    )


def free_room(problem: PlacementProblem, kind: PoolType) -> list[float | None]:
    """What a server leaves of each resource of a device; None where there is no limit."""
    room: list[float | None] = []
    for resource in problem.resources:
        limit = kind.capacity.get(resource.name)
        if limit is None:
            room.append(None)
            continue
        free = limit - kind.baseline.get(resource.name, 0.0)
        # What decimals leave of nothing: 0.3 - 0.1 - 0.2.
        room.append(0.0 if abs(free) < 1e-12 * limit else free)
    return room


def joined(first: Any, then: list[Any], order: Any) -> Any:
    """Rows of the two tables, one after the other, in this order."""
    if not then:
        return first[order]
    more = np.array(then, dtype=first.dtype).reshape(len(then), *first.shape[1:])
    return np.concatenate([first, more])[order]


def _prices(
    problem: PlacementProblem, owner: Any, usable: Any, needs: Any, standing: Any, throughput: Any,
    busy: Any, sensitivity: Any, latency: Any, limit: Any,
) -> Any:  # fmt: skip
    """What an option takes, by columns: one that takes no more of anything makes it needless."""
    least = problem.objective == "min-hardware"
    full = np.array([least and not model.rate for model in problem.models], dtype=bool)[owner]
    scales = np.array([resource.scales for resource in problem.resources], dtype=bool)
    each = np.where(throughput > 0, throughput, 1e-300)
    with np.errstate(over="ignore"):
        relative = (needs - standing) / each[:, None]
        busy_each = np.where(full, busy, busy / each)
    columns = [np.where(~full[:, None] & scales, relative, needs)]
    if standing.any():
        columns.append(np.where(~full[:, None] & scales, standing, 0.0))
    columns.append(np.where(full, 0.0, -throughput)[:, None])
    slowed = np.zeros(len(problem.models), bool)
    slowed[owner[usable & ((busy != 0) | (sensitivity != 0))]] = True
    if slowed.any():  # what it does to neighbours, and they to it
        slow = slowed[owner]
        late = np.where(np.isnan(latency) | np.isnan(limit) | (limit == 0), 0.0, latency)
        columns += [np.where(slow, c, 0.0)[:, None] for c in (busy_each, sensitivity, late)]
    return np.concatenate(columns, axis=1)


def _needless(owner: Any, type_of: Any, usable: Any, price: Any) -> Any:
    """Options that another usable one of the same model and type makes needless."""
    needless = np.zeros(len(owner), bool)
    mine = np.flatnonzero(usable)
    mine = mine[np.lexsort((mine, type_of[mine], owner[mine]))]
    group = owner[mine] * (int(type_of.max(initial=0)) + 1) + type_of[mine]
    distance = 1
    while True:
        pairs = np.flatnonzero(group[distance:] == group[:-distance])
        if not len(pairs):
            return needless
        a, b = mine[pairs], mine[pairs + distance]
        first, second = price[a], price[b]
        better = (first <= second).all(axis=1)
        needless[b[better]] = True  # of equals the first stays
        needless[a[(second <= first).all(axis=1) & ~better]] = True
        distance += 1


def _nan(figure: float | None) -> float:
    return np.nan if figure is None else figure
