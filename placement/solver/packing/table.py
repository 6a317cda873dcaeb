"""An instance as arrays, without options that another of the same item never loses against."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from placement.solver.packing.instance import Choice, Packing, PackingInstance
from placement.solver.packing.knapsack import LARGEST_VALUE, Entries


@dataclass(frozen=True)
class Table:
    """The entries of each bin type, and how item values relate to prices."""

    instance: PackingInstance
    entries: tuple[Entries, ...]
    counts: Any  # (items,)
    value_of_money: Fraction  # item values are dual prices times this

    def worth(self, kind: int) -> int:
        """The price of a bin in units of item values."""
        return int(self.instance.bins[kind].price * self.value_of_money)

    def rows(self, kind: int, items: Any) -> Any:
        """The entries of these items (in rising order) for a bin type."""
        owner = self.entries[kind].owner
        starts = np.searchsorted(owner, items, side="left")
        lengths = np.searchsorted(owner, items, side="right") - starts
        before = np.cumsum(lengths) - lengths
        return np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)

    def packing(self, kind: int, chosen: list[int]) -> Packing:
        """The entries of a bin as what they are in the instance."""
        entries = self.entries[kind]
        return Packing(
            kind, tuple(sorted((int(entries.owner[e]), int(entries.option[e])) for e in chosen))
        )


def table(instance: PackingInstance) -> Table:
    """The instance's arrays; options that fit no empty bin are left out."""
    resources = len(instance.bins[0].capacity)
    columns: list[list[tuple[int, int, tuple[int, ...]]]] = [[] for _ in instance.bins]
    for i, item in enumerate(instance.items):
        by_bin: dict[int, list[tuple[int, Choice]]] = {}
        for k, option in enumerate(item.options):
            if instance.fits(option):
                by_bin.setdefault(option.bin, []).append((k, option))
        for kind, options in by_bin.items():
            columns[kind] += [(i, k, needs) for k, needs in _undominated(options)]
    entries = tuple(
        Entries(
            np.asarray(kind.capacity, np.int64),
            np.asarray([needs for _, _, needs in rows], np.int64).reshape(len(rows), resources),
            np.asarray([i for i, _, _ in rows], np.int64),
            np.asarray([k for _, k, _ in rows], np.int64),
        )
        for kind, rows in zip(instance.bins, columns, strict=True)
    )
    dearest = max(kind.price for kind in instance.bins)
    return Table(
        instance,
        entries,
        np.asarray([item.count for item in instance.items], np.int64),
        Fraction(max(1, LARGEST_VALUE // max(dearest, 1)))
        if dearest <= LARGEST_VALUE
        else Fraction(LARGEST_VALUE, dearest),
    )


def _undominated(options: list[tuple[int, Choice]]) -> list[tuple[int, tuple[int, ...]]]:
    """The options (number, needs) that need more of something than any other; the leanest first."""
    ordered = sorted(options, key=lambda pair: (sum(pair[1].needs), pair[1].needs))
    if len(ordered) > 1:
        needs = np.asarray([option.needs for _, option in ordered])
        worse = (needs[:, None] <= needs[None, :]).all(axis=2)
        dominated: Any = np.triu(worse, 1).any(axis=0)  # of equals the first stays
        ordered = [pair for pair, out in zip(ordered, dominated, strict=True) if not out]
    return [(k, option.needs) for k, option in ordered]
