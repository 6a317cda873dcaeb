"""What is wrong with a layout, without a line of the solver's code.

Given the problem and a layout it verifies every constraint from the problem's own figures and
recomputes the objective. It believes nothing that the layout says about use, rate or capacity.
"""

from __future__ import annotations

import re
from collections import Counter
from math import fsum

from placement.layout import Layout, PlacedDevice, Resident
from placement.problem import Model, Option, PlacementProblem, Pool, PoolType

TOLERANCE = 1e-9  # relative; floats are summed here, the solver's integers round the safe way


def violations(problem: PlacementProblem, layout: Layout) -> list[str]:
    """Every constraint that the layout breaks, in words; empty when it holds."""
    models = dict(problem.copies())
    found = _duplicates(layout)
    for device in layout.devices:
        found += _device(problem, models, device)
    found += _fleet(problem, layout)
    placed = _by_model(layout)
    for name, model in models.items():
        found += _model(problem, name, model, placed.get(name, []))
    return found + _rules(problem, layout) + _moves(problem, layout)


def objective(problem: PlacementProblem, layout: Layout) -> float:
    """Price (with moves) for min-hardware, weighted or least relative throughput otherwise."""
    if problem.objective == "min-hardware":
        prices = {}
        for device in layout.devices:
            pool = _pool(problem, device)
            prices[device.parent or device.name] = pool.price if pool else 0.0
        return fsum(prices.values()) + problem.move_price * len(moves(problem, layout))
    growth = []
    placed = _by_model(layout)
    for name, model in problem.copies():
        reference = model.rate or max((o.throughput for o in _usable(model)), default=0.0)
        carried = fsum(
            (_option(model, device, r) or _NOTHING).throughput * r.share
            for device, r in placed.get(name, [])
        )
        growth.append((model.weight, carried / reference if reference else 0.0))
    if problem.fairness == "max-min":
        return min((factor for _, factor in growth), default=0.0)
    return fsum(weight * min(1.0, factor) for weight, factor in growth)


def moves(problem: PlacementProblem, layout: Layout) -> list[tuple[str, str]]:
    """The (model, device) pairs that run nowhere now, of models that run somewhere now."""
    running = {model for model, _ in problem.current}
    return [
        (resident.model, device.name)
        for device in layout.devices
        for resident in device.residents
        if resident.model in running and (resident.model, device.name) not in problem.current
    ]


_NOTHING = Option("", "", {}, 0.0)


def _duplicates(layout: Layout) -> list[str]:
    names = Counter(device.name for device in layout.devices)
    return [f"Device {name} is listed {n} times." for name, n in names.items() if n > 1]


def _device(problem: PlacementProblem, models: dict[str, Model], device: PlacedDevice) -> list[str]:
    found = []
    kind = _type(problem, device.device_type)
    if kind is None:
        return [f"{device.name}: the problem has no device type {device.device_type!r}."]
    for name, times in Counter(r.model for r in device.residents).items():
        if times > 1:
            found.append(f"{device.name}: holds {name} {times} times; one server cannot.")
    options: list[tuple[Option, float]] = []
    beside: list[tuple[Model, Option, float]] = []
    for resident in device.residents:
        model = models.get(resident.model)
        if model is None:
            found.append(f"{device.name}: {resident.model} is no model of the problem.")
            continue
        option = _option(model, device, resident)
        if option is None:
            found.append(
                f"{device.name}: {resident.model} has no option {resident.option!r} "
                f"on {device.device_type}."
            )
            continue
        if option not in _usable(model):
            found.append(
                f"{device.name}: {resident.model} misses its latency limit of "
                f"{model.latency_limit_ms:g} ms as {option.name}."
            )
        if not -TOLERANCE <= resident.share <= 1 + TOLERANCE:
            found.append(f"{device.name}: {resident.model} carries a share of {resident.share:g}.")
        carried = option.throughput * min(resident.share, resident.kept)
        if abs(resident.rate - carried) > 1e-6 * option.throughput:
            found.append(
                f"{device.name}: {resident.model} says {resident.rate:g} inferences per second; "
                f"its share is {carried:g}."
            )
        options.append((option, resident.share))
        beside.append((model, option, resident.share))
    found += _slowdown(problem, device, beside)
    for resource in problem.resources:
        limit = kind.capacity.get(resource.name)
        if limit is None or not device.residents:
            continue
        needed = kind.baseline.get(resource.name, 0.0) + fsum(
            option.needs.get(resource.name, 0.0) * (share if resource.scales else 1.0)
            for option, share in options
        )
        if needed > limit * (1 + TOLERANCE) + TOLERANCE:
            found.append(
                f"{device.name}: needs {needed:.10g} {resource.unit} of {resource.name}, "
                f"has {limit:.10g}."
            )
    return found


def _slowdown(
    problem: PlacementProblem, device: PlacedDevice, beside: list[tuple[Model, Option, float]]
) -> list[str]:
    """Residents that their neighbours slow too much, each with its own sensitivity."""
    found = []
    for number, (model, option, share) in enumerate(beside):
        if not option.sensitivity:
            continue
        pressure = fsum(o.busy * s for n, (_, o, s) in enumerate(beside) if n != number)
        kept = max(0.0, 1.0 - option.sensitivity * pressure)
        paced = problem.objective == "max-throughput" or bool(model.rate)
        if paced and share > kept + TOLERANCE:
            found.append(
                f"{device.name}: {model.name} carries a share of {share:g}, and its neighbours "
                f"leave it {kept:g}."
            )
        latency, limit = option.latency_ms, model.latency_limit_ms
        if limit is not None and latency is not None and latency > limit * kept * (1 + TOLERANCE):
            found.append(
                f"{device.name}: {model.name} misses its latency limit of {limit:g} ms beside its "
                f"neighbours, which leave it {kept:.0%} of its speed."
            )
    return found


def _fleet(problem: PlacementProblem, layout: Layout) -> list[str]:
    found = []
    slices: dict[str, Counter[str]] = {}
    for device in layout.devices:
        pool = _pool(problem, device)
        if pool is None:
            found.append(f"{device.name}: the fleet has no such device.")
            continue
        if device.parent is not None:
            slices.setdefault(device.parent, Counter())[device.device_type] += 1
        elif device.device_type != pool.device_type:
            found.append(f"{device.name}: is a {pool.device_type}, not a {device.device_type}.")
        excluded = {device.name, device.parent, pool.name} & set(problem.rules.excluded_devices)
        if excluded:
            found.append(f"{device.name}: is excluded.")
        if pool.host is not None and device.host != pool.host:
            found.append(f"{device.name}: stands in host {pool.host}, not {device.host}.")
    whole = {device.name for device in layout.devices if device.parent is None}
    for parent, kinds in slices.items():
        pool = next((p for p in problem.pools if _belongs(p, parent)), None)
        if parent in whole:
            found.append(f"{parent}: is used whole and in slices at once.")
        if pool and not any(kinds <= Counter(partition) for partition in pool.partitions):
            found.append(f"{parent}: {sorted(kinds.elements())} is no legal partition.")
    count = len(whole | set(slices))
    if problem.max_devices is not None and count > problem.max_devices:
        found.append(f"{count} devices are in use, at most {problem.max_devices} are allowed.")
    return found


def _by_model(layout: Layout) -> dict[str, list[tuple[PlacedDevice, Resident]]]:
    placed: dict[str, list[tuple[PlacedDevice, Resident]]] = {}
    for device in layout.devices:
        for resident in device.residents:
            placed.setdefault(resident.model, []).append((device, resident))
    return placed


def _model(
    problem: PlacementProblem, name: str, model: Model, placed: list[tuple[PlacedDevice, Resident]]
) -> list[str]:
    found = []
    if len(placed) < model.min_replicas:
        found.append(f"{name}: {len(placed)} replicas, at least {model.min_replicas} are wanted.")
    if problem.objective == "min-hardware":
        if model.rate:
            carried = fsum(
                (_option(model, device, resident) or _NOTHING).throughput * resident.share
                for device, resident in placed
            )
            if carried < model.rate * (1 - TOLERANCE):
                found.append(
                    f"{name}: carries {carried:g} inferences per second of {model.rate:g}."
                )
        else:
            found += [
                f"{name}: runs at its measured load, but {device.name} carries {resident.share:g}."
                for device, resident in placed
                if resident.share < 1 - TOLERANCE
            ]
    return found


def _rules(problem: PlacementProblem, layout: Layout) -> list[str]:
    found = []
    rules = problem.rules
    where: dict[str, set[str]] = {name: set() for name, _ in problem.copies()}
    hosts: dict[str, list[str]] = {name: [] for name in where}
    means: dict[str, set[str]] = {}
    for device in layout.devices:
        pool = _pool(problem, device)
        means[device.name] = {device.name, device.parent or "", pool.name if pool else ""}
        for resident in device.residents:
            where.setdefault(resident.model, set()).add(device.name)
            host = (pool.host if pool else None) or device.parent or device.name
            hosts.setdefault(resident.model, []).append(host)

    def named(rule: str) -> list[str]:
        return [n for n, m in problem.copies() if rule in {n, m.name}]

    pinned: dict[str, set[str]] = {}
    for rule, device_name in rules.pins:
        for name in named(rule):
            pinned.setdefault(name, set()).add(device_name)
    for name, allowed in pinned.items():
        found += [
            f"{name}: is pinned to {', '.join(sorted(allowed))} but runs on {device_name}."
            for device_name in sorted(where[name])
            if not means[device_name] & allowed
        ]
    for rule, forbidden in rules.forbidden:
        for name in named(rule):
            found += [
                f"{name}: is forbidden on {forbidden} but runs on {device_name}."
                for device_name in sorted(where[name])
                if forbidden in means[device_name]
            ]
    for group in rules.apart:
        members = [name for rule in group for name in named(rule)]
        for i, first in enumerate(members):
            for second in members[i + 1 :]:
                both = where[first] & where[second]
                found += [f"{first} and {second}: kept apart, but both run on {d}." for d in both]
    for group in rules.together:
        members = [name for rule in group for name in named(rule)]
        found += [
            f"{members[0]} and {other}: kept together, but run on different devices."
            for other in members[1:]
            if where[other] != where[members[0]]
        ]
    for rule in rules.spread:
        for name in named(rule):
            found += [
                f"{name}: is spread over hosts, but {host} has {times} replicas."
                for host, times in Counter(hosts[name]).items()
                if times > 1
            ]
    return found


def _moves(problem: PlacementProblem, layout: Layout) -> list[str]:
    made = moves(problem, layout)
    if problem.max_moves is not None and len(made) > problem.max_moves:
        return [f"{len(made)} moves, at most {problem.max_moves} are allowed."]
    return []


def _type(problem: PlacementProblem, name: str) -> PoolType | None:
    return next((kind for kind in problem.types if kind.name == name), None)


def _belongs(pool: Pool, name: str) -> bool:
    if pool.count == 1:
        return name == pool.name
    match = re.fullmatch(re.escape(pool.name) + r"-([1-9]\d*)", name)
    return bool(match) and (pool.count is None or int(match[1]) <= pool.count)  # type: ignore[index]


def _pool(problem: PlacementProblem, device: PlacedDevice) -> Pool | None:
    name = device.parent or device.name
    return next((pool for pool in problem.pools if _belongs(pool, name)), None)


def _usable(model: Model) -> list[Option]:
    limit = model.latency_limit_ms
    if limit is None:
        return list(model.options)
    return [o for o in model.options if o.latency_ms is not None and o.latency_ms <= limit]


def _option(model: Model, device: PlacedDevice, resident: Resident) -> Option | None:
    for option in model.options:
        if option.name == resident.option and option.device_type == device.device_type:
            return option
    return None
