"""Replicas that carry nothing, or next to nothing, given up.

The search counts devices, not replicas: on a device that is paid for anyway it may leave a replica
with no share at all, or with the ten-thousandth that another one's rounding left over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from math import ceil

from placement.problem import PlacementProblem
from placement.problem.colocation import SHARES
from placement.solver.assignment import Replica

DUST = 0.05  # of what the model carries in all
MOST = 400  # replicas, beyond which those that carry a little are left alone


def tidy(
    problem: PlacementProblem,
    replicas: tuple[Replica, ...],
    holds: Callable[[tuple[Replica, ...]], bool],
) -> tuple[Replica, ...]:
    """The replicas without idle ones, and with the least ones merged into others where that holds.

    Models that rules keep together, and replicas that a model must have, are left alone.
    """
    models = dict(problem.copies())
    bound = {name for group in problem.rules.together for name in group}
    kept = {(r.model, r.seat): r for r in replicas}
    number = Counter(r.model for r in replicas)
    carried: dict[str, float] = defaultdict(float)
    for r in replicas:
        carried[r.model] += models[r.model].options[r.k].throughput * r.share
    for place in sorted(kept, key=lambda place: kept[place].share):
        name, seat = place
        if number[name] < 2:
            continue
        model, small = models[name], kept[place]
        others = [other for other in kept if other[0] == name and other != place]
        alone = not any(other[1] == seat for other in kept if other != place)
        if len(others) < max(1, model.min_replicas) or {name, model.name} & bound or alone:
            continue
        rest = {other: r for other, r in kept.items() if other != place}
        if not small.share:
            kept = rest
            continue
        amount = model.options[small.k].throughput * small.share
        if amount > DUST * carried[name] or len(replicas) > MOST or not model.rate:
            continue
        for other in others:
            throughput = model.options[kept[other].k].throughput
            share = kept[other].share + ceil(amount / throughput) if throughput else SHARES + 1
            merged = {**rest, other: replace(kept[other], share=share)}
            if share <= SHARES and holds(tuple(merged.values())):
                kept = merged
                break
    return tuple(kept.values())
