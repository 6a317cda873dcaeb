"""Fill, bound, generate, list, dive, cover, repack: until the price is proven or time is up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from placement.solver.packing.best_fit import best_fit
from placement.solver.packing.bounds import Surrogate, farley, surrogate
from placement.solver.packing.cardinality import count
from placement.solver.packing.closing import close
from placement.solver.packing.compact import SMALL, compact, size
from placement.solver.packing.cover import cover
from placement.solver.packing.diving import dive
from placement.solver.packing.filling import MANY, Values, fill
from placement.solver.packing.generation import Generation, Master
from placement.solver.packing.instance import Packing, PackingInstance, PackingResult, price_of
from placement.solver.packing.progress import Progress
from placement.solver.packing.repack import repack
from placement.solver.packing.subset_sum import fill_up
from placement.solver.packing.table import Table, table
from placement.solver.packing.units import in_units, measured, need_units, price_unit
from placement.solver.result import Deadline, Status

PASSES = 40  # of filling before column generation, at most
NARROW, WIDE = (4, 60), (10, 240)  # width and window of the first passes, and of later ones
SIDE_BY_SIDE = (4, 120), (6, 240)  # the same where bins are filled side by side
FEW = 400  # item types up to which filling soon gives way to column generation
DISTINCT = 1600  # item types up to which packings are generated
ROUNDS = 10_000
ATTEMPTS = 40  # of diving and covering
POOL = 12_000  # packings from which CP-SAT chooses
FULL = 0.03  # of a bin: where no more is left unused, packings are listed at once
LAST_S = 0.3  # a neighbourhood takes about so long
SIZES = (30, 45, 60, 80)  # items of a neighbourhood


def solve_packing(
    instance: PackingInstance,
    deadline: Deadline,
    seed: int = 0,
    on_progress: Callable[[int | None, int], None] | None = None,
    on_first: Callable[[tuple[Packing, ...]], None] | None = None,
) -> PackingResult:
    """The cheapest bins for all items that are found before the deadline, with a proven bound.

    `on_progress` is called with the price and the bound whenever one gets better, `on_first` with
    the first bins, which are there soon. The same
    instance and seed give the same answer when the search ends before the deadline. Figures too
    large for 64 bits are counted in larger units; what these round may leave a proof open.
    """
    units, unit = need_units(instance), price_unit(instance)
    if unit == 1 and all(u == 1 for u in units):
        return _solve(instance, deadline, seed, on_progress, on_first)

    def tell(price: int | None, bound: int) -> None:
        if on_progress is not None:
            on_progress(None if price is None else price * unit, bound * unit)

    result = _solve(in_units(instance, units, unit), deadline, seed, tell, on_first)
    bound = result.bound * unit
    if not measured(instance, units):
        loose = in_units(instance, units, unit, loose=True)
        fits = all(any(map(loose.fits, item.options)) for item in loose.items if item.count)
        if not fits:
            return PackingResult("infeasible", None, None, 0, "no bin is large enough")
        bound = surrogate(table(loose)).bound * unit
    if result.bins is None:
        exact = result.status == "infeasible" and measured(instance, units)
        return replace(result, status="infeasible" if exact else "unknown", bound=bound)
    price = price_of(instance, result.bins)
    status: Status = "optimal" if price <= bound else "feasible"
    return replace(result, status=status, price=price, bound=min(price, bound))


def _solve(
    instance: PackingInstance,
    deadline: Deadline,
    seed: int,
    on_progress: Callable[[int | None, int], None] | None,
    on_first: Callable[[tuple[Packing, ...]], None] | None,
) -> PackingResult:
    wanted = [item for item in instance.items if item.count > 0]
    if not wanted:
        return PackingResult("optimal", (), 0, 0, "nothing to pack")
    if not all(any(instance.fits(option) for option in item.options) for item in wanted):
        return PackingResult("infeasible", None, None, 0, "no bin is large enough")
    search = Progress(table(instance), deadline, seed, on_progress)
    rough = surrogate(search.table)
    search.raise_bound(rough.bound)
    y = _weights(search.table, rough)
    bins = best_fit(search.table, rough.sizes, search.table.counts, search.left, y, deadline)
    search.offer(bins, "best fit")
    if bins is not None and on_first is not None:
        on_first(tuple(bins))
    fill_up(search)
    if not search.over:
        count(search, y)
    values, most = rough.sizes, [search.table.worth(b) for b in range(len(instance.bins))]
    if not search.over and _is_full(search, values):
        close(search, values, most, y)
    _fill(search, rough, y)
    generation = None
    if not search.over and np.count_nonzero(search.table.counts) <= DISTINCT:
        generation = _generate(search, values, most, y)
        values, most = generation.best_values, generation.most
        _dive(search, generation, deadline.part(0.6))
    if not search.over and _compact(search):
        return PackingResult("infeasible", None, None, 0, "CP-SAT")
    if not search.over and search.bins:
        _repack(search, values, most, y)
    if not search.over and generation is not None:
        _dive(search, generation, deadline)
    if search.bins is None or search.price is None:
        return PackingResult("unknown", None, None, search.bound, "filling")
    return PackingResult(
        "optimal" if search.done else "feasible",
        tuple(search.bins),
        search.price,
        min(search.bound, search.price),
        search.method,
    )


def _is_full(search: Progress, values: Any) -> bool:
    """Whether the bound leaves next to nothing unused, so that few packings can take part."""
    table = search.table
    used = int((values.astype(object) * table.counts).sum())
    least = min(table.worth(b) for b in range(len(table.entries)))
    return search.bound * table.value_of_money - used < FULL * least


def _weights(table: Table, rough: Surrogate) -> list[Any]:
    return [
        rough.weights[b] * table.worth(b) / np.maximum(entries.capacity, 1)
        for b, entries in enumerate(table.entries)
    ]


def _fill(search: Progress, rough: Surrogate, y: list[Any]) -> None:
    table = search.table
    passes = Values(rough.sizes)
    failed = 0
    small = len(table.counts) <= DISTINCT
    # The more there is to pack, the less column generation finds in time.
    patience = 3 if len(table.counts) <= FEW else min(20, len(table.counts) // 50)
    part = search.deadline.part(0.3 if small else 0.9)
    for number in range(PASSES):
        if search.over or failed >= patience or (number > 0 and part.left_s <= 0):
            return
        values = passes.next(search.random, 0.03)
        quick, thorough = SIDE_BY_SIDE if len(values) > MANY else (NARROW, WIDE)
        first = number < 2 if len(values) > MANY else number < 4 or len(values) > DISTINCT
        width, window = quick if first else thorough
        until = part if number and search.bins else search.deadline
        bins = fill(
            table, values, table.counts, search.left, y, search.random, until, width, window=window
        )
        failed = 0 if search.offer(bins, "filling") else failed + 1
        if bins is not None:
            passes.learn(table, bins)


def _generate(search: Progress, values: Any, most: list[int], y: list[Any]) -> Generation:
    """Packings for the relaxation, and its bound."""
    table = search.table
    master = Master(table, table.counts, search.left)
    if search.bins:
        master.add(search.bins)
    generation = Generation(table, master, y)
    generation.best_values, generation.most = values, most
    generation.relaxed = farley(table, values, most)
    half = search.deadline.part(0.5)
    generation.run(half, ROUNDS, search.price, known=search.bound)
    if not generation.converged and half.left_s > 0:
        dive(search, generation, 0)  # the bound is as good as it gets: perhaps so are the packings
    if not search.over:
        generation.run(half, ROUNDS, search.price)
    search.raise_bound(generation.bound)
    return generation


def _dive(search: Progress, generation: Generation, until: Deadline) -> None:
    """Bins out of the packings known, in several ways."""
    table, columns = search.table, generation.master.columns
    for attempt in range(1, ATTEMPTS):
        if search.over or until.left_s <= 0:
            return
        if attempt == 2 and generation.converged:
            close(search, generation.best_values, generation.most, generation.y)
        elif attempt % 4 == 0 and search.price is not None and len(columns) <= POOL:
            covered = cover(
                table, table.counts, search.left, columns, search.price - search.step,
                search.deadline.part(0.3), search.seed + attempt, 1.5 + attempt / 4,
            )  # fmt: skip
            search.offer(covered.bins, "column generation and CP-SAT")
        else:
            dive(search, generation, attempt if attempt <= 6 else 1 + attempt % 6)


def _compact(search: Progress) -> bool:
    """Ask CP-SAT for all that is left, if that is little; whether there is no packing at all."""
    limit = None if search.price is None else search.price - search.step
    if size(search.table, limit) > SMALL:
        return False
    bins, bound = compact(search.table, limit, search.bound, search.deadline.part(0.5), search.seed)
    if bound is not None:
        search.offer(bins, "CP-SAT")
        search.raise_bound(bound)
        return False
    search.raise_bound(search.price or 0)
    return search.bins is None


def _repack(search: Progress, values: Any, most: list[int], y: list[Any]) -> None:
    """Neighbourhood after neighbourhood."""
    failed = 0
    while search.bins is not None and not search.done and failed < 400:
        if search.deadline.left_s < LAST_S:
            return
        size = SIZES[failed // 10 % len(SIZES)]
        bins, better = repack(
            search.table, search.bins, values, most, y, search.random, size, search.deadline
        )
        failed = 0 if better and search.offer(bins, "repacking a few bins") else failed + 1
