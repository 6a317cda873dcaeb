"""Figures of any size in units that 64 bits hold the products of."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

from placement.solver.packing.instance import BinType, Choice, PackingInstance

LARGEST = 2**36  # capacity: times item values (10^7), counted over all items, below 2^63
DEAREST = 10**9  # price: times the number of packings that a solver chooses from, below 2^63


def price_unit(instance: PackingInstance) -> int:
    """In which unit prices are at most DEAREST; a common measure of them where that will do."""
    step = instance.step()
    dearest = max((kind.price for kind in instance.bins), default=0)
    return step * max(1, -(-dearest // (step * DEAREST)))


def need_units(instance: PackingInstance) -> list[int]:
    """Per resource the unit in which capacities are at most LARGEST: 1, or one that measures needs.

    Where no common measure of the needs is large enough, the unit is no measure of them.
    """
    units = []
    for r, largest in enumerate(map(max, zip(*(b.capacity for b in instance.bins), strict=True))):
        if largest <= LARGEST:
            units.append(1)
            continue
        measure = gcd(*(o.needs[r] for item in instance.items for o in item.options)) or largest
        units.append(measure if largest // measure <= LARGEST else -(-largest // LARGEST))
    return units


def measured(instance: PackingInstance, units: list[int]) -> bool:
    """Whether every need is a multiple of its unit, so that nothing is lost by it."""
    return all(
        need % unit == 0
        for item in instance.items
        for option in item.options
        for need, unit in zip(option.needs, units, strict=True)
    )


def in_units(
    instance: PackingInstance, units: list[int], price: int, *, loose: bool = False
) -> PackingInstance:
    """The instance in these units: what packs there packs here; with `loose`, the other way."""
    needs = _down if loose else _up
    room = _up if loose else _down
    items = tuple(
        replace(
            item,
            options=tuple(
                Choice(o.bin, tuple(map(needs, o.needs, units))) for o in item.options
            ),
        )
        for item in instance.items
    )  # fmt: skip
    bins = tuple(
        BinType(tuple(map(room, b.capacity, units)), b.price // price, b.available)
        for b in instance.bins
    )
    return PackingInstance(items, bins)


def _up(figure: int, unit: int) -> int:
    return -(-figure // unit)


def _down(figure: int, unit: int) -> int:
    return figure // unit
