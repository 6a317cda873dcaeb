"""Why this many devices, and when nothing fits, what clashes and what would resolve it.

The resource that binds is found by asking the same question again with fewer resources: the
smallest set of resources that alone forces the value. What clashes is found in `infeasible.py`,
ways out in `ways_out.py`. Every question is asked while there is time for it, and no longer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

from placement.explain.infeasible import ASK_S, clash, limited
from placement.explain.ways_out import relaxations
from placement.explain.words import devices, listed, plain
from placement.problem import PlacementProblem
from placement.solver.instance import compile_instance
from placement.solver.least_hardware import next_price
from placement.solver.relaxation import relax
from placement.solver.result import Deadline, Result
from placement.solver.solve import solve

FEW = 100  # models up to which such a question is searched, not only bounded
NEARLY = 0.005  # of a bound that is not known to be reached
LARGE = 1500  # models beyond which questions are not asked again with fewer resources
CLASH = 0.6  # part of the time for what clashes; the rest is for ways out


@dataclass(frozen=True)
class Explanation:
    """What to tell the user."""

    lines: tuple[str, ...]
    binding: tuple[str, ...] = ()  # the resources that force the value
    bounds: dict[str, float] = field(default_factory=dict)  # least price for one resource alone
    relaxations: tuple[str, ...] = ()


def explain(
    problem: PlacementProblem, result: Result, deadline: Deadline, workers: int | None = None
) -> Explanation:
    """The result in words; what would take longer than the deadline is left out.

    `workers`: cores for the questions that are asked of the solver; None: those that there are.
    """
    if result.layout is None:
        if result.status == "infeasible":
            return _nothing_fits(problem, deadline, workers)
        return Explanation(("No layout was found in time, nor that there is none.",))
    if problem.objective == "max-throughput":
        return _throughput(problem, result)
    return _hardware(problem, result, deadline, workers)


def _hardware(
    problem: PlacementProblem, result: Result, deadline: Deadline, workers: int | None
) -> Explanation:
    assert result.layout is not None
    count = result.layout.gpu_count
    verdict = {
        "optimal": "proven optimal",
        "feasible": f"not proven: the bound is {result.bound or 0:g}",
    }.get(result.status, result.status)
    price = f"price {result.value:g}" if _priced(problem) else ""
    lines = [f"{devices(count)}{', ' + price if price else ''}: {verdict}."]
    binding, bounds = _binding(problem, result, deadline, workers)
    if bounds:
        takes = "costs" if _priced(problem) else "needs"
        amounts = [
            f"{plain(name)} alone {takes} {bound:g} ({_sum(problem, name, result, bound)})"
            for name, bound in bounds.items()
        ]
        lines.append(f"{_are_needed(count, result)}: {'; '.join(amounts)}.")
        if len(binding) > 1:
            lines.append(f"{listed(binding)} together force it.")
        elif binding:
            lines.append(f"{listed(binding)} is what binds.")
    lines.append(_room(result))
    return Explanation(tuple(line for line in lines if line), binding, bounds)


def _binding(
    problem: PlacementProblem, result: Result, deadline: Deadline, workers: int | None
) -> tuple[tuple[str, ...], dict[str, float]]:
    """The fewest resources that alone force the value, and what each alone takes."""
    every = _limiting(problem)
    if not every or not result.value or sum(1 for _ in problem.copies()) > LARGE:
        return (), {}
    if len(every) == 1:
        known = result.bound or 0.0
        return (tuple(every) if result.status == "optimal" else ()), {every[0]: known}
    binding: tuple[str, ...] = ()
    bounds: dict[str, float] = {}
    forced = result.value - 1e-9
    if result.status != "optimal" and result.bound:
        forced = result.bound * (1 - NEARLY)
    sets = [names for size in range(1, len(every)) for names in combinations(every, size)]
    for number, names in enumerate(sets):
        if deadline.left_s <= 0 or (binding and len(names) > 1):
            return binding, bounds
        bound = _bound(problem, names, deadline.part(1 / (len(sets) - number)), workers)
        if len(names) == 1 and bound > 0:
            bounds[names[0]] = bound
        if not binding and bound >= forced:
            binding = names
    if not binding and deadline.left_s > 0 and result.status == "optimal":
        binding = tuple(every)
    return binding, bounds


def _limiting(problem: PlacementProblem) -> list[str]:
    """The resources that some device limits and some model needs."""
    limited = {name for kind in problem.types for name in kind.capacity}
    needed = {
        name
        for model in problem.models
        for option in model.options
        for name, need in option.needs.items()
        if need > 0
    }
    return [r.name for r in problem.resources if r.name in limited & needed]


def _throughput(problem: PlacementProblem, result: Result) -> Explanation:
    assert result.layout is not None
    assert result.value is not None
    verdict = (
        "proven optimal" if result.status == "optimal" else f"the bound is {result.bound or 0:.4g}"
    )
    if problem.fairness == "max-min":
        reference = "demands" if any(m.rate for m in problem.models) else "models"
        line = f"All {reference} can grow together by the factor {result.value:.4g}: {verdict}."
    else:
        best = sum(model.weight for _, model in problem.copies())
        line = f"Relative throughput {result.value:.4g} of {best:g}: {verdict}."
    full = [
        r.name
        for r in problem.resources
        if any(
            d.uses.get(r.name, 0.0) >= 0.995 * d.capacity[r.name]
            for d in result.layout.devices
            if r.name in d.capacity
        )
    ]
    used = f"{devices(result.layout.gpu_count)} in use."
    binds = f"{listed(tuple(full))} used up on some device." if full else ""
    return Explanation(tuple(x for x in (line, used, binds) if x), tuple(full))


def _bound(
    problem: PlacementProblem, names: tuple[str, ...], deadline: Deadline, workers: int | None
) -> float:
    """A proven least price when only these resources are limited."""
    alone = limited(problem, names)
    part = deadline.at_most(ASK_S)
    if sum(1 for _ in problem.copies()) > FEW:
        return next_price(alone, relax(compile_instance(alone), part).bound)
    result = solve(alone, deadline=part, tie_break=False, workers=workers)
    return max(0.0, result.bound or 0.0)


def _sum(problem: PlacementProblem, name: str, result: Result, alone: float) -> str:
    """`53.0 of 4 × 15.7 GB`: what the residents need of the resource, and what there is."""
    assert result.layout is not None
    resource = next(r for r in problem.resources if r.name == name)
    needed = sum(
        resident.uses.get(name, 0.0)
        for device in result.layout.devices
        for resident in device.residents
    )
    kinds = {kind.name: kind for kind in problem.types}
    room: dict[float, int] = {}
    for device in result.layout.devices:
        kind = kinds[device.device_type]
        if name in kind.capacity:
            free = kind.capacity[name] - kind.baseline.get(name, 0.0)
            room[free] = room.get(free, 0) + 1
    whole = not any(pool.partitions for pool in problem.pools)
    if len(room) == 1 and whole and not _priced(problem):
        room = dict.fromkeys(room, round(alone))
    scale, unit = (1e9, "GB") if resource.unit == "bytes" else (1.0, resource.unit)
    offered = " + ".join(f"{n} × {free / scale:.1f}" for free, n in sorted(room.items()))
    return f"{needed / scale:.1f} of {offered} {unit}"


def _room(result: Result) -> str:
    if result.headroom is None:
        return ""
    return f"The fullest device has {result.headroom:.1%} to spare."


def _priced(problem: PlacementProblem) -> bool:
    return any(pool.price != 1.0 for pool in problem.pools) or bool(problem.move_price)


def _are_needed(count: int, result: Result) -> str:
    verb = "needed" if result.status == "optimal" else "used"
    return f"One device is {verb}" if count == 1 else f"{count} devices are {verb}"


def _nothing_fits(
    problem: PlacementProblem, deadline: Deadline, workers: int | None
) -> Explanation:
    lines = clash(problem, deadline.part(CLASH), workers)
    return Explanation(lines, relaxations=relaxations(problem, deadline, workers))
