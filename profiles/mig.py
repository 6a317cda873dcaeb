"""MIG: the slices that a GPU can be cut into, and which of them go together.

The profiles of each GPU stand in `devices.yaml`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class MigProfile:
    """A kind of slice that a GPU can be cut into."""

    profile: str  # such as 1g.5gb
    memory_bytes: int
    size: int  # memory slices that it takes
    starts: tuple[int, ...]  # first memory slices at which it may be placed


def partitions(profiles: tuple[MigProfile, ...]) -> tuple[tuple[str, ...], ...]:
    """Every largest legal set of slices: none overlap, and none is part of another set."""
    found: set[tuple[str, ...]] = set()

    def extend(taken: frozenset[int], chosen: tuple[str, ...]) -> None:
        full = True
        for profile in profiles:
            for start in profile.starts:
                slots = frozenset(range(start, start + profile.size))
                if not slots & taken:
                    full = False
                    # Only slices right of the last: each set is reached in one order.
                    if not taken or start > max(taken):
                        extend(taken | slots, (*chosen, profile.profile))
        if full:
            found.add(tuple(sorted(chosen)))

    extend(frozenset(), ())
    return largest(found)


def largest(sets: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The sets (with repetition) that are part of no other, each sorted."""
    counts = {tuple(sorted(s)): Counter(s) for s in sets}
    return tuple(
        sorted(
            s
            for s, count in counts.items()
            if s and not any(count < other for other in counts.values())
        )
    )
