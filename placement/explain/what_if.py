"""What if: one device less, or a little more of each resource on every device."""

from __future__ import annotations

from dataclasses import replace

from placement.explain.words import devices, plain
from placement.problem import PlacementProblem
from placement.solver.result import Deadline, Result
from placement.solver.solve import solve

MORE = 0.05  # of each limit


def what_if(
    problem: PlacementProblem, result: Result, deadline: Deadline, workers: int | None = None
) -> tuple[str, ...]:
    """The answers in words, as many as there is time for; none without a layout."""
    if result.layout is None or result.value is None:
        return ()
    questions = []
    count = result.layout.gpu_count
    if count > 1:
        less = replace(problem, max_devices=count - 1)
        questions.append((f"With {devices(count - 1)} at most", less))
    for name in sorted({name for kind in problem.types for name in kind.capacity}):
        types = tuple(
            replace(kind, capacity={**kind.capacity, name: kind.capacity[name] * (1 + MORE)})
            if name in kind.capacity
            else kind
            for kind in problem.types
        )
        text = f"With {MORE:.0%} more {plain(name)} on each device"
        questions.append((text, replace(problem, types=types)))
    answers = []
    for number, (text, asked) in enumerate(questions):
        if deadline.left_s <= 0:
            break
        part = deadline.part(1 / (len(questions) - number))
        found = solve(asked, deadline=part, tie_break=False, workers=workers)
        answers.append(f"{text}: {_answer(problem, result, found)}.")
    return tuple(answers)


def _answer(problem: PlacementProblem, before: Result, found: Result) -> str:
    if found.status == "infeasible":
        return "not everything fits"
    if found.layout is None or found.value is None or before.value is None:
        return "no answer in time"
    sure = "" if found.status == "optimal" else ", not proven"
    if problem.objective == "max-throughput":
        change = found.value / before.value - 1 if before.value else 0.0
        return f"relative throughput {found.value:.4g} ({change:+.1%}){sure}"
    if abs(found.value - before.value) <= 1e-9:
        return f"no change{sure}"
    assert before.layout is not None
    return (
        f"{devices(found.layout.gpu_count)} at a price of {found.value:g} instead of "
        f"{devices(before.layout.gpu_count)} at {before.value:g}{sure}"
    )
