"""Equal devices and models that need no more than a place: one device after the other is filled.

Vector bin packing with options. With a weight w[r] on each resource, an option costs the sum of
w[r]·need[r]/room[r], a model its cheapest option; no device takes models that cost more than 1
together, so the sum over models, for the weights that make it largest, bounds the number of
devices. Dual feasible functions of each resource alone bound it too (Fekete and Schepers, 2001).

Filling takes, for the device at hand, the model whose needs lie most along what is left of it
(the dot product of Panigrahy et al., "Heuristics for vector bin packing", 2011), among options that
cost little more than their model's cheapest; passes differ by noise on the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

from placement.assignment import Replica
from placement.colocation import Scale
from placement.fleet import Unit
from placement.options import usable
from placement.problem import PlacementProblem
from placement.result import Deadline

PASSES = 200
GRID = 12  # steps of the weights


@dataclass(frozen=True)
class _Taste:
    """What a pass prefers; a little noise on it makes passes differ."""

    waste: float = 1.05  # options above their model's cheapest times this are not used
    bulk: float = 0.2
    thrift: float = 1.0


@dataclass(frozen=True)
class Filled:
    """A layout, and the number of devices that none goes below."""

    replicas: tuple[Replica, ...] | None
    devices: int
    bound: int


def applies(problem: PlacementProblem, fleet: list[Unit]) -> bool:
    """Whether devices are equal and models ask for nothing but a place."""
    rules = problem.rules
    return (
        problem.objective == "min-hardware"
        and not problem.current
        and not any((rules.pins, rules.forbidden, rules.apart, rules.together, rules.spread))
        and len({unit.pool.name for unit in fleet}) == 1
        and not fleet[0].pool.partitions
        and all(not m.rate and m.min_replicas == 1 for m in problem.models)
    )


def fill(
    problem: PlacementProblem, scale: Scale, fleet: list[Unit], deadline: Deadline, seed: int = 0
) -> Filled | None:
    """The best of the passes that the time allows; None when a model fits on no device."""
    import numpy as np

    kind = next(k for k in problem.types if k.name == fleet[0].pool.device_type)
    room = scale.room(kind)
    limited = [r for r, limit in enumerate(room) if limit is not None and limit > 0]
    rows: list[list[float]] = []
    owner: list[int] = []
    numbers: list[int] = []
    names: list[str] = []
    by_model: dict[str, list[tuple[int, list[float]]]] = {}
    for name, model in problem.copies():
        if model.name not in by_model:
            fits = []
            for k, option in usable(model):
                needs = scale.needs(option)
                if option.device_type == kind.name and all(
                    limit is None or need <= limit for need, limit in zip(needs, room, strict=True)
                ):
                    fits.append((k, [needs[r] / (room[r] or 1) for r in limited]))
            by_model[model.name] = fits
        if not by_model[model.name]:
            return None
        for k, row in by_model[model.name]:
            rows.append(row)
            owner.append(len(names))
            numbers.append(k)
        names.append(name)
    if not limited:
        first = [numbers[owner.index(i)] for i in range(len(names))]
        seat = fleet[0].seats[0].name
        return Filled(tuple(Replica(n, k, seat) for n, k in zip(names, first, strict=True)), 1, 1)
    needs_array = np.asarray(rows)
    owners = np.asarray(owner)
    starts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    weights, surrogate = _surrogate(needs_array, starts)
    bound = max(
        ceil(surrogate - 1e-6),
        *(_alone(np.minimum.reduceat(needs_array[:, r], starts)) for r in range(len(limited))),
    )
    generator = np.random.default_rng(seed)
    best: list[tuple[int, int]] | None = None  # by model: (row, device)
    count = len(fleet)
    passes = 0
    rest = 0.7 * deadline.left_s  # is left to others, once there is a layout
    while passes == 0 or (deadline.left_s > rest and passes < PASSES and count > bound):
        noisy = weights * generator.uniform(0.8, 1.25, len(weights)) if passes else weights
        taste = _Taste()
        if passes:
            taste = _Taste(
                waste=generator.choice((1.02, 1.05, 1.1, 1.2)),
                bulk=generator.uniform(0.0, 0.6),
                thrift=generator.uniform(0.5, 2.5),
            )
        most = count if best is None else count - 1
        found = _pass(needs_array, owners, starts, noisy, len(names), most, taste, deadline)
        passes += 1
        if found is None:
            if deadline.left_s <= 0:
                break
            continue
        used = max(device for _, device in found) + 1
        if best is None or used < count:
            best, count = found, used
    if best is None:
        return Filled(None, 0, bound)
    replicas = tuple(
        Replica(names[i], numbers[row], fleet[device].seats[0].name)
        for i, (row, device) in enumerate(best)
    )
    return Filled(replicas, count, min(bound, count))


def _surrogate(needs: Any, starts: Any) -> tuple[Any, float]:
    """The weights, summing to 1, whose bound is greatest, and that bound."""
    import numpy as np

    resources = needs.shape[1]

    def value(weights: Any) -> float:
        return float(np.minimum.reduceat(needs @ weights, starts).sum())

    steps = GRID if resources <= 3 else 5
    grid = [
        np.asarray(point) / sum(point)
        for point in product(range(steps + 1), repeat=resources)
        if sum(point) == steps
    ]
    best = max(grid, key=value)
    width = 1.0 / steps
    for _ in range(4):  # finer around the best
        around = [best]
        for i in range(resources):
            for j in range(resources):
                if i != j and best[i] >= width / 2:
                    moved = best.copy()
                    moved[i] -= width / 2
                    moved[j] += width / 2
                    around.append(moved)
        best = max(around, key=value)
        width /= 2
    return best, value(best)


def _alone(sizes: Any) -> int:
    """The best of Fekete and Schepers' functions f(e) on the least needs of one resource."""
    import numpy as np

    sizes = np.sort(sizes)
    total = np.r_[0.0, np.cumsum(sizes)]
    best = float(total[-1])
    # Needs above 1 - e count whole, those below e not at all.
    for e in np.unique(np.r_[sizes[(sizes > 0) & (sizes <= 0.5)], 0.5]):
        low = int(np.searchsorted(sizes, e, side="left"))
        high = int(np.searchsorted(sizes, 1 - e + 1e-9, side="right"))
        best = max(best, float(len(sizes) - high + total[high] - total[low]))
    return ceil(best - 1e-6)


def _pass(
    needs: Any,
    owners: Any,
    starts: Any,
    weights: Any,
    models: int,
    limit: int,
    taste: _Taste,
    deadline: Deadline,
) -> list[tuple[int, int]] | None:
    """One filling: the option row and device of each model; None past the limit or the time."""
    import numpy as np

    costs = needs @ weights
    cheapest = np.minimum.reduceat(costs, starts)
    keep = np.flatnonzero(costs <= cheapest[owners] * taste.waste + 1e-12)
    rows, of, value = needs[keep], owners[keep], cheapest[owners[keep]]
    chosen: list[tuple[int, int]] = [(-1, -1)] * models
    taken = np.zeros(models, dtype=bool)
    left = models
    device = 0
    while left:
        if device >= limit:
            return None
        free = np.ones(needs.shape[1])
        # What stays too large for this device is looked at no more: the set only shrinks.
        here = np.arange(len(rows))
        while len(here):
            here = here[(rows[here] <= free + 1e-12).all(axis=1)]
            if not len(here):
                break
            # Along what is left, bulky models first, little paid above the cheapest option.
            score = rows[here] @ (weights * free) + taste.bulk * value[here]
            score -= taste.thrift * (rows[here] @ weights - value[here])
            best = int(here[int(np.argmax(score))])
            free = np.maximum(0.0, free - rows[best])
            model = int(of[best])
            chosen[model] = (int(keep[best]), device)
            left -= 1
            here = here[of[here] != model]
            taken[model] = True
        alive = ~taken[of]
        rows, of, value, keep = rows[alive], of[alive], value[alive], keep[alive]
        device += 1
        if deadline.left_s <= 0:
            return None
    return chosen
