from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from placement.solver.packing import BinType, Choice, ItemType, PackingInstance
from placement.solver.packing.listing import least_values, listed
from placement.solver.packing.table import table
from placement.solver.result import Deadline


def an_instance(capacity, items):
    return PackingInstance(
        tuple(ItemType(tuple(Choice(0, n) for n in needs), count) for needs, count in items),
        (BinType(capacity),),
    )


@st.composite
def instances(draw):
    resources = draw(st.integers(1, 3))
    need = st.tuples(*[st.integers(0, 9)] * resources)
    items = draw(
        st.lists(
            st.tuples(st.lists(need, min_size=1, max_size=2), st.integers(1, 2)),
            min_size=1,
            max_size=5,
        )
    )
    return an_instance(tuple(draw(st.integers(9, 20)) for _ in range(resources)), items)


def every_packing(instance):
    """All multisets of items that fit, as sorted owners."""
    capacity = np.asarray(instance.bins[0].capacity)
    copies = [(i, item) for i, item in enumerate(instance.items) for _ in range(item.count)]
    for choice in product(*[(None, *range(len(item.options))) for _, item in copies]):
        inside = [
            (i, item.options[k].needs)
            for (i, item), k in zip(copies, choice, strict=True)
            if k is not None
        ]
        if inside and (np.sum([needs for _, needs in inside], axis=0) <= capacity).all():
            yield tuple(sorted(i for i, _ in inside))


@settings(max_examples=60)
@given(instances(), st.lists(st.integers(1, 30), min_size=5, max_size=5), st.integers(0, 60))
def test_a_list_holds_every_packing_worth_enough(instance, worths, least):
    made = table(instance)
    values = np.asarray(worths[: len(instance.items)], np.int64)
    y = np.ones(len(instance.bins[0].capacity))
    found = listed(made.entries[0], values, made.counts, least, y, Deadline(10), finished=False)
    owners = {tuple(sorted(int(made.entries[0].owner[e]) for e in packing)) for packing in found}
    expected = {
        packing for packing in every_packing(instance) if sum(worths[i] for i in packing) >= least
    }
    assert owners - {()} == expected


def test_finished_packings_have_no_room_for_more():
    """Of 10: 5 + 5 and 5 + 3 are full enough, but 5 + 3 leaves room for the 2."""
    made = table(an_instance((10,), [([(5,)], 2), ([(3,)], 1), ([(2,)], 1)]))
    values = np.asarray([5, 3, 2])
    found = listed(made.entries[0], values, made.counts, 8, np.ones(1), Deadline(10), finished=True)
    sizes = sorted(tuple(sorted(int(made.entries[0].needs[e, 0]) for e in p)) for p in found)
    assert sizes == [(2, 3, 5), (5, 5)]


def test_what_a_bin_holds_at_least_follows_from_what_is_left_over():
    """19 of 2 times 10: a bin leaves at most 1. At one bin the price is too low."""
    made = table(an_instance((10,), [([(5,)], 3), ([(4,)], 1)]))
    values = np.asarray([5, 4]) * 10**6
    most = [made.worth(0)]
    assert least_values(made, values, most, made.counts, 2) == [9 * 10**6]
    assert least_values(made, values, most, made.counts, 1) == []
