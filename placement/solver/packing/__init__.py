"""Packing items with options into bins: the exact core of the min-hardware solver."""

from placement.solver.packing.engine import solve_packing
from placement.solver.packing.instance import (
    BinType,
    Choice,
    ItemType,
    Packing,
    PackingInstance,
    PackingResult,
)

__all__ = [
    "BinType",
    "Choice",
    "ItemType",
    "Packing",
    "PackingInstance",
    "PackingResult",
    "solve_packing",
]
