"""What to do about it: which model, in which variant, goes on which device.

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, solve
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placement.layout import Layout, PlacedDevice, Resident
from placement.problem import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules

if TYPE_CHECKING:
    from placement.solver.result import Result

__all__ = [
    "Layout",
    "Model",
    "Option",
    "PlacedDevice",
    "PlacementProblem",
    "Pool",
    "PoolType",
    "Resident",
    "Resource",
    "Result",
    "Rules",
    "solve",
]


def __getattr__(name: str) -> object:
    """`solve` and `Result` on first use: reading a layout needs none of the solver."""
    if name == "solve":
        from placement.solver.solve import solve

        return solve
    if name == "Result":
        from placement.solver.result import Result

        return Result
    raise AttributeError(f"module 'placement' has no attribute {name!r}")
