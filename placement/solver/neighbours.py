"""Placing where neighbours are known to slow each other.

The constraint is linear, and the compact model has it exactly (`assignment.py`); the packings and
heuristics do not. So the problem is first solved without it. A layout of that which holds
nevertheless is as good as proven there, and its bound is a bound in any case: the constraint only
takes layouts away. Else devices are filled less, until what the methods find holds; from there the
compact model searches on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from placement.layout import Layout, check
from placement.problem import PlacementProblem, Resource
from placement.problem.colocation import Scale, scale
from placement.problem.fleet import Unit
from placement.solver import assignment
from placement.solver.assignment import Answer, Replica
from placement.solver.improve import worth
from placement.solver.result import Deadline, Status

TIME = "device time"  # a resource of our own: what residents take of the device's time together
PARTS = (0.95, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1)  # of a device's time that is given away

Find = Callable[
    [PlacementProblem, Scale, list[Unit], Deadline, int],
    tuple[Answer, str],
]
Build = Callable[[PlacementProblem, list[Unit], tuple[Replica, ...]], Layout]


def is_known(problem: PlacementProblem) -> bool:
    """Whether some model is known to be slowed by neighbours."""
    return any(option.sensitivity > 0 for model in problem.models for option in model.options)


def find_beside(
    problem: PlacementProblem,
    scaled: Scale,
    fleet: list[Unit],
    deadline: Deadline,
    seed: int,
    find: Find,
    build: Build,
) -> tuple[Answer, str]:
    """The best placement that holds with the slowdown; `find` and `build` know none."""

    def holds(answer: Answer) -> bool:
        layout = build(problem, fleet, answer.replicas)
        return answer.value is not None and not check.violations(problem, layout)

    plain = without(problem)
    relaxed, method = find(plain, scaled, fleet, deadline.part(0.4), seed)
    if relaxed.status == "infeasible" or holds(relaxed):
        return relaxed, method
    first: Answer | None = None
    for part in PARTS:
        tight = _filled_less(problem, part)
        found, method = find(tight, scale(tight), fleet, deadline.part(0.1), seed)
        if holds(found):
            first = found
            break
    least = problem.objective == "min-hardware"
    hint = first.replicas if first else ()
    bound = relaxed.bound if least else None
    exact = assignment.search(problem, scaled, fleet, deadline, seed, hint, bound)
    if exact.status in {"optimal", "infeasible"}:
        return exact, "CP-SAT"
    best = exact
    sign = 1 if least else -1
    if first and (
        exact.value is None or sign * worth(problem, fleet, hint) < sign * exact.value - 1e-9
    ):
        best = first
        method += ", devices filled less"
    else:
        method = "CP-SAT"
    if best.value is None:
        return replace(best, bound=relaxed.bound), method
    value = worth(problem, fleet, best.replicas)
    bounds = [b for b in (relaxed.bound, exact.bound) if b is not None]
    closest = (max if least else min)(bounds, default=None)
    proven = closest is not None and sign * (value - closest) <= 1e-9
    status: Status = "optimal" if proven else "feasible"
    return Answer(status, best.replicas, value, closest), method


def without(problem: PlacementProblem) -> PlacementProblem:
    """The problem as if no slowdown were known."""
    return replace(
        problem,
        models=tuple(
            replace(m, options=tuple(replace(o, busy=0.0, sensitivity=0.0) for o in m.options))
            for m in problem.models
        ),
    )


def _filled_less(problem: PlacementProblem, part: float) -> PlacementProblem:
    """Without the slowdown, but residents take at most a part of a device's time together."""

    def taking(needs: Mapping[str, float], busy: float) -> dict[str, float]:
        return {**needs, TIME: min(busy, part)}  # what is busier still may stand alone

    return replace(
        problem,
        models=tuple(
            replace(
                m,
                options=tuple(
                    replace(o, needs=taking(o.needs, o.busy), busy=0.0, sensitivity=0.0)
                    for o in m.options
                ),
            )
            for m in problem.models
        ),
        types=tuple(
            replace(kind, capacity={**kind.capacity, TIME: part}) for kind in problem.types
        ),
        resources=(*problem.resources, Resource(TIME)),
    )
