"""A packing problem in integers: items, their options, and the bins that they go into.

Items i with count[i] equal copies and options k = (bin type, need per resource); bin types b with a
capacity per resource, a price and perhaps a limit on their number. Every copy goes once into one
bin as one of its options; needs in a bin add up and stay within its capacity; the bins' prices
together are to be least. Needs and prices are not negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd
from typing import Literal


@dataclass(frozen=True)
class Choice:
    """One way to pack an item: into this type of bin, where it takes so much."""

    bin: int  # index of the bin type
    needs: tuple[int, ...]


@dataclass(frozen=True)
class ItemType:
    """Equal items; each copy goes into some bin by one of the options."""

    options: tuple[Choice, ...]
    count: int = 1


@dataclass(frozen=True)
class BinType:
    """Equal bins."""

    capacity: tuple[int, ...]  # what is left of it: a server's baseline is off
    price: int = 1
    available: int | None = None  # None: as many as wanted


@dataclass(frozen=True)
class PackingInstance:
    """What is to be packed, and into what."""

    items: tuple[ItemType, ...]
    bins: tuple[BinType, ...]

    def fits(self, option: Choice) -> bool:
        """Whether the option fits into an empty bin of its type."""
        capacity = self.bins[option.bin].capacity
        return all(n <= c for n, c in zip(option.needs, capacity, strict=True))

    def step(self) -> int:
        """All prices that bins can add up to are multiples of this."""
        return gcd(*(kind.price for kind in self.bins)) or 1


@dataclass(frozen=True)
class Packing:
    """One bin and what is in it: (item, option) once for each copy."""

    bin: int
    contents: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PackingResult:
    """The best packing found, and the price below which there is none."""

    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    bins: tuple[Packing, ...] | None
    price: int | None
    bound: int
    method: str


def price_of(instance: PackingInstance, bins: Iterable[Packing]) -> int:
    """What the bins cost together."""
    return sum(instance.bins[packing.bin].price for packing in bins)


def faults(instance: PackingInstance, bins: Iterable[Packing]) -> list[str]:
    """Every condition of the problem that the packing breaks, counted anew from the input."""
    found = []
    placed: Counter[int] = Counter()
    taken: Counter[int] = Counter()
    for packing in bins:
        kind = instance.bins[packing.bin]
        taken[packing.bin] += 1
        use = [0] * len(kind.capacity)
        for item, k in packing.contents:
            option = instance.items[item].options[k]
            placed[item] += 1
            if option.bin != packing.bin:
                found.append(f"item {item} has no option {k} for bin type {packing.bin}")
            use = [u + n for u, n in zip(use, option.needs, strict=True)]
        if any(u > c for u, c in zip(use, kind.capacity, strict=True)):
            found.append(f"a bin of type {packing.bin} holds {use} of {kind.capacity}")
    for item, kind_of_item in enumerate(instance.items):
        if placed[item] != kind_of_item.count:
            found.append(f"item {item} is packed {placed[item]} of {kind_of_item.count} times")
    for number, kind in enumerate(instance.bins):
        if kind.available is not None and taken[number] > kind.available:
            found.append(f"{taken[number]} bins of type {number}, of {kind.available}")
    return found
