"""Amounts, resources, models and fleets in words."""

from __future__ import annotations

from placement.problem import Model, PlacementProblem, Pool
from placement.problem.options import usable


def devices(count: int) -> str:
    """`1 device`, `2 devices`."""
    return f"{count} device" + ("s" if count != 1 else "")


def plain(name: str) -> str:
    """`memory utilization` for `memory_utilization`."""
    return name.replace("_", " ")


def listed(names: tuple[str, ...]) -> str:
    """`Memory, power and utilization`."""
    words = [plain(name) for name in names]
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return text[:1].upper() + text[1:]


def amount(figure: float, unit: str) -> str:
    """The figure with its unit; bytes as GB."""
    if unit == "bytes":
        return f"{figure / 1e9:.2f} GB"
    return f"{figure:.4g}{'' if unit == '%' else ' '}{unit}"


def limit(model: Model) -> str:
    """`p99 limit of 20 ms`."""
    return f"p{model.percentile} limit of {model.latency_limit_ms:g} ms"


def least(problem: PlacementProblem, model: Model) -> str:
    """The least that any usable option of the model needs to carry its rate, by resource."""
    units = {resource.name: resource.unit for resource in problem.resources}
    return ", ".join(
        f"{amount(need, units[name])} {plain(name)}"
        for name, need in least_needs(problem, model, 1).items()
        if need > 0
    )


def least_needs(
    problem: PlacementProblem, model: Model, replicas: int | None = None
) -> dict[str, float]:
    """The same in figures, of so many replicas; of as many as there have to be by default."""
    times = model.min_replicas if replicas is None else replicas
    found = {}
    for resource in problem.resources:
        needs = []
        for _, option in usable(model):
            need = option.needs.get(resource.name, 0.0)
            if resource.scales and model.rate:
                need *= model.rate / option.throughput if option.throughput else 0.0
            elif resource.scales and problem.objective == "max-throughput":
                need = option.standing.get(resource.name, 0.0)  # a model may stand by
            else:
                need *= times
            needs.append(need)
        if needs:
            found[resource.name] = min(needs)
    return found


def largest(problem: PlacementProblem) -> str:
    """The type that leaves most of the first resource to models."""
    kinds = [k for k in problem.types if offered(problem, k.name)]
    if not kinds or not problem.resources:
        return "none"
    first = problem.resources[0].name
    kind = max(
        kinds,
        key=lambda k: k.capacity.get(first, float("inf")) - k.baseline.get(first, 0.0),
    )
    room = [
        f"{amount(kind.capacity[r.name] - kind.baseline.get(r.name, 0.0), r.unit)} {plain(r.name)}"
        for r in problem.resources
        if r.name in kind.capacity
    ]
    return f"{kind.name} with {', '.join(room)} beside the server"


def fleet(problem: PlacementProblem) -> str:
    """`4 × T4 (rack), any number of L4`."""
    if not problem.pools:
        return "it has no pools"
    return ", ".join(
        ("any number of " if pool.count is None else f"{pool.count} × ")
        + pool.device_type
        + (f" ({pool.name})" if pool.name != pool.device_type else "")
        for pool in problem.pools
    )


def offered(problem: PlacementProblem, kind: str) -> list[Pool]:
    """The pools that have devices, or slices, of the type."""
    return [
        pool
        for pool in problem.pools
        if pool.count != 0
        and (pool.device_type == kind or any(kind in partition for partition in pool.partitions))
    ]
