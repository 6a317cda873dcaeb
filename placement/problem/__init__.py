"""What is asked: the placement problem, the files that state it, and how residents add up."""

from placement.problem.problem import (
    Model,
    Option,
    PlacementProblem,
    Pool,
    PoolType,
    Resource,
    Rules,
)

__all__ = ["Model", "Option", "PlacementProblem", "Pool", "PoolType", "Resource", "Rules"]
