"""When nothing fits: what would each by itself make a layout possible, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from placement.explain.infeasible import ASK_S, facts, without_model
from placement.explain.question import has_layout
from placement.explain.words import amount, devices, limit, plain
from placement.problem import Model, PlacementProblem, Pool, Resource
from placement.problem.options import usable
from placement.problem.validate import LARGEST_AMOUNT
from placement.solver.instance import compile_instance
from placement.solver.least_hardware import refuted
from placement.solver.result import Deadline

MOST_DEVICES = 4096  # that are asked for of one pool
SINGLY = 8  # up to which each number is tried
LARGER = (1.15, 1.35, 1.7, 2.2)  # times the least number, beyond
COUNTING = 0.15  # part of the time for how many, by the relaxation
LEAST_PART = 0.25  # of the time, for each way out
EACH = 0.6  # part of that for one step
RAISES = (1.02, 1.05, 1.1, 1.25, 1.5, 2.0)  # of a limit
STEPS = 3  # of a latency limit
WITHOUT = 3  # models that could be left out
MOST_MODELS = 50  # beyond which leaving one out is not asked for

Step = tuple[str, PlacementProblem]


def relaxations(
    problem: PlacementProblem, deadline: Deadline, workers: int | None = None
) -> tuple[str, ...]:
    """In words; empty when none was found in time."""
    found: list[str] = []
    ladders = list(_ladders(problem, deadline))
    for number, ladder in enumerate(ladders):
        part: Deadline | None = None
        for words, relaxed in ladder:
            part = part or deadline.part(max(LEAST_PART, 1 / (len(ladders) - number)))
            if part.left_s <= 0:
                break
            if has_layout(relaxed, part.part(EACH).at_most(ASK_S), workers):
                found.append(words)
                break
    left_out = 0
    for model in problem.models if len(problem.models) <= MOST_MODELS else ():
        if deadline.left_s <= 0 or left_out >= WITHOUT:
            break
        part = deadline.at_most(ASK_S)
        rest = without_model(problem, model.name)
        if len(problem.models) > 1 and has_layout(rest, part, workers):
            found.append(f"without {model.name}")
            left_out += 1
    return tuple(found)


def _ladders(problem: PlacementProblem, deadline: Deadline) -> Iterator[Iterator[Step]]:
    """Ways out, each in steps of which the first that suffices is the cheapest."""
    finite = [number for number, pool in enumerate(problem.pools) if pool.count is not None]
    for number in sorted(finite, key=lambda number: problem.pools[number].price):
        yield _more_devices(problem, number, deadline)
    for resource in problem.resources:
        yield _higher_limit(problem, resource)
    few = len(problem.models) <= MOST_MODELS
    for model in problem.models:
        if model.latency_limit_ms is not None and (few or not usable(model)):
            yield _longer_latency(problem, model)
    if problem.max_devices is not None:
        yield _higher_maximum(problem, problem.max_devices)
    if problem.max_moves is not None:
        yield _more_moves(problem, problem.max_moves)
    for fact in facts(problem):
        if fact.kind == "rule":
            yield iter([(f"without the rule that {fact.words}", fact.without(problem))])


def _more_devices(problem: PlacementProblem, number: int, deadline: Deadline) -> Iterator[Step]:
    """From the number that the relaxation does not refute, up to about twice as many."""
    pool = problem.pools[number]
    least = _least_more(problem, pool, deadline.part(COUNTING))
    if least is None:
        return
    for more in range(least, 9) if least <= SINGLY else [ceil(least * f) for f in LARGER]:
        grown = replace(pool, count=(pool.count or 0) + more)
        pools = (*problem.pools[:number], grown, *problem.pools[number + 1 :])
        yield (
            f"{more} more {pool.device_type} ({pool.name})",
            replace(problem, pools=pools),
        )


def _least_more(problem: PlacementProblem, pool: Pool, deadline: Deadline) -> int | None:
    """A number of more devices below which, to a twentieth, the relaxation proves too few."""
    instance = compile_instance(problem)

    def too_few(more: int) -> bool:
        classes = tuple(
            replace(cls, count=(cls.count or 0) + more) if pool in cls.pools else cls
            for cls in instance.classes
        )
        return refuted(replace(instance, classes=classes), deadline)

    low, high = 0, 1
    while too_few(high):
        low, high = high, 2 * high
        if high > MOST_DEVICES or deadline.left_s <= 0:
            return None
    while high - low > max(1, high // 20) and deadline.left_s > 0:
        middle = (low + high) // 2
        low, high = (middle, high) if too_few(middle) else (low, middle)
    return high


def _higher_maximum(problem: PlacementProblem, allowed: int) -> Iterator[Step]:
    for more in (1, 2, 3, 5, 10, 20, 50, 100):
        yield (
            f"{devices(allowed + more)} in use instead of {allowed}",
            replace(problem, max_devices=allowed + more),
        )


def _higher_limit(problem: PlacementProblem, resource: Resource) -> Iterator[Step]:
    """A limit can be raised up to what a device has, where that is known."""
    last: object = problem.types
    for factor in RAISES:
        types = []
        for kind in problem.types:
            capacity = dict(kind.capacity)
            if resource.name in capacity:
                top = kind.physical.get(
                    resource.name, 100.0 if resource.unit == "%" else float("inf")
                )
                raised = min(capacity[resource.name] * factor, top, LARGEST_AMOUNT)
                capacity[resource.name] = max(capacity[resource.name], raised)
            types.append(replace(kind, capacity=capacity))
        if tuple(types) == last:
            return
        last = tuple(types)
        limits = {
            amount(kind.capacity[resource.name], resource.unit)
            for kind in types
            if resource.name in kind.capacity
        }
        name = plain(resource.name)
        words = (
            f"a {name} limit of {limits.pop()}"
            if len(limits) == 1
            else f"a {name} limit {factor - 1:.0%} higher"
        )
        yield words, replace(problem, types=tuple(types))


def _longer_latency(problem: PlacementProblem, model: Model) -> Iterator[Step]:
    wanted = model.latency_limit_ms or 0.0
    meets = {option.name for _, option in usable(model)}
    above = sorted({o.latency_ms for o in model.options if o.latency_ms and o.latency_ms > wanted})
    for latency in above[:STEPS] if meets or above else ():
        changed = replace(model, latency_limit_ms=latency)
        yield (
            f"a p{model.percentile} limit of {latency:.4g} ms for {model.name}, "
            f"not {limit(model).rsplit(' of ', 1)[1]}",
            replace(
                problem,
                models=tuple(changed if m is model else m for m in problem.models),
            ),
        )


def _more_moves(problem: PlacementProblem, allowed: int) -> Iterator[Step]:
    for more in (1, 2, 3, 5, 10):
        moves = f"{allowed + more} move" + ("s" if allowed + more != 1 else "")
        yield f"{moves} instead of {allowed}", replace(problem, max_moves=allowed + more)
