"""Few items: every bin one by one, by CP-SAT. It proves what packings of one bin leave open.

x[i,k,d] in 0..count[i]   copies of item i by option k in bin d     used[d] in {0,1}
sum_{k,d} x[i,k,d] = count[i]     sum_{i,k} need[i,k,r]·x[i,k,d] <= capacity[d,r]·used[d]
minimise sum price[d]·used[d]
"""

from __future__ import annotations

from typing import Any

from placement.solver.packing.cover import run
from placement.solver.packing.instance import Packing
from placement.solver.packing.table import Table
from placement.solver.result import Deadline

SMALL = 4_000  # variables up to which this is tried


def numbers(table: Table, limit: int | None) -> list[int]:
    """How many bins of each type can be of use at a price of at most `limit`."""
    copies = int(table.counts.sum())
    found = []
    for kind in table.instance.bins:
        most = copies if kind.available is None else min(copies, kind.available)
        if limit is not None and kind.price > 0:
            most = min(most, limit // kind.price)
        found.append(max(0, most))
    return found


def size(table: Table, limit: int | None) -> int:
    """The number of variables."""
    return sum(n * len(e.owner) for n, e in zip(numbers(table, limit), table.entries, strict=True))


def compact(
    table: Table, limit: int | None, bound: int, deadline: Deadline, seed: int
) -> tuple[list[Packing] | None, int | None]:
    """Bins at a price of at most `limit`, and the bound; a bound of None: there are none."""
    from ortools.sat.python import cp_model

    cp = cp_model.CpModel()
    of_item: dict[int, list[Any]] = {i: [] for i in range(len(table.counts))}
    bins: list[tuple[int, list[tuple[int, Any]], Any]] = []
    for b, (number, entries) in enumerate(zip(numbers(table, limit), table.entries, strict=True)):
        before: Any = None
        for _ in range(number):
            used = cp.new_bool_var("")
            inside = [
                (e, cp.new_int_var(0, int(table.counts[i]), ""))
                for e, i in enumerate(entries.owner)
            ]
            for e, x in inside:
                of_item[int(entries.owner[e])].append(x)
            for r, capacity in enumerate(entries.capacity):
                cp.add(sum(int(entries.needs[e, r]) * x for e, x in inside) <= int(capacity) * used)
            for e, x in inside:  # also where nothing is needed
                cp.add(x <= int(table.counts[entries.owner[e]]) * used)
            load = sum((e + 1) * x for e, x in inside)
            if before is not None:  # equal bins in one order
                cp.add(before >= load)
            before = load
            bins.append((b, inside, used))
    for i, terms in of_item.items():
        cp.add(sum(terms) == int(table.counts[i]))
    cost = sum(table.instance.bins[b].price * used for b, _, used in bins)
    if bins and limit is not None:
        cp.add(cost <= limit)
    if bins and bound:
        cp.add(cost >= bound)
    cp.minimize(cost)
    solver, status = run(cp, deadline, seed)
    if status == cp_model.INFEASIBLE:
        return None, None
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return None, bound
    found = [
        table.packing(b, [e for e, x in inside for _ in range(solver.value(x))])
        for b, inside, used in bins
        if solver.value(used)
    ]
    proven = round(solver.objective_value) if status == cp_model.OPTIMAL else bound
    return [packing for packing in found if packing.contents], proven
