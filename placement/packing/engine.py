"""Fill, bound, generate, cover, repack: until the price is proven or the time is up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from placement.packing.best_fit import best_fit
from placement.packing.bounds import Surrogate, farley, surrogate
from placement.packing.compact import SMALL, compact, size
from placement.packing.cover import cover
from placement.packing.filling import Values, fill
from placement.packing.generation import Generation, Master
from placement.packing.instance import (
    Packing,
    PackingInstance,
    PackingResult,
    faults,
    price_of,
)
from placement.packing.neighbourhood import repack
from placement.packing.table import Table, table
from placement.result import Deadline

PASSES = 40  # of filling before column generation, at most
NARROW, WIDE = (4, 60), (10, 240)  # width and window of the first passes, and of later ones
DISTINCT = 1600  # item types up to which packings are generated
ROUNDS = 10_000
SIZES = (30, 45, 60, 80)  # items of a neighbourhood


class _Search:
    """The best bins and bound so far."""

    def __init__(
        self,
        table: Table,
        deadline: Deadline,
        seed: int,
        on_progress: Callable[[int | None, int], None] | None,
    ) -> None:
        self.table = table
        self.deadline = deadline
        self.seed = seed
        self.random = np.random.default_rng(seed)
        self.bins: list[Packing] | None = None
        self.price: int | None = None
        self.bound = 0
        self.method = ""
        self._tell = on_progress

    @property
    def done(self) -> bool:
        return self.price is not None and self.price <= self.bound

    @property
    def over(self) -> bool:
        return self.done or self.deadline.left_s <= 0

    def offer(self, bins: list[Packing] | None, method: str) -> bool:
        """Take the bins if they are complete and cost less; whether they did."""
        if bins is None:
            return False
        price = price_of(self.table.instance, bins)
        if self.price is not None and price >= self.price:
            return False
        wrong = faults(self.table.instance, bins)
        if wrong:  # a fault of ours: better no answer than a wrong one
            raise AssertionError(f"A packing does not hold: {'; '.join(wrong[:3])}")
        self.bins, self.price, self.method = bins, price, method
        self._progress()
        return True

    def raise_bound(self, bound: int) -> None:
        if bound > self.bound:
            self.bound = bound
            self._progress()

    def _progress(self) -> None:
        if self._tell is not None:
            self._tell(self.price, self.bound)


def solve_packing(
    instance: PackingInstance,
    deadline: Deadline,
    seed: int = 0,
    on_progress: Callable[[int | None, int], None] | None = None,
) -> PackingResult:
    """The cheapest bins for all items that are found before the deadline, with a proven bound.

    `on_progress` is called with the price and the bound whenever one gets better. The same
    instance and seed give the same answer when the search ends before the deadline.
    """
    wanted = [item for item in instance.items if item.count > 0]
    if not wanted:
        return PackingResult("optimal", (), 0, 0, "nothing to pack")
    if not all(any(instance.fits(option) for option in item.options) for item in wanted):
        return PackingResult("infeasible", None, None, 0, "no bin is large enough")
    search = _Search(table(instance), deadline, seed, on_progress)
    rough = surrogate(search.table)
    search.raise_bound(rough.bound)
    y = _weights(search.table, rough)
    left = [kind.available for kind in instance.bins]
    search.offer(best_fit(search.table, rough.sizes, search.table.counts, left, y), "best fit")
    _fill(search, rough, y)
    small = np.count_nonzero(search.table.counts) <= DISTINCT
    values, most = rough.sizes, [search.table.worth(b) for b in range(len(instance.bins))]
    if not search.over and small:
        values, most = _generate(search, values, most, y)
    if not search.over and _compact(search):
        return PackingResult("infeasible", None, None, 0, "CP-SAT")
    if not search.over and search.bins:
        _repack(search, values, most, y)
    if search.bins is None:
        return PackingResult("unknown", None, None, search.bound, "filling")
    assert search.price is not None
    return PackingResult(
        "optimal" if search.done else "feasible",
        tuple(search.bins),
        search.price,
        min(search.bound, search.price),
        search.method,
    )


def _weights(table: Table, rough: Surrogate) -> list[Any]:
    return [
        rough.weights[b] * table.worth(b) / np.maximum(entries.capacity, 1)
        for b, entries in enumerate(table.entries)
    ]


def _fill(search: _Search, rough: Surrogate, y: list[Any]) -> None:
    table = search.table
    left = [kind.available for kind in table.instance.bins]
    passes = Values(rough.sizes)
    failed = 0
    part = search.deadline.part(0.3 if len(table.counts) <= DISTINCT else 0.9)
    for number in range(PASSES):
        if search.over or failed >= 5 or (number > 0 and part.left_s <= 0):
            return
        values = passes.next(search.random, 0.03)
        width, window = NARROW if number < 4 or len(values) > DISTINCT else WIDE
        bins = fill(table, values, table.counts, left, y, search.random, part, width, window=window)
        failed = 0 if search.offer(bins, "filling") else failed + 1
        if bins is not None:
            passes.learn(table, bins)


def _generate(search: _Search, values: Any, most: list[int], y: list[Any]) -> tuple[Any, list[int]]:
    table = search.table
    left = [kind.available for kind in table.instance.bins]
    master = Master(table, table.counts, left)
    if search.bins:
        master.add(search.bins)
    generation = Generation(table, master, y)
    generation.best_values, generation.most = values, most
    generation.relaxed = farley(table, values, most)
    share_s = search.deadline.left_s * 0.3  # for repacking
    half = search.deadline.part(0.5)
    generation.run(half, ROUNDS, search.price)
    search.raise_bound(generation.bound)
    values, most = generation.best_values, generation.most
    if not most:
        return values, most
    for attempt in range(12):
        if search.over or search.deadline.left_s < share_s:
            return values, most
        _dive(search, generation, attempt)
        if search.over or search.price is None:
            continue
        limit = search.price - table.instance.step()
        if attempt % 4 == 1 and len(master.columns) <= 12_000:
            search.offer(
                cover(
                    table, table.counts, left, master.columns, limit,
                    search.deadline.part(0.3), search.seed, 1.5 + attempt / 2,
                ),
                "column generation and CP-SAT",
            )  # fmt: skip
    return values, most


def _compact(search: _Search) -> bool:
    """Ask CP-SAT for all that is left, if that is little; whether there is no packing at all."""
    limit = None if search.price is None else search.price - search.table.instance.step()
    if size(search.table, limit) > SMALL:
        return False
    bins, bound = compact(search.table, limit, search.bound, search.deadline.part(0.5), search.seed)
    if bound is not None:
        search.offer(bins, "CP-SAT")
        search.raise_bound(bound)
        return False
    search.raise_bound(search.price or 0)
    return search.bins is None


def _dive(search: _Search, generation: Generation, attempt: int) -> None:
    """Fix the packings that the relaxation uses most, solve again for the rest, and so on."""
    table = search.table
    counts = table.counts.copy()
    left = [kind.available for kind in table.instance.bins]
    fixed: list[Packing] = []
    part = generation
    limit = None if search.price is None else search.price - table.instance.step()
    while counts.any() and search.deadline.left_s > 0:
        if part is not generation:
            part.run(search.deadline, 8, None, 1)
        if not part.master.solve(search.deadline):
            return
        amounts = np.asarray(part.master.amounts())
        if attempt:
            amounts = amounts * search.random.uniform(0.8, 1.0, len(amounts))
        before = len(fixed)
        quota = max(1, int(counts.sum()) // 40)
        for column in np.argsort(-amounts, kind="stable"):
            if len(fixed) - before >= quota or (amounts[column] < 0.3 and len(fixed) > before):
                break
            if amounts[column] <= 1e-6:
                break
            packing = part.master.columns[column]
            owners = np.asarray([i for i, _ in packing.contents])
            need = np.bincount(owners, minlength=len(counts))
            for _ in range(max(1, int(amounts[column] + 1e-6))):
                available = left[packing.bin]
                if (need > counts).any() or available == 0:
                    break
                counts = counts - need
                fixed.append(packing)
                if available is not None:
                    left[packing.bin] = available - 1
        values = np.maximum(1, generation.best_values)
        rest = fill(
            table, values, counts, left, generation.y, search.random, search.deadline, 8, window=120
            ) if counts.any() else []  # fmt: skip
        if rest is not None and search.offer([*fixed, *rest], "column generation and diving"):
            limit = (search.price or 0) - table.instance.step()
        if rest is not None:
            generation.master.add(rest)
        if search.done or len(fixed) == before or not counts.any():
            return
        if limit is not None and price_of(table.instance, fixed) >= limit:
            return
        master = Master(table, counts, left)
        master.add(
            p for p in part.master.columns
            if (np.bincount([i for i, _ in p.contents], minlength=len(counts)) <= counts).all()
        )  # fmt: skip
        master.add(rest or ())
        following = Generation(table, master, generation.y)
        part = following


def _repack(search: _Search, values: Any, most: list[int], y: list[Any]) -> None:
    """Neighbourhood after neighbourhood."""
    assert search.bins is not None
    failed = 0
    while not search.over and failed < 400:
        size = SIZES[min(len(SIZES) - 1, failed // 10 % len(SIZES))]
        bins, better = repack(
            search.table, search.bins, values, most, y, search.random, size, search.deadline
        )
        failed = 0 if better and search.offer(bins, "repacking a few bins") else failed + 1
