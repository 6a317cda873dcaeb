"""Fix the packings that the relaxation uses most, solve it again for the rest, and so on."""

from __future__ import annotations

from typing import Any

import numpy as np

from placement.solver.packing.filling import fill
from placement.solver.packing.generation import Generation, Master
from placement.solver.packing.instance import Packing, price_of
from placement.solver.packing.progress import Progress
from placement.solver.packing.table import Table

ROUNDS = 8  # of column generation after each fixing
LEAST = 0.3  # what is used less is not fixed while there is more


def dive(search: Progress, generation: Generation, attempt: int) -> None:
    """Offer the packings fixed with the rest filled, at every depth; later attempts fix slower."""
    table = search.table
    counts, left = table.counts.copy(), list(search.left)
    fixed: list[Packing] = []
    part = generation
    while counts.any() and search.deadline.left_s > 0:
        if part is not generation:
            part.run(search.deadline, ROUNDS, None, 1)
        if not part.master.solve(search.deadline):
            return
        amounts = np.asarray(part.master.amounts())
        if attempt > 1:
            amounts = amounts * search.random.uniform(0.8, 1.0, len(amounts))
        most = max(1, int(amounts.sum()) // (3 + 2 * attempt))
        new = _fixed(part.master.columns, amounts, counts, left, most)
        fixed += new
        values = np.maximum(1, generation.best_values)
        rest: list[Packing] | None = []
        if counts.any():
            rest = fill(
                table, values, counts, left, generation.y, search.random, search.deadline, 8,
                window=120,
            )  # fmt: skip
        if rest is not None:
            search.offer([*fixed, *rest], "column generation and diving")
            generation.master.add(rest)
        if search.done or not new or not counts.any():
            return
        if (
            search.price is not None
            and price_of(table.instance, fixed) >= search.price - search.step
        ):
            return
        part = _part(table, part, counts, left, generation.y, rest)


def _fixed(
    columns: list[Packing], amounts: Any, counts: Any, left: list[int | None], most: int
) -> list[Packing]:
    """At most about `most` packings, those of the largest amounts; taken off what is left."""
    fixed: list[Packing] = []
    for column in np.argsort(-amounts, kind="stable"):
        if len(fixed) >= most or amounts[column] < (LEAST if fixed else 1e-6):
            break
        packing = columns[column]
        need = np.bincount([i for i, _ in packing.contents], minlength=len(counts))
        for _ in range(max(1, int(amounts[column] + 1e-6))):
            available = left[packing.bin]
            if (need > counts).any() or available == 0:
                break
            counts -= need
            fixed.append(packing)
            if available is not None:
                left[packing.bin] = available - 1
    return fixed


def _part(
    table: Table,
    before: Generation,
    counts: Any,
    left: list[int | None],
    y: list[Any],
    rest: list[Packing] | None,
) -> Generation:
    """Column generation for the copies that are left, with the packings that still can be."""
    master = Master(table, counts.copy(), left)
    master.add(
        p for p in before.master.columns
        if (np.bincount([i for i, _ in p.contents], minlength=len(counts)) <= counts).all()
    )  # fmt: skip
    master.add(rest or ())
    return Generation(table, master, y)
