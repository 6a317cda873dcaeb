"""A replica that was decided upon, by names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Replica:
    """One model on one device, in one of its options."""

    model: str  # the copy's name
    k: int  # place of the option in the model's list
    seat: str  # device or slice
    share: float = 1.0  # of the option's throughput that it carries
