"""Where a device holds one replica at most: devices and replicas are counted, not named.

    n[i,j] in Z+   replicas of item i in row j
    y[c,q] in Z+   GPUs of class c used whole or in partition q

    sum_j throughput[j]·n[i,j] >= rate[i],  sum_j n[i,j] >= replicas[i]
    sum_{i, j of type t} n[i,j] <= sum_{c,q} slices of type t in q · y[c,q]
    sum_q y[c,q] <= count[c],  sum y <= max_devices
    minimise sum price[c]·y[c,q]

Rules and moves are left out, so that in their presence this is a relaxation. MIG with one model to
a slice is the case in practice (as in Lee et al., "ParvaGPU", SC 2024).
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import ceil, floor
from typing import Any

from placement.problem.numbers import common_unit, fraction
from placement.solver.exact import run
from placement.solver.incumbent import Gpu, Incumbent
from placement.solver.instance import Instance
from placement.solver.result import Deadline

FINE = 10**9  # figures that have no small common unit are counted in parts of the largest


def count_devices(
    instance: Instance, incumbent: Incumbent, deadline: Deadline, seed: int = 0
) -> tuple[float, bool]:
    """The proven bound, and whether `incumbent`, empty before, now holds what attains it.

    The bound is infinite when there is no layout.
    """
    from ortools.sat.python import cp_model

    cp = cp_model.CpModel()
    shares = _most_shares(instance)
    n: dict[int, Any] = {}
    total = 0
    seats: dict[int, Any] = dict.fromkeys(range(len(instance.types)), 0)
    for item in instance.items:
        rows = [j for j in range(item.rows.start, item.rows.stop) if shares[j] > 0]
        rate = Fraction(item.rate)
        carries = {j: Fraction(float(instance.throughput[j])) * shares[j] for j in rows}
        if len(item.members) == 1 and item.members[0][1].rate:
            model = item.members[0][1]
            rate = fraction(model.rate or 0.0)
            carries = {
                j: fraction(model.options[instance.options[j][0]].throughput) * shares[j]
                for j in rows
            }
        unit = common_unit([rate, *carries.values()])
        if max([rate, *carries.values()], default=Fraction(0)) / unit > FINE:
            unit = max([rate, *carries.values()]) / FINE
        for j in rows:
            number = max(item.replicas, ceil(rate / carries[j]) if carries[j] else 0)
            n[j] = cp.new_int_var(0, number, "")
            total += number
        if rate > 0:
            if not rows:
                return float("inf"), False
            cp.add(sum(ceil(carries[j] / unit) * n[j] for j in rows) >= floor(rate / unit))
        if item.replicas:
            if not rows:
                return float("inf"), False
            cp.add(sum(n[j] for j in rows) >= item.replicas)
    ways: list[tuple[int, tuple[int, ...] | None, Any]] = []
    price = common_unit(fraction(cls.price) for cls in instance.classes)
    goal: Any = 0
    every: Any = 0
    for c, cls in enumerate(instance.classes):
        here: Any = 0
        for partition in (None, *cls.partitions):
            y = cp.new_int_var(0, min(total, cls.count if cls.count is not None else total), "")
            ways.append((c, partition, y))
            for kind, count in Counter(partition or (cls.type,)).items():
                seats[kind] = seats[kind] + count * y
            here += y
        if cls.count is not None:
            cp.add(here <= cls.count)
        every = every + here  # `+=` would add to `here` itself, where `every` was 0
        goal += int(fraction(cls.price) / price) * here
    for t in range(len(instance.types)):
        mine = [n[j] for j in n if instance.type_of[j] == t]
        if mine:
            cp.add(sum(mine) <= seats[t])
    if instance.problem.max_devices is not None:
        cp.add(every <= instance.problem.max_devices)
    cp.minimize(goal)
    status, solver = run(cp, deadline, seed, 8, None)
    if status == cp_model.INFEASIBLE:
        return float("inf"), False
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return 0.0, False
    bound = float(ceil(solver.best_objective_bound - 1e-6) * price)
    counts = {j: solver.value(v) for j, v in n.items()}
    used = [(c, partition, solver.value(y)) for c, partition, y in ways]
    return bound, _realise(instance, incumbent, shares, counts, used)


def _most_shares(instance: Instance) -> list[Fraction]:
    """The most that a replica alone on its device carries, by row."""
    shares = []
    for base, slope in zip(instance.base, instance.slope, strict=True):
        share = Fraction(1)
        for b, s in zip(base, slope, strict=True):
            if s > 0 and b + s > 1 + 1e-10:
                share = min(share, Fraction(max(0.0, 1.0 - b)) / Fraction(float(s)))
        shares.append(share)
    return shares


def _realise(
    instance: Instance,
    incumbent: Incumbent,
    shares: list[Fraction],
    counts: dict[int, int],
    used: list[tuple[int, tuple[int, ...] | None, int]],
) -> bool:
    """Open the seats, and fill them with the replicas, those of one item on distinct GPUs."""
    free: dict[int, list[tuple[Gpu, str | None]]] = {}
    for c, partition, number in used:
        cls = instance.classes[c]
        for _ in range(number):
            gpu = incumbent.any_closed(c)
            if gpu is None:
                return False
            incumbent.reserve(gpu)
            for kind in partition or (cls.type,):
                free.setdefault(kind, []).append((gpu, None))
    for waiting in free.values():
        waiting.reverse()
    for i, item in enumerate(instance.items):
        for j in range(item.rows.start, item.rows.stop):
            for _ in range(counts.get(j, 0)):
                left, replicas = incumbent.missing(i)
                if left <= 0 and replicas <= 0:
                    break
                kind = int(instance.type_of[j])
                if not free.get(kind):
                    return False
                taken = {id(incumbent.gpu_of[d]) for d in incumbent.of[i]}
                place = next(
                    (x for x in range(len(free[kind]) - 1, -1, -1)
                     if id(free[kind][x][0]) not in taken),
                    len(free[kind]) - 1,
                )  # fmt: skip
                gpu, _ = free[kind].pop(place)
                name = incumbent.next_seat(gpu, kind)
                if name is None:
                    return False
                d = incumbent.open_seat(gpu, kind, name)
                share = min(float(shares[j]), left / float(instance.throughput[j]))
                incumbent.put(i, d, j, share)
        left, replicas = incumbent.missing(i)
        incumbent.recount(i)
        if left > 0 or replicas > 0:
            return False
    return True
