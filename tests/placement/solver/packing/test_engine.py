import itertools
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.solver.packing import (
    BinType,
    Choice,
    ItemType,
    PackingInstance,
    solve_packing,
)
from placement.solver.packing.bounds import surrogate
from placement.solver.packing.cardinality import count
from placement.solver.packing.closing import close
from placement.solver.packing.engine import _weights
from placement.solver.packing.instance import faults, price_of
from placement.solver.packing.progress import Progress
from placement.solver.packing.table import table
from placement.solver.result import Deadline


def one_resource(capacity, *sizes):
    return PackingInstance(
        tuple(ItemType((Choice(0, (size,)),)) for size in sizes), (BinType((capacity,)),)
    )


def least_price(instance):
    """By trying every option of each copy in every open bin and in a new one of each type."""
    copies = [item for item in instance.items for _ in range(item.count)]

    @cache
    def rest(number, bins):
        if number == len(copies):
            return 0
        best = float("inf")
        for option in copies[number].options:
            kind = instance.bins[option.bin]
            used = sum(b == option.bin for b, _ in bins)
            for place in {b for b in bins if b[0] == option.bin} | {(option.bin, None)}:
                opened = place[1] is None
                if opened and kind.available is not None and used >= kind.available:
                    continue
                room = kind.capacity if opened else place[1]
                left = tuple(r - n for r, n in zip(room, option.needs, strict=True))
                if min(left) < 0:
                    continue
                others = list(bins)
                if not opened:
                    others.remove(place)
                after = tuple(sorted([*others, (option.bin, left)]))
                best = min(best, rest(number + 1, after) + (kind.price if opened else 0))
        return best

    return rest(0, ())


@st.composite
def instances(draw):
    resources = draw(st.integers(1, 3))
    bins = tuple(
        BinType(
            tuple(draw(st.integers(0, 12)) for _ in range(resources)),
            draw(st.integers(0, 4)),
            draw(st.sampled_from([None, None, 1, 2, 3])),
        )
        for _ in range(draw(st.integers(1, 3)))
    )
    items = tuple(
        ItemType(
            tuple(
                Choice(
                    draw(st.integers(0, len(bins) - 1)),
                    tuple(draw(st.integers(0, 9)) for _ in range(resources)),
                )
                for _ in range(draw(st.integers(1, 3)))
            ),
            draw(st.integers(1, 2)),
        )
        for _ in range(draw(st.integers(1, 4)))
    )
    return PackingInstance(items, bins)


@settings(max_examples=250)
@given(instances())
def test_no_claim_contradicts_brute_force(instance):
    best = least_price(instance)
    result = solve_packing(instance, Deadline(0.5))
    assert result.bound <= best
    if result.status == "infeasible":
        assert best == float("inf")
    elif result.bins is not None:
        assert faults(instance, result.bins) == []
        assert price_of(instance, result.bins) == result.price >= best
        assert result.status == "feasible" or result.price == best
    if all(kind.available is None for kind in instance.bins):
        assert result.status == ("infeasible" if best == float("inf") else "optimal")


@settings(max_examples=150)
@given(instances())
def test_choosing_among_all_packings_contradicts_no_brute_force(instance):
    """Whatever is unproven before it: the steps that come first are left out here."""
    best = least_price(instance)
    if best in {0, float("inf")}:
        return
    made = table(instance)
    search = Progress(made, Deadline(5), 0)
    rough = surrogate(made)
    most = [made.worth(b) for b in range(len(instance.bins))]
    y = [np.ones(len(kind.capacity)) for kind in instance.bins]
    search.raise_bound(rough.bound)
    before = -1
    while before < search.bound and not search.done:
        before = search.bound
        close(search, rough.sizes, most, y)
        assert search.bound <= best
    assert search.price is None or search.price >= best


def test_more_bins_of_equal_capacity_are_never_needed_for_copies_than_one_by_one():
    """7 copies of 4 in bins of 10: two each, four bins."""
    instance = PackingInstance((ItemType((Choice(0, (4,)),), 7),), (BinType((10,)),))
    result = solve_packing(instance, Deadline(5))
    assert (result.status, result.price) == ("optimal", 4)


def test_options_save_a_bin():
    """Each alone wants 6 of 10 of one resource; half of them may want the other resource."""
    both = (Choice(0, (6, 1)), Choice(0, (1, 6)))
    instance = PackingInstance((ItemType(both, 6),), (BinType((10, 10)),))
    result = solve_packing(instance, Deadline(5))
    assert (result.status, result.price) == ("optimal", 3)


def test_a_dear_large_bin_beats_two_cheap_small_ones():
    """Three of size 4: one bin of 12 at price 5, or three bins of 5 at 2 each."""
    options = (Choice(0, (4,)), Choice(1, (4,)))
    instance = PackingInstance((ItemType(options, 3),), (BinType((12,), 5), BinType((5,), 2)))
    assert solve_packing(instance, Deadline(5)).price == 5


def test_bins_that_are_there_cost_nothing_but_are_few():
    """Two bins for nothing take two of five; the other three are paid."""
    options = (Choice(0, (6,)), Choice(1, (6,)))
    instance = PackingInstance((ItemType(options, 5),), (BinType((10,), 0, 2), BinType((10,), 3)))
    result = solve_packing(instance, Deadline(5))
    assert (result.status, result.price) == ("optimal", 9)


def test_an_item_too_large_is_infeasible():
    assert solve_packing(one_resource(10, 11), Deadline(1)).status == "infeasible"


# Scholl N2W3B1R7 (A. Scholl, R. Klein and C. Jürgens, "Bisonic", 1997), whose relaxation GLOP's
# primal simplex once could not solve; optimum 14.
N2W3B1R7 = """
168 168 167 167 167 166 166 165 165 164 164 164 163 163 163 163 163 160 159 159 159 158
158 158 158 158 158 156 156 155 155 154 154 153 152 150 149 148 147 145 145 144 144 144
143 143 142 138 138 138 138 137 137 136 134 134 133 133 132 132 131 131 130 130 130 129
129 128 128 125 125 124 123 123 123 123 122 122 122 122 121 121 121 120 120 120 119 119
118 118 118 117 115 115 115 115 114 114 114 114
"""

# Falkenauer u120_00 and t60_00 (E. Falkenauer, "A hybrid grouping genetic algorithm for bin
# packing", 1996; OR-Library): optima 48 and 20.
U120_00 = """
98 98 98 96 96 94 93 93 92 91 91 90 87 86 85 85 84 84 84 84 84 83 83 82 82 81 80 80 80 79
79 78 78 78 78 76 74 74 73 73 73 73 72 71 70 70 70 69 69 69 67 66 64 62 62 60 60 59 58 58
58 57 57 57 57 55 55 55 50 49 49 49 47 46 46 45 45 44 44 43 43 43 43 42 42 42 42 42 41 41
41 39 39 38 38 38 37 36 36 36 35 33 33 33 32 32 30 30 30 29 28 27 27 26 25 25 24 23 23 20
"""
T60_00 = """
495 474 473 472 466 450 445 444 439 430 419 414 410 395 372 370 366 366 366 363 361 357
355 351 350 350 347 320 315 307 303 299 298 298 292 288 287 283 275 275 274 273 273 272
272 271 269 269 268 263 262 261 259 258 255 254 252 252 252 251
"""


@pytest.mark.parametrize(("capacity", "bins", "text"), [(150, 48, U120_00), (1000, 20, T60_00)])
def test_published_optima_are_proven(capacity, bins, text):
    result = solve_packing(one_resource(capacity, *map(int, text.split())), Deadline(30))
    assert (result.status, result.price) == ("optimal", bins)


def test_a_relaxation_that_the_primal_simplex_loses_is_solved():
    sizes = Counter(map(int, N2W3B1R7.split()))
    items = tuple(ItemType((Choice(0, (size,)),), count) for size, count in sizes.items())
    result = solve_packing(PackingInstance(items, (BinType((1000,)),)), Deadline(30))
    assert (result.status, result.price) == ("optimal", 14)


def test_items_that_only_go_by_twos_take_half_as_many_bins():
    """Each has a third of all resources but one: of three items all have a third of some."""
    kinds = [tuple(1 if r == missing else 34 for r in range(4)) for missing in range(4)]
    items = tuple(ItemType((Choice(0, needs),), 15) for needs in kinds)
    search = Progress(table(PackingInstance(items, (BinType((100,) * 4),))), Deadline(30), 0)
    rough = surrogate(search.table)
    search.raise_bound(rough.bound)
    assert search.bound < 30
    count(search, _weights(search.table, rough))
    assert search.bound == 30


def test_the_same_seed_gives_the_same_bins():
    """Three resources, 40 items: ends by proof, so that time decides nothing."""
    sizes = [(7 * i % 31 + 5, 11 * i % 29 + 4, 13 * i % 23 + 6) for i in range(40)]
    instance = PackingInstance(
        tuple(ItemType((Choice(0, size),)) for size in sizes), (BinType((100, 100, 100)),)
    )
    first, second = (solve_packing(instance, Deadline(60), seed=3) for _ in range(2))
    assert first.status == "optimal"
    assert first == second


@pytest.mark.parametrize("price", [10**12, 10**18, 2**70])
def test_prices_of_any_size_are_exact_where_they_have_a_common_measure(price):
    """Three of size 4: one bin of 12 at five prices, or three bins of 5 at two prices each."""
    options = (Choice(0, (4,)), Choice(1, (4,)))
    instance = PackingInstance(
        (ItemType(options, 3),), (BinType((12,), 5 * price), BinType((5,), 2 * price))
    )
    result = solve_packing(instance, Deadline(5))
    assert (result.status, result.price, result.bound) == ("optimal", 5 * price, 5 * price)


def test_prices_without_a_common_measure_keep_an_honest_bound():
    options = (Choice(0, (4,)), Choice(1, (4,)))
    prices = (5 * 10**18 + 1, 2 * 10**18 - 1)
    instance = PackingInstance(
        (ItemType(options, 3),), (BinType((12,), prices[0]), BinType((5,), prices[1]))
    )
    result = solve_packing(instance, Deadline(5))
    assert result.price == prices[0]
    assert prices[0] * (1 - 1e-8) < result.bound <= prices[0]


def test_thousands_of_copies_are_packed():
    """3 + 5 in bins of 8, twenty thousand times."""
    items = (ItemType((Choice(0, (3,)),), 20_000), ItemType((Choice(0, (5,)),), 20_000))
    result = solve_packing(PackingInstance(items, (BinType((8,)),)), Deadline(10))
    assert (result.status, result.price) == ("optimal", 20_000)


def test_a_thousand_models_are_packed_within_the_time_limit():
    sizes = [(1 + i % 7, 5 + i * 37 % 60) for i in range(1000)]
    instance = PackingInstance(
        tuple(ItemType((Choice(0, size),)) for size in sizes), (BinType((15, 100)),)
    )
    deadline = Deadline(2)
    result = solve_packing(instance, deadline)
    assert deadline.spent_s < 3
    assert result.price <= 1.05 * result.bound


@pytest.mark.parametrize("unit", [10**8, 2**60, 10**40])
def test_capacities_of_any_size_are_packed_as_small_ones(unit):
    """3 + 5 and 4 + 4 in bins of 8."""
    instance = one_resource(8 * unit + 1, *(n * unit for n in (3, 5, 4, 4)))
    assert solve_packing(instance, Deadline(5)).price == 2
    # What fills a bin to the last unit may be missed, but no bound is wrong.
    odd = one_resource(8 * unit, 5 * unit + 1, 5 * unit - 1, 3 * unit - 1, 3 * unit - 3)
    result = solve_packing(odd, Deadline(5))
    assert result.bound <= 2 <= result.price <= 3
    assert solve_packing(one_resource(8 * unit, 9 * unit + 1), Deadline(5)).status == "infeasible"


def test_the_deadline_holds():
    """300 items of five resources, half a second."""
    numbers = itertools.count(1)
    sizes = [tuple(37 * next(numbers) % 401 + 50 for _ in range(5)) for _ in range(300)]
    instance = PackingInstance(
        tuple(ItemType((Choice(0, size),)) for size in sizes), (BinType((1000,) * 5),)
    )
    deadline = Deadline(0.5)
    result = solve_packing(instance, deadline)
    assert deadline.spent_s < 1.0
    assert result.bins is None or faults(instance, result.bins) == []


def test_progress_is_told():
    told = []
    solve_packing(
        one_resource(10, *[4, 5, 6, 3, 2, 7] * 5),
        Deadline(5),
        on_progress=lambda price, bound: told.append((price, bound)),
    )
    prices = [price for price, _ in told if price is not None]
    assert prices
    assert prices == sorted(prices, reverse=True)
    assert told[-1][0] >= told[-1][1]
