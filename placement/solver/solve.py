"""From a problem to its result."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
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
from placement.solver.parallel import available
from placement.solver.result import Deadline, Result
from placement.solver.shares import settle
from placement.solver.tidy import renumber, tidy, tightest
from profiles.errors import InputError

CUT = "The search was cut by its time limit: another run may end with another layout."
TO_A_GRAIN = "Optimal to 0.001 %: shares and factors are counted in parts of a million."
COLLECTED = 200_000  # new objects from one search for circles among them to the next
ROOMIEST = 3_000  # 0/1 variables up to which the second goal is looked at
SOON_S = 0.1  # time to build and check a layout from which its tidying may have to be left out
EFFORT_S = 4.0  # CP-SAT's deterministic time for the second goal


def solve(
    problem: PlacementProblem,
    time_limit_s: float = 30.0,
    seed: int = 0,
    deadline: Deadline | None = None,
    *,
    tie_break: bool = True,
    first: bool = False,
    workers: int | None = None,
    start: tuple[Replica, ...] = (),
) -> Result:
    """The best placement found within the time limit, with its proof.

    `workers`: processes that search, and threads of CP-SAT; None: the cores that there are, at
    most 8. With one the same problem and seed give the same answer, unless the time limit cuts the
    search short.
    Without `tie_break` any layout of the best value will do, which is quicker; with `first` any
    layout at all. `start`: a layout, which is the first candidate if it holds.
    Raises InputError when the problem contradicts itself, or for fewer than one worker.
    """
    deadline = deadline or Deadline(time_limit_s)
    workers = available() if workers is None else workers
    if workers < 1:
        raise InputError(f"workers is {workers}: at least one is needed.")
    with _rarely_collected():
        validate(problem)
        return _solve(problem, deadline, seed, workers, start, tie_break=tie_break, first=first)


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Python's search for circles among objects left to few occasions.

    The solver makes millions of objects and next to no circles: looking for them takes half of the
    time where models are many.
    """
    before = gc.get_threshold()
    gc.set_threshold(COLLECTED, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _solve(
    problem: PlacementProblem,
    deadline: Deadline,
    seed: int,
    workers: int,
    start: tuple[Replica, ...],
    *,
    tie_break: bool,
    first: bool,
) -> Result:
    if problem.repair and problem.current and problem.objective == "min-hardware":
        best, answer = _repair(problem, deadline, seed, workers, start, first=first)
    else:
        best = _started(problem, deadline, start)
        find = least_hardware if problem.objective == "min-hardware" else most_throughput
        answer = find(best, deadline, seed, workers, first=first)
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
        notes=(*_notes(problem, answer), *best.dropped),
    )


def _notes(problem: PlacementProblem, answer: Answer) -> tuple[str, ...]:
    if answer.status in {"feasible", "unknown"}:
        return (CUT,)
    if answer.status == "optimal" and problem.objective == "max-throughput":
        return (TO_A_GRAIN,)
    return ()


def _repair(
    problem: PlacementProblem,
    deadline: Deadline,
    seed: int,
    workers: int,
    start: tuple[Replica, ...],
    *,
    first: bool,
) -> tuple[Best, Answer]:
    """The fewest moves; then the least price at that number of moves."""
    pools = tuple(replace(pool, price=0.0) for pool in problem.pools)
    counting = replace(problem, repair=False, pools=pools, move_price=1.0)
    fewest = _started(counting, deadline, start)
    moves = least_hardware(fewest, deadline.part(0.5), seed, workers, first=first)
    if fewest.replicas is None or fewest.value is None:
        return Best(replace(problem, repair=False), deadline), moves
    best = Best(replace(problem, repair=False, max_moves=round(fewest.value)), deadline)
    best.offer(fewest.replicas, fewest.method)
    answer = least_hardware(best, deadline, seed, workers, first=first)
    if moves.status != "optimal" and answer.status == "optimal":
        answer = Answer("feasible", answer.bound)
    return best, answer


def _started(problem: PlacementProblem, deadline: Deadline, start: tuple[Replica, ...]) -> Best:
    best = Best(problem, deadline, start=start)
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
    best.prefer(tightest(problem, best.replicas))
    if best.took_s > SOON_S and deadline.final_s < 2 * best.took_s:
        return
    if deadline.final_s > 4 * best.took_s or best.took_s < SOON_S:
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
