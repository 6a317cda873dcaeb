"""Whether there is a layout at all: asked again and again by explanations, so answered cheaply."""

from __future__ import annotations

from dataclasses import replace

from placement.problem import Model, Option, PlacementProblem
from placement.solver.result import Deadline
from placement.solver.solve import solve


def has_layout(
    problem: PlacementProblem, deadline: Deadline, workers: int | None = None
) -> bool | None:
    """Whether some layout meets everything; None when the time was too short to tell."""
    if deadline.left_s <= 0:
        return None
    # What devices and moves cost does not matter here, nor which layout it is; equal prices tell
    # the search which resources are scarce.
    pools = tuple(replace(pool, price=1.0) for pool in problem.pools)
    free = replace(problem, pools=pools, move_price=0.0, objective="min-hardware", repair=False)
    if problem.objective == "max-throughput":
        models = tuple(_standing_by(free, model) for model in free.models)
        free = replace(free, models=models)
    result = solve(free, deadline=deadline, tie_break=False, first=True, workers=workers)
    status = result.status
    return None if status == "unknown" else status != "infeasible"


def _standing_by(problem: PlacementProblem, model: Model) -> Model:
    """The model as it needs to fit somewhere when nothing is said about what it carries."""
    hard = {resource.name for resource in problem.resources if not resource.scales}

    def at_rest(option: Option) -> Option:
        needs = {name: need for name, need in option.needs.items() if name in hard}
        return replace(option, needs=needs | dict(option.standing), standing={})

    options = tuple(at_rest(option) for option in model.options)
    return replace(model, rate=None, options=options)
