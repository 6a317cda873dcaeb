"""Bins filled to the brim."""

import random

from placement.solver.packing import BinType, Choice, ItemType, PackingInstance
from placement.solver.packing.progress import Progress
from placement.solver.packing.subset_sum import fill_up
from placement.solver.packing.table import table
from placement.solver.result import Deadline


def cut(bins: int, capacity: int, parts: int, seed: int) -> list[int]:
    """The sizes of items that fill so many bins without a gap."""
    draw = random.Random(seed)
    sizes = []
    for _ in range(bins):
        cuts = sorted(draw.sample(range(1, capacity), parts - 1))
        sizes += [b - a for a, b in zip([0, *cuts], [*cuts, capacity], strict=True)]
    return sizes


def filled(sizes: list[int], kind: BinType, bound: int) -> Progress:
    items = tuple(ItemType((Choice(0, (size,)),)) for size in sizes)
    search = Progress(table(PackingInstance(items, (kind,))), Deadline(60), 0)
    search.raise_bound(bound)
    fill_up(search)
    return search


def test_bins_that_were_cut_into_many_parts_are_full_again():
    for seed in range(5):
        search = filled(cut(20, 1000, 7, seed), BinType((1000,)), 20)
        assert search.done
        assert len(search.bins or ()) == 20


def test_no_more_bins_are_used_than_there_are():
    assert filled([6, 6, 6], BinType((10,), available=2), 3).bins is None


def test_items_that_need_nothing_lie_in_some_bin():
    assert filled([0, 7, 3, 0], BinType((10,)), 1).done
