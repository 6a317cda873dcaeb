"""When the fleet as a whole is too small: how much, by the aggregated relaxation."""

from __future__ import annotations

from math import inf

from placement.explain.words import amount, fleet, least_needs, plain
from placement.problem import PlacementProblem
from placement.solver.instance import compile_instance
from placement.solver.relaxation import relax
from placement.solver.result import Deadline

PROOF = 1e-6  # a bound of the feasibility problem that no rounding explains


def shortage(problem: PlacementProblem, deadline: Deadline) -> tuple[str, ...]:
    """How many times the fleet all models need at least, and of which resource; or nothing."""
    instance = compile_instance(problem)
    proof = relax(instance, deadline, feasibility=True, enough=inf)
    if proof.bound <= PROOF:
        return ()
    # At the prices of the proof the models need `needed`, and the fleet has `there`.
    needed = float(proof.values.sum())
    there = needed - proof.bound
    times = f"{needed / there:.3g} times this fleet" if there > PROOF else "more than this fleet"
    if problem.max_devices is not None:
        times += f" (at most {problem.max_devices} devices in use)"
    lines = [f"All {len(problem.models)} models together need at least {times}: {fleet(problem)}."]
    for resource in problem.resources:
        need = sum(
            model.count * least_needs(problem, model).get(resource.name, 0.0)
            for model in problem.models
        )
        room = _room(problem, resource.name)
        if room < need < inf:
            lines.append(
                f"  - {plain(resource.name)}: at least {amount(need, resource.unit)} needed, "
                f"{amount(room, resource.unit)} there"
            )
    return tuple(lines)


def _room(problem: PlacementProblem, name: str) -> float:
    """The most that the fleet leaves of the resource to models."""
    kinds = {kind.name: kind for kind in problem.types}

    def free(kind: str) -> float:
        capacity = kinds[kind].capacity.get(name)
        return inf if capacity is None else capacity - kinds[kind].baseline.get(name, 0.0)

    total = 0.0
    for pool in problem.pools:
        slices = (sum(map(free, partition)) for partition in pool.partitions)
        each = max(0.0, free(pool.device_type), *slices)
        if each and pool.count != 0 and pool.name not in problem.rules.excluded_devices:
            total += inf if pool.count is None else each * pool.count
    return total
