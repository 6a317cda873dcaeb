"""The compact model, solved by CP-SAT: the first goal, and the second with the first held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

from placement.problem import PlacementProblem
from placement.problem.colocation import SHARES, Scale
from placement.problem.fleet import Unit
from placement.solver.compact import Compact, Outside, build, headroom, is_whole
from placement.solver.result import Deadline, Status
from placement.solver.symmetry import in_order

STEP_S = 0.5  # deterministic time of a step that leaves the rest of the fleet alone
ALONE_S = 4.0  # deterministic time of the first attempt, in CP-SAT's seconds


@dataclass(frozen=True)
class Replica:
    """A replica that was decided upon."""

    model: str  # the copy's name
    k: int  # place of the option in the model's list
    seat: str
    share: int = SHARES


@dataclass(frozen=True)
class Answer:
    """What the search ended with: value and bound in the objective's own unit."""

    status: Status
    replicas: tuple[Replica, ...] = ()
    value: float | None = None
    bound: float | None = None


def search(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    deadline: Deadline,
    seed: int = 0,
    hint: Iterable[Replica] = (),
    bound: float | None = None,
    outside: Mapping[str, Outside] | None = None,
) -> Answer:
    """The best placement on these units that is found before the deadline.

    With `outside` the units are part of a fleet whose rest stands.
    """
    from ortools.sat.python import cp_model

    hint = in_order(problem, scale, fleet, hint)
    built = build(problem, scale, fleet, outside or {})
    least = problem.objective == "min-hardware"
    if least:
        built.cp.minimize(built.goal)
        if bound is not None:
            built.cp.add(built.goal >= ceil(Fraction(bound) / built.cost_unit - Fraction(1, 10**6)))
    else:
        built.cp.maximize(built.goal)
    if hint:
        _hint(built, hint, deadline)
    if outside is None:
        found = _run(built, deadline, seed)
    else:
        found = _found(built, *_attempt(built.cp, deadline, seed, 1, STEP_S))
    if found.status == cp_model.INFEASIBLE:
        return Answer("infeasible")
    if found.status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return Answer("unknown")
    optimal = found.status == cp_model.OPTIMAL
    value = round(found.value)
    proven = value if optimal else Fraction(found.bound).limit_denominator(10**6)
    return Answer(
        "optimal" if optimal else "feasible",
        found.replicas,
        float(value * built.cost_unit),
        float(proven * built.cost_unit),
    )


def break_tie(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    answer: Answer,
    deadline: Deadline,
    seed: int = 0,
) -> Answer:
    """An answer that is as good by the first goal and, if one is found, better by the second."""
    from ortools.sat.python import cp_model

    assert answer.value is not None
    built = build(problem, scale, fleet, {})
    cp = built.cp
    held = round(Fraction(answer.value) / built.cost_unit)
    if problem.objective == "min-hardware":
        cp.add(built.goal <= held)
        cp.maximize(headroom(problem, scale, fleet, built))
    else:
        cp.add(built.goal >= held)
        cp.minimize(sum(built.used))
    _hint(built, in_order(problem, scale, fleet, answer.replicas), deadline)
    # One worker, for a while: the same layout at every run, and no long wait for a nicety.
    status, solver = _attempt(cp, deadline, seed, 1, ALONE_S)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return answer
    return replace(answer, replicas=_replicas(built, solver))


@dataclass(frozen=True)
class _Found:
    """What CP-SAT said, in its own units."""

    status: Any
    replicas: tuple[Replica, ...] = ()
    value: float = 0.0
    bound: float = 0.0


def _run(built: Compact, deadline: Deadline, seed: int) -> _Found:
    """What one worker finds alone, then, if that proved nothing, a portfolio.

    One worker gives the same answer at every run; several race, so that what they prove is asked
    of one again. CP-SAT's interleaved search would do both, but did not end on two-model problems
    (OR-Tools 9.15).
    """
    from ortools.sat.python import cp_model

    first = _found(built, *_attempt(built.cp, deadline, seed, 1, ALONE_S))
    if first.status in {cp_model.OPTIMAL, cp_model.INFEASIBLE} or deadline.left_s <= 0:
        return first
    if first.status == cp_model.FEASIBLE:
        _hint(built, first.replicas, deadline)
    second = _found(built, *_attempt(built.cp, deadline, seed, 8, None))
    if second.status == cp_model.UNKNOWN:
        return first
    if second.status != cp_model.OPTIMAL:
        return second
    if first.status == cp_model.FEASIBLE and first.value == second.value:
        return replace(second, replicas=first.replicas)
    cp = built.cp.clone()
    cp.clear_objective()
    cp.clear_hints()
    cp.add(built.goal == round(second.value))
    status, solver = _attempt(cp, deadline, seed, 1, ALONE_S)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return second
    return replace(second, replicas=_replicas(built, solver))


def _found(built: Compact, status: Any, solver: Any) -> _Found:
    from ortools.sat.python import cp_model

    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return _Found(status)
    return _Found(
        status, _replicas(built, solver), solver.objective_value, solver.best_objective_bound
    )


def _attempt(
    cp: Any,
    deadline: Deadline,
    seed: int,
    workers: int,
    deterministic: float | None,
    *,
    hinted: bool = False,
) -> tuple[Any, Any]:
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(0.01, deadline.left_s)
    if deterministic is not None:
        solver.parameters.max_deterministic_time = deterministic
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = workers
    solver.parameters.fix_variables_to_their_hinted_value = hinted
    solver.parameters.catch_sigint_signal = False  # the deadline is told instead
    deadline.watch(solver.stop_search)
    try:
        return solver.solve(cp), solver
    finally:
        deadline.unwatch(solver.stop_search)


def _hint(built: Compact, hint: tuple[Replica, ...], deadline: Deadline) -> None:
    """Give CP-SAT a layout to start from, with all that follows from it.

    A hint of some variables only is at times lost (OR-Tools 9.15), so the rest is found first.
    """
    from ortools.sat.python import cp_model

    cp = built.cp
    cp.clear_hints()
    chosen = {(r.model, r.k, r.seat): r for r in hint}
    for key, var in built.x.items():
        replica = chosen.get(key)
        cp.add_hint(var, int(replica is not None))
        if not is_whole(built.s[key]):
            cp.add_hint(built.s[key], replica.share if replica else 0)
    status, solver = _attempt(cp, deadline, 0, 1, STEP_S, hinted=True)
    if status in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        cp.clear_hints()
        for number, value in enumerate(solver.response_proto.solution):
            cp.add_hint(cp.get_int_var_from_proto_index(number), value)


def _replicas(built: Compact, solver: Any) -> tuple[Replica, ...]:
    found = []
    for key, var in built.x.items():
        if solver.boolean_value(var):
            share = solver.value(built.s[key])
            found.append(Replica(*key, share))
    return tuple(found)
