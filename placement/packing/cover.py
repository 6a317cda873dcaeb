"""The best choice among known packings, by CP-SAT: set covering with a hint."""

from __future__ import annotations

from collections import Counter
from typing import Any

from placement.packing.instance import Packing
from placement.packing.table import Table
from placement.result import Deadline


def cover(
    table: Table,
    counts: Any,
    left: list[int | None],
    columns: list[Packing],
    limit: int,
    deadline: Deadline,
    seed: int,
    work_s: float,
    hint: list[Packing] | None = None,
) -> list[Packing] | None:
    """Bins for all copies that cost at most `limit`; None when none were found.

    Nothing follows from None: packings that are not known may do. `work_s` is CP-SAT's
    deterministic time.
    """
    from ortools.sat.python import cp_model

    if deadline.left_s <= 0.05:
        return None
    cp = cp_model.CpModel()
    uses = []
    holders: dict[int, list[Any]] = {int(i): [] for i in counts.nonzero()[0]}
    per_kind: list[list[Any]] = [[] for _ in table.entries]
    hinted = Counter((p.bin, tuple(i for i, _ in p.contents)) for p in hint or ())
    for packing in columns:
        copies = Counter(i for i, _ in packing.contents)
        most = max(-(-int(counts[i]) // number) for i, number in copies.items())
        x = cp.new_int_var(0, most, "")
        uses.append(x)
        if hint is not None:
            cp.add_hint(x, hinted[packing.bin, tuple(i for i, _ in packing.contents)])
        per_kind[packing.bin].append(x)
        for i, number in copies.items():
            holders[i].append(number * x)
    for i, terms in holders.items():
        if not terms:
            return None
        cp.add(sum(terms) >= int(counts[i]))
    for kind, xs in enumerate(per_kind):
        available = left[kind]
        if available is not None and xs:
            cp.add(sum(xs) <= available)
    prices = [kind.price for kind in table.instance.bins]
    cost = sum(prices[p.bin] * x for p, x in zip(columns, uses, strict=True))
    cp.add(cost <= limit)
    cp.minimize(cost)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = work_s
    solver.parameters.max_time_in_seconds = max(0.01, deadline.left_s - 0.05)
    deadline.watch(solver.stop_search)
    try:
        status = solver.solve(cp)
    finally:
        deadline.unwatch(solver.stop_search)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return None
    rest = Counter({int(i): int(counts[i]) for i in counts.nonzero()[0]})
    bins = []
    for packing, x in zip(columns, uses, strict=True):
        for _ in range(solver.value(x)):
            kept = []
            for i, k in packing.contents:  # what is covered twice is left out
                if rest[i] > 0:
                    rest[i] -= 1
                    kept.append((i, k))
            if kept:
                bins.append(Packing(packing.bin, tuple(kept)))
    return bins
