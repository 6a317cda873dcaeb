"""The options of a model that are worth a thought, and what its throughput is measured by."""

from __future__ import annotations

from placement.problem import Model, Option, PlacementProblem


def usable(model: Model) -> list[tuple[int, Option]]:
    """The model's options that meet its latency limit, with their place in its list."""
    limit = model.latency_limit_ms
    return [
        (k, option)
        for k, option in enumerate(model.options)
        if limit is None or (option.latency_ms is not None and option.latency_ms <= limit)
    ]


def worthwhile(problem: PlacementProblem, model: Model) -> list[tuple[int, Option]]:
    """The usable options that no other one on the same device type makes needless.

    Another one does with no more of any hard resource, no more of any that scales as soon as it is
    there and per inference (no more in all where the model runs at its measured load), and has as
    much throughput.
    """
    options = usable(model)
    if len(options) < 2:
        return options
    full = problem.objective == "min-hardware" and not model.rate
    hard = [r.name for r in problem.resources if full or not r.scales]
    scaled = [r.name for r in problem.resources if r.scales]
    slowed = any(option.busy or option.sensitivity for _, option in options)

    def price(option: Option) -> tuple[float, ...]:
        needs = [option.needs.get(name, 0.0) for name in hard]
        if not full:
            each = option.throughput or 1e-300
            for name in scaled:
                standing = option.standing.get(name, 0.0)
                needs += [standing, (option.needs.get(name, 0.0) - standing) / each]
            needs.append(-option.throughput)
        if slowed:  # what it does to neighbours, and they to it
            needs.append(option.busy if full else option.busy / (option.throughput or 1e-300))
            needs.append(option.sensitivity)
            needs.append(option.latency_ms or 0.0 if model.latency_limit_ms else 0.0)
        return tuple(needs)

    prices = {k: price(option) for k, option in options}
    kept: list[tuple[int, Option]] = []
    for k, option in options:
        if not any(
            other.device_type == option.device_type
            and j != k
            and all(a <= b for a, b in zip(prices[j], prices[k], strict=True))
            and (prices[j] != prices[k] or j < k)
            for j, other in options
        ):
            kept.append((k, option))
    return kept


def reference(model: Model) -> float:
    """The throughput that counts as one: the demanded rate, else the model's own best."""
    return model.rate or max((o.throughput for _, o in usable(model)), default=0.0)
