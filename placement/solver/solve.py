"""From a problem to its result."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from placement.layout.prediction import headroom
from placement.layout.replica import Replica
from placement.problem import PlacementProblem
from placement.problem.fleet import Places, number_of_units, units, wanted
from placement.problem.numbers import fraction
from placement.problem.validate import validate
from placement.solver import exact
from placement.solver.best import Best
from placement.solver.least_hardware import Answer, least_hardware
from placement.solver.most_throughput import most_throughput
from placement.solver.result import Deadline, Result
from placement.solver.shares import settle
from placement.solver.tidy import renumber, tidy

CUT = "The search was cut by its time limit: another run may end with another layout."
ROOMIEST = 3_000  # 0/1 variables up to which the second goal is looked at
EFFORT_S = 4.0  # CP-SAT's deterministic time for the second goal


def solve(
    problem: PlacementProblem,
    time_limit_s: float = 30.0,
    seed: int = 0,
    deadline: Deadline | None = None,
    *,
    tie_break: bool = True,
    first: bool = False,
    start: tuple[Replica, ...] = (),
) -> Result:
    """The best placement found within the time limit, with its proof.

    The same problem and seed give the same answer, unless the time limit cuts the search short.
    Without `tie_break` any layout of the best value will do, which is quicker; with `first` any
    layout at all. `start`: a layout, which is the first candidate if it holds. Raises InputError
    when the problem contradicts itself.
    """
    validate(problem)
    deadline = deadline or Deadline(time_limit_s)
    if problem.repair and problem.current and problem.objective == "min-hardware":
        best, answer = _repair(problem, deadline, seed, start, first=first)
    else:
        best = _started(problem, start)
        find = least_hardware if problem.objective == "min-hardware" else most_throughput
        answer = find(best, deadline, seed, first=first)
    if answer.status == "infeasible" and best.value is not None:
        best.dropped.append("A proof that there is no layout was contradicted by one.")
        answer = Answer("feasible", 0.0)
    problem = best.problem
    if tie_break and best.replicas is not None:
        _second_goal(best, deadline, seed)
    return Result(
        status=answer.status,
        layout=best.layout,
        value=best.value,
        bound=None if answer.status == "infeasible" else answer.bound,
        time_s=deadline.spent_s,
        method=best.method,
        headroom=None if best.layout is None else headroom(best.layout),
        notes=(*(() if answer.status in {"optimal", "infeasible"} else (CUT,)), *best.dropped),
    )


def _repair(
    problem: PlacementProblem,
    deadline: Deadline,
    seed: int,
    start: tuple[Replica, ...],
    *,
    first: bool,
) -> tuple[Best, Answer]:
    """The fewest moves; then the least price at that number of moves."""
    pools = tuple(replace(pool, price=0.0) for pool in problem.pools)
    counting = replace(problem, repair=False, pools=pools, move_price=1.0)
    fewest = _started(counting, start)
    moves = least_hardware(fewest, deadline.part(0.5), seed, first=first)
    if fewest.replicas is None or fewest.value is None:
        return Best(replace(problem, repair=False)), moves
    best = Best(replace(problem, repair=False, max_moves=round(fewest.value)))
    best.offer(fewest.replicas, fewest.method)
    answer = least_hardware(best, deadline, seed, first=first)
    if moves.status != "optimal" and answer.status == "optimal":
        answer = Answer("feasible", answer.bound)
    return best, answer


def _started(problem: PlacementProblem, start: tuple[Replica, ...]) -> Best:
    best = Best(problem)
    if start and best.holds(start):
        best.offer(start, "the current layout")
    return best


def _second_goal(best: Best, deadline: Deadline, seed: int) -> None:
    """Among layouts of the best value: most headroom, or fewest devices; idle replicas go."""
    problem = best.problem
    assert best.replicas is not None
    if deadline.left_s > 0 and len(best.replicas) <= ROOMIEST:
        for found in _roomier(best, deadline, seed):
            best.prefer(found)
    best.prefer(tidy(problem, best.replicas, best.holds))
    best.prefer(renumber(problem, best.replicas))


def _roomier(best: Best, deadline: Deadline, seed: int) -> list[tuple[Replica, ...]]:
    from ortools.sat.python import cp_model

    problem = best.problem
    assert best.replicas is not None
    assert best.value is not None
    places = Places(problem)
    least = problem.objective == "min-hardware"
    most = min(wanted(problem), len({r.seat for r in best.replicas}) + 8)
    most = wanted(problem) if problem.rules.pins or problem.current else most
    if number_of_units(problem, most) > ROOMIEST:
        return []
    fleet = units(problem, most)
    if least:
        fleet = exact.enough(problem, fleet, best.value)
    if exact.size(problem, fleet) > ROOMIEST:
        used = {r.seat for r in best.replicas}
        fleet = [unit for unit in fleet if any(seat.name in used for seat in unit.seats)]
    if exact.size(problem, fleet) > ROOMIEST:
        return []
    built = exact.build(problem, fleet)
    if least:
        built.cp.add(built.goal <= round(Fraction(best.value) / built.unit))
        built.cp.maximize(exact.headroom(built))
    else:
        built.cp.add(built.goal >= int(fraction(best.value) / built.unit))
        built.cp.minimize(sum(built.used))
    exact.hint(built, best.replicas)
    # One worker, for a while: the same layout at every run, and no long wait for a nicety.
    status, solver = exact.run(built.cp, deadline, seed, 1, EFFORT_S)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return []
    replicas = exact.replicas_of(built, solver)
    kinds = {r.seat: places.find(r.seat).device_type for r in replicas}  # type: ignore[union-attr]
    settled = settle(problem, kinds, replicas)
    return [] if settled is None else [settled]
