"""Packing instances made up by a seed, after families of the literature, and of other kinds.

Where items were cut from full bins the optimum is known: their number.
"""

import random
from collections import Counter


def made_up(seed: int = 11, each: int = 3) -> list[dict]:
    """`each` of every family, in the format that `packing.py` reads."""
    rng = random.Random(seed)
    found = []
    for name, family in FAMILIES.items():
        for number in range(each):
            capacity, items, optimum = family(rng)
            found.append(
                {
                    "name": f"{name}_{number}",
                    "n": len(items),
                    "capacity": list(capacity),
                    "items": [[list(size), count] for size, count in Counter(items).items()],
                    "lb": optimum,
                    "ub": optimum,
                }
            )
    return found


def _uniform(rng):
    capacity = rng.choice((150, 1000, 10**9))
    low, high = capacity // 20, capacity * 7 // 10
    return (capacity,), [(rng.randint(low, high),) for _ in range(rng.choice((50, 200)))], None


def _schwerin(rng):
    """100 or 120 items of 15 to 20 % (Schwerin and Wäscher, 1997)."""
    return (1000,), [(rng.randint(150, 200),) for _ in range(rng.choice((100, 120)))], None


def _waescher(rng):
    """Few sizes, large capacity (after Wäscher and Gau, 1996)."""
    sizes = [rng.randint(10, 5000) for _ in range(rng.randint(30, 70))]
    return (10_000,), [(rng.choice(sizes),) for _ in range(rng.randint(60, 230))], None


def _hard28(rng):
    """160 to 200 items of up to 80 % that fill their bins to 99.9 % (after Schoenfield, 2002)."""
    while True:
        items = [(rng.randint(1, 800),) for _ in range(rng.choice((160, 180, 200)))]
        if -sum(size for (size,) in items) % 1000 < 60:
            return (1000,), items, None


def _cut(rng, capacity, bins, pieces, least):
    items = []
    for _ in range(bins):
        while True:
            number = rng.randint(*pieces)
            marks = sorted(rng.sample(range(1, capacity), number - 1))
            parts = [b - a for a, b in zip([0, *marks], [*marks, capacity], strict=True)]
            if min(parts) >= least:
                break
        items += [(part,) for part in parts]
    return (capacity,), items, bins


def _triplets(rng):
    """Full bins of three items each above a quarter (after Falkenauer, 1996)."""
    return _cut(rng, 1000, rng.choice((20, 60)), (3, 3), 250)


def _full(rng):
    """Full bins of two to six items: many ways to fill one, few to fill all."""
    return _cut(rng, 1000, 25, (2, 6), 60)


def _cardinality(rng):
    """Sizes, and no more than so many items in a bin."""
    most = rng.choice((3, 4, 5))
    return (1000, most), [(rng.randint(20, 500), 1) for _ in range(rng.choice((100, 200)))], None


def _large_vectors(rng):
    sizes = [(rng.randint(200, 800), rng.randint(200, 800)) for _ in range(rng.choice((100, 200)))]
    return (1000, 1000), sizes, None


def _opposed_vectors(rng):
    """What needs much of one resource needs little of the other."""
    sizes = [rng.randint(20, 400) for _ in range(150)]
    return (1000, 1000), [(size, 420 - size) for size in sizes], None


def _four_resources(rng):
    return (1000,) * 4, [tuple(rng.randint(10, 400) for _ in range(4)) for _ in range(80)], None


FAMILIES = {
    "uniform": _uniform,
    "schwerin": _schwerin,
    "waescher": _waescher,
    "hard28": _hard28,
    "triplets": _triplets,
    "full": _full,
    "cardinality": _cardinality,
    "large_vectors": _large_vectors,
    "opposed_vectors": _opposed_vectors,
    "four_resources": _four_resources,
}
