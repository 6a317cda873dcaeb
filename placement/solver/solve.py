"""From a problem to its Result: which method is used when, and the layout it ends in."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import ceil, gcd, lcm

from placement.layout import check
from placement.layout.prediction import build_layout, headroom
from placement.problem import Model, PlacementProblem
from placement.problem.colocation import Scale, scale
from placement.problem.fleet import Unit, is_singled_out, units
from placement.problem.options import usable, worthwhile
from placement.problem.validate import validate
from placement.solver import assignment, heuristics, neighbours, planned
from placement.solver.aggregate import Melted, melt
from placement.solver.assignment import Answer, Replica
from placement.solver.growth import grow
from placement.solver.improve import applies, improve, worth
from placement.solver.packing import reduction
from placement.solver.result import Deadline, Result, Status
from placement.solver.shares import polish
from placement.solver.tidy import tidy

CUT = "The search was cut by its time limit: another run may end with another layout."
BELIEVED = 1e-6  # relative, of values that were found in floats
EXACT = 6_000  # 0/1 variables up to which the compact model is asked at once
PACKED = 0.6  # of what is left, for one plan
PACKING = 0.95  # part of the time for packing; what is left builds the layout
ROOMIEST = 3_000  # 0/1 variables up to which the second goal is looked at
SLACKS = (1.0, 0.97, 0.94, 0.9)  # parts of the capacities for which plans are made


def solve(
    problem: PlacementProblem,
    time_limit_s: float = 30.0,
    seed: int = 0,
    deadline: Deadline | None = None,
    *,
    tie_break: bool = True,
) -> Result:
    """The best placement found within the time limit, with its proof.

    The same problem and seed give the same answer, unless the time limit cuts the search short.
    Without `tie_break` any layout of the best value will do, which is quicker. Raises InputError
    when the problem contradicts itself.
    """
    validate(problem)
    deadline = deadline or Deadline(time_limit_s)
    scaled = scale(problem)
    fleet = units(problem, wanted(problem))
    find = _least_hardware if problem.objective == "min-hardware" else _most_throughput

    def holds(replicas: tuple[Replica, ...]) -> bool:
        return not check.violations(problem, build_layout(problem, fleet, replicas))

    if neighbours.is_known(problem):
        answer, method = neighbours.find_beside(
            problem, scaled, fleet, deadline, seed, find, build_layout
        )
    else:
        answer, method = find(problem, scaled, fleet, deadline, seed)
    if tie_break and answer.value is not None and deadline.left_s > 0:
        answer = _break_tie(problem, scaled, fleet, answer, deadline, seed)
    if tie_break and answer.value is not None and not problem.current:
        answer = replace(answer, replicas=tidy(problem, answer.replicas, holds))
    layout = build_layout(problem, fleet, answer.replicas) if answer.value is not None else None
    if layout is not None:
        faults = check.violations(problem, layout)
        if faults:  # a fault of ours: better no answer than a wrong one
            raise AssertionError(f"The solver's layout does not hold: {'; '.join(faults)}")
    return Result(
        status=answer.status,
        layout=layout,
        value=answer.value,
        bound=answer.bound,
        time_s=deadline.spent_s,
        method=method,
        headroom=None if layout is None else headroom(layout),
        notes=() if answer.status in {"optimal", "infeasible"} else (CUT,),
    )


def _break_tie(
    problem: PlacementProblem,
    scaled: Scale,
    fleet: list[Unit],
    answer: Answer,
    deadline: Deadline,
    seed: int,
) -> Answer:
    """The second goal, on all devices or, where that is too much, on those in use."""
    if len(answer.replicas) > ROOMIEST:  # without counting further
        return answer
    if problem.objective == "min-hardware":
        fleet = _enough(problem, fleet, answer.value or 0.0)
    if _size(problem, fleet) > ROOMIEST:
        used = {replica.seat for replica in answer.replicas}
        fleet = [unit for unit in fleet if any(seat.name in used for seat in unit.seats)]
    if _size(problem, fleet) > ROOMIEST:
        return answer
    return assignment.break_tie(problem, scaled, fleet, answer, deadline, seed)


def _least_hardware(
    problem: PlacementProblem, scaled: Scale, fleet: list[Unit], deadline: Deadline, seed: int
) -> tuple[Answer, str]:
    if problem.max_devices is None and reduction.applies(problem):
        part = deadline.part(PACKING)
        answer, method = reduction.pack(problem, scaled, fleet, part, seed)
        if answer.status != "unknown" or part.left_s <= 0:
            return answer, method
    first = heuristics.construct(problem, scaled, fleet, deadline.part(0.1), seed)
    if first is not None:
        fleet = _enough(problem, fleet, worth(problem, fleet, first))
    if _size(problem, fleet) <= EXACT:
        return _exact(problem, scaled, fleet, deadline, seed, first)
    melted = melt(problem, scaled, fleet, deadline.part(0.15))
    if melted is None:
        return Answer("infeasible"), "melted devices"
    bound = _next_price(problem, melted.bound)
    best = _from_plans(problem, scaled, fleet, melted, bound, first, deadline.part(0.9), seed)
    if best is None or not applies(problem):
        return _exact(problem, scaled, fleet, deadline, seed, best, bound)
    best = improve(problem, scaled, fleet, best, bound, deadline, seed)
    value = worth(problem, fleet, best)
    status: Status = "optimal" if value <= bound + 1e-9 else "feasible"
    return Answer(status, best, value, min(bound, value)), "large neighbourhood search"


def _from_plans(
    problem: PlacementProblem,
    scaled: Scale,
    fleet: list[Unit],
    melted: Melted,
    bound: float,
    first: tuple[Replica, ...] | None,
    deadline: Deadline,
    seed: int,
) -> tuple[Replica, ...] | None:
    """The cheapest of `first` and what comes of plans for all pools, and for each pool alone."""
    best = first

    def cheaper_than(price: float) -> bool:
        return best is None or price < worth(problem, fleet, best) - BELIEVED

    def keep(found: tuple[Replica, ...] | None) -> None:
        nonlocal best
        if found and cheaper_than(worth(problem, fleet, found)):
            best = found

    packs = planned.applies(problem)
    parts = [fleet]
    names = list(dict.fromkeys(unit.pool.name for unit in fleet))
    if len(names) > 1:  # one pool alone is at times a better start
        parts += [[unit for unit in fleet if unit.pool.name == name] for name in names]
    for part in parts:
        if packs:
            plan = melted if part is fleet else melt(problem, scaled, part, deadline.part(0.1))
            if plan and cheaper_than(_next_price(problem, plan.bound)):
                left = deadline.part(PACKED)
                keep(planned.settle(problem, scaled, part, plan.plan, left, seed, cheapest=True))
            continue
        for slack in SLACKS if part is fleet else SLACKS[1:2]:
            if deadline.left_s <= 0 or not cheaper_than(bound):
                break
            tight = melted
            if part is not fleet or slack < 1.0:
                shrunk = melt(_shrunk(problem, slack), scaled, part, deadline.part(0.1))
                if shrunk is None:
                    continue
                tight = shrunk
            keep(heuristics.construct(problem, scaled, part, deadline.part(0.1), seed, tight.plan))
    return best


def _exact(
    problem: PlacementProblem,
    scaled: Scale,
    fleet: list[Unit],
    deadline: Deadline,
    seed: int,
    first: tuple[Replica, ...] | None,
    bound: float | None = None,
) -> tuple[Answer, str]:
    """The compact model; what it leaves unproven is improved in neighbourhoods."""
    whole = first is None or not applies(problem)
    part = deadline if whole else deadline.part(0.5)
    answer = assignment.search(problem, scaled, fleet, part, seed, first or (), bound)
    if first is None or answer.status in {"optimal", "infeasible"}:
        return answer, "CP-SAT"
    least = max(answer.bound or 0.0, bound or 0.0)
    melted = melt(problem, scaled, fleet, deadline.part(0.3))
    if melted is not None:
        least = max(least, _next_price(problem, melted.bound))
    best = first
    if answer.value is not None and answer.value <= worth(problem, fleet, first):
        best = answer.replicas
    if not whole:
        best = improve(problem, scaled, fleet, best, least, deadline, seed)
    value = worth(problem, fleet, best)
    status: Status = "optimal" if value <= least + 1e-9 else "feasible"
    return Answer(status, best, value, min(least, value)), "CP-SAT and neighbourhood search"


def _most_throughput(
    problem: PlacementProblem, scaled: Scale, fleet: list[Unit], deadline: Deadline, seed: int
) -> tuple[Answer, str]:
    if _size(problem, fleet) <= EXACT // 10 or not applies(problem):
        return assignment.search(problem, scaled, fleet, deadline, seed), "CP-SAT"
    asked, whole = problem, fleet
    melted = melt(problem, scaled, whole, deadline.part(0.2))
    if melted is None:
        return Answer("infeasible"), "melted devices"
    if problem.max_devices is not None and melted.plan:
        # Which devices are worth their place is the relaxation's choice.
        chosen, fleet = Counter(melted.used), []
        for unit in whole:
            if chosen[unit.pool.name] > 0:
                chosen[unit.pool.name] -= 1
                fleet.append(unit)
        problem = replace(problem, max_devices=None)
    grown = grow(problem, scaled, fleet, melted.bound, deadline.part(0.6), seed)
    bound = melted.bound if fleet is not whole else grown.bound
    if grown.replicas is None:
        return assignment.search(asked, scaled, whole, deadline, seed), "CP-SAT"
    best = polish(problem, scaled, fleet, grown.replicas)
    best = improve(problem, scaled, fleet, best, grown.bound, deadline, seed)
    again = polish(problem, scaled, fleet, best)
    best = max((best, again), key=lambda replicas: worth(problem, fleet, replicas))
    value = worth(problem, fleet, best)
    if value > bound * (1 + BELIEVED):  # a fault of ours: better no answer than a wrong one
        raise AssertionError(f"{value} is above the bound of {bound}.")
    status: Status = "optimal" if value >= bound * (1 - BELIEVED) else "feasible"
    return Answer(status, best, value, max(bound, value)), "packed plans and neighbourhoods"


def _size(problem: PlacementProblem, fleet: list[Unit]) -> int:
    """About as many 0/1 variables as the compact model has."""
    seats = Counter(seat.device_type for unit in fleet for seat in unit.seats)
    return sum(
        model.count * seats[option.device_type]
        for model in problem.models
        for _, option in worthwhile(problem, model)
    )


def _enough(problem: PlacementProblem, fleet: list[Unit], price: float) -> list[Unit]:
    """The devices of unlimited pools that a layout of at most this price can use."""
    kept: list[Unit] = []
    counts: Counter[str] = Counter()
    for unit in fleet:
        counts[unit.pool.name] += 1
        pool = unit.pool
        if (
            pool.count is None
            and pool.price > 0
            and counts[pool.name] > price / pool.price + 1e-9
            and not is_singled_out(problem, unit)
        ):
            continue
        kept.append(unit)
    return kept


def _next_price(problem: PlacementProblem, bound: float) -> float:
    """The bound, raised to the next price that prices can add up to."""
    prices = {Fraction(repr(float(pool.price))) for pool in problem.pools}
    if problem.current:
        prices.add(Fraction(repr(float(problem.move_price))))
    prices.discard(Fraction(0))
    if not prices:
        return bound
    denominator = lcm(*(price.denominator for price in prices))
    step = Fraction(gcd(*(int(price * denominator) for price in prices)), denominator)
    return float(ceil(Fraction(bound) / step - Fraction(1, 10**6)) * step)


def _shrunk(problem: PlacementProblem, slack: float) -> PlacementProblem:
    return replace(
        problem,
        types=tuple(
            replace(kind, capacity={n: c * slack for n, c in kind.capacity.items()})
            for kind in problem.types
        ),
    )


def wanted(problem: PlacementProblem) -> int:
    """As many devices of one pool as could ever be of use."""
    if problem.objective == "max-throughput":
        return max((pool.count or 0 for pool in problem.pools), default=0)
    rules = problem.rules
    # One for each replica; more for devices that rules name, since these are taken by number.
    named = [d for _, d in (*rules.pins, *rules.forbidden, *problem.current)]
    named += rules.excluded_devices
    numbers = [int(n) for name in named if (n := _device_number(name))]
    return sum(_replicas(model) for _, model in problem.copies()) + max(numbers, default=0)


def _device_number(name: str) -> str:
    match = re.search(r"-(\d+)(/.*)?$", name)
    return match[1] if match else ""


def _replicas(model: Model) -> int:
    best = min((o.throughput for _, o in usable(model) if o.throughput > 0), default=0.0)
    by_rate = ceil(model.rate / best) if model.rate and best else 1
    return max(model.min_replicas, by_rate)
