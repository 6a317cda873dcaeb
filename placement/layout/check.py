"""Independent checker of layouts; shares no code with the solver.

Every constraint is evaluated from the problem's own figures, and the objective is computed anew.
Nothing that the layout says of use, rate, capacity or speed is believed.

A constraint holds if it holds within TOLERANCE, relative to the figures that it compares.

Neighbours that slow each other: on one device, let s be the share that a replica carries, v the
share that it reaches, and U = sum of busy·v over the other residents.

    with a rate, and in max-throughput      v = s, and s <= 1 - sensitivity·U must hold
    without a rate in min-hardware          v <= 1 - sensitivity·U, and the replicas without a rate
                                            share out the rest of the device evenly (`reached` in
                                            placement/problem/slowdown.py)
    all with a latency limit                latency <= limit · (1 - sensitivity·U)
    without a rate, with `max_slowdown`     v >= 1 - max_slowdown
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import fsum

from placement.layout import Layout, PlacedDevice, Resident
from placement.problem import Model, Option, PlacementProblem, Pool, PoolType
from placement.problem.slowdown import Runner, reached

TOLERANCE = 1e-9  # relative, of sums of floats
RATE_TOLERANCE = 1e-6  # relative, of the rates that a layout states


def violations(problem: PlacementProblem, layout: Layout) -> list[str]:
    """Every constraint that the layout breaks, in words; empty when it holds."""
    index = _index(problem)
    found = _duplicates(layout)
    for device in layout.devices:
        found += _device(problem, index, device)
    found += _fleet(problem, index, layout)
    placed = _by_model(layout)
    for name, model in index.models.items():
        found += _model(problem, name, model, placed.get(name, []))
    return found + _rules(problem, index, layout) + _moves(problem, layout)


def objective(problem: PlacementProblem, layout: Layout) -> float:
    """The value of the layout by the problem's objective.

    min-hardware: the price of the devices in use plus `move_price` for each move (with `repair`,
    too). max-throughput: the weighted sum, or the least, of relative throughputs.
    """
    if problem.objective == "min-hardware":
        index = _index(problem)
        prices = {}
        for device in layout.devices:
            pool = index.pool(device)
            prices[device.parent or device.name] = pool.price if pool else 0.0
        return fsum(prices.values()) + problem.move_price * len(moves(problem, layout))
    growth = []
    placed = _by_model(layout)
    for name, model in problem.copies():
        best = max((o.throughput for o in model.options if _meets_limit(model, o)), default=0.0)
        reference = model.rate or best
        carried = _carried(model, placed.get(name, []))
        growth.append((model.weight, carried / reference if reference else 0.0))
    if problem.fairness == "max-min":
        return min((factor for _, factor in growth), default=0.0)
    return fsum(weight * min(1.0, factor) for weight, factor in growth)


def moves(problem: PlacementProblem, layout: Layout) -> list[tuple[str, str]]:
    """The (model, device) pairs that run nowhere now, of models that run somewhere now."""
    current = set(problem.current)
    running = {model for model, _ in current}
    return [
        (resident.model, device.name)
        for device in layout.devices
        for resident in device.residents
        if resident.model in running and (resident.model, device.name) not in current
    ]


def device_violations(problem: PlacementProblem, device: PlacedDevice) -> list[str]:
    """What is wrong with one device by itself."""
    return _device(problem, _index(problem), device)


def slowed(problem: PlacementProblem, layout: Layout) -> list[str]:
    """The replicas without a rate that reach less than their measured load, in words."""
    if problem.objective != "min-hardware":
        return []
    index = _index(problem)
    found = []
    for device in layout.devices:
        beside = _residents(index, device)
        if not any(option.sensitivity for _, option, _ in beside):
            continue
        reach = reached(_runners(problem, index, beside))
        found += [
            f"{resident.model} on {device.name}: reaches {part / share:.0%} of its measured load "
            "beside its neighbours."
            for (resident, _, share), part in zip(beside, reach, strict=True)
            if not index.models[resident.model].rate and part < share * (1 - RATE_TOLERANCE)
        ]
    return found


@dataclass(frozen=True)
class _Index:
    """The problem's parts by name."""

    models: dict[str, Model]  # by the name of the copy
    copies: dict[str, list[str]]  # the names of copies that a rule means, by the name it uses
    types: dict[str, PoolType]
    pools: dict[str, Pool]

    def pool(self, device: PlacedDevice) -> Pool | None:
        """The pool that the device, or the GPU of the slice, belongs to."""
        name = device.parent or device.name
        pool = self.pools.get(name)
        if pool is not None and pool.count == 1:
            return pool
        base, _, number = name.rpartition("-")
        pool = self.pools.get(base)
        if pool is None or pool.count == 1 or not _is_number(number):
            return None
        return pool if pool.count is None or int(number) <= pool.count else None


Beside = list[tuple[Resident, Option, float]]  # resident, its option, the share that it carries


def _index(problem: PlacementProblem) -> _Index:
    models = dict(problem.copies())
    copies: dict[str, list[str]] = {}
    for name, model in models.items():
        copies.setdefault(model.name, []).append(name)
        if name != model.name:
            copies.setdefault(name, []).append(name)
    types = {kind.name: kind for kind in problem.types}
    return _Index(models, copies, types, {pool.name: pool for pool in problem.pools})


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and not text.startswith("0")


def _duplicates(layout: Layout) -> list[str]:
    names = Counter(device.name for device in layout.devices)
    return [f"Device {name} is listed {n} times." for name, n in names.items() if n > 1]


def _device(problem: PlacementProblem, index: _Index, device: PlacedDevice) -> list[str]:
    found = []
    kind = index.types.get(device.device_type)
    if kind is None:
        return [f"{device.name}: unknown device type {device.device_type!r}."]
    for name, times in Counter(r.model for r in device.residents).items():
        if times > 1:
            found.append(f"{device.name}: holds {name} {times} times; a server holds it once.")
    for resident in device.residents:
        model = index.models.get(resident.model)
        if model is None:
            found.append(f"{device.name}: unknown model {resident.model!r}.")
            continue
        option = _option(model, device, resident)
        if option is None:
            found.append(
                f"{device.name}: {resident.model} has no option {resident.option!r} "
                f"on {device.device_type}."
            )
            continue
        if not _meets_limit(model, option):
            found.append(
                f"{device.name}: {resident.model} exceeds its latency limit of "
                f"{model.latency_limit_ms:g} ms with option {option.name}."
            )
        if not -TOLERANCE <= resident.share <= 1 + TOLERANCE:
            found.append(
                f"{device.name}: {resident.model} has a share of {resident.share:g}; "
                "shares lie between 0 and 1."
            )
    beside = _residents(index, device)
    found += _speed(problem, index, device, beside)
    for resource in problem.resources:
        limit = kind.capacity.get(resource.name)
        if limit is None or not device.residents:
            continue
        needs = []
        for _, option, share in beside:
            part = share if resource.scales else 1.0
            needs += [
                option.standing.get(resource.name, 0.0) * (1.0 - part),
                option.needs.get(resource.name, 0.0) * part,
            ]
        needed = fsum([kind.baseline.get(resource.name, 0.0), *needs])
        if needed > limit + TOLERANCE * max(limit, *needs, 0.0):
            found.append(
                f"{device.name}: needs {needed:.10g} {resource.unit} of {resource.name}, "
                f"has {limit:.10g}."
            )
    return found


def _residents(index: _Index, device: PlacedDevice) -> Beside:
    """The residents that the problem knows."""
    found = []
    for resident in device.residents:
        model = index.models.get(resident.model)
        option = _option(model, device, resident) if model else None
        if option is not None:
            found.append((resident, option, resident.share))
    return found


def _is_paced(problem: PlacementProblem, model: Model) -> bool:
    """Whether its replicas carry the shares that they are given, not as much as they can."""
    return problem.objective == "max-throughput" or bool(model.rate)


def _runners(problem: PlacementProblem, index: _Index, beside: Beside) -> list[Runner]:
    return [
        Runner(
            share,
            option.busy,
            option.sensitivity,
            paced=_is_paced(problem, index.models[resident.model]),
        )
        for resident, option, share in beside
    ]


def _speed(
    problem: PlacementProblem, index: _Index, device: PlacedDevice, beside: Beside
) -> list[str]:
    """Residents that their neighbours slow too much, and rates that are not what is reached."""
    found = []
    reach = [share for _, _, share in beside]
    if any(option.sensitivity for _, option, _ in beside):
        reach = reached(_runners(problem, index, beside))
    for number, (resident, option, share) in enumerate(beside):
        model = index.models[resident.model]
        rate = option.throughput * reach[number]
        if abs(resident.rate - rate) > RATE_TOLERANCE * option.throughput:
            found.append(
                f"{device.name}: {resident.model} is stated to carry {resident.rate:g} inferences "
                f"per second; its share there is {rate:g}."
            )
        if not option.sensitivity:
            continue
        use = fsum(o.busy * reach[n] for n, (_, o, _) in enumerate(beside) if n != number)
        left = 1.0 - option.sensitivity * use
        paced = _is_paced(problem, model)
        if paced and share > left + TOLERANCE:
            found.append(
                f"{device.name}: {resident.model} carries a share of {share:g}; its neighbours "
                f"leave it {max(0.0, left):g}."
            )
        latency, limit = option.latency_ms, model.latency_limit_ms
        if limit is not None and latency is not None and latency > limit * (left + TOLERANCE):
            found.append(
                f"{device.name}: {resident.model} exceeds its latency limit of {limit:g} ms beside "
                f"its neighbours, which leave it {max(0.0, left):.0%} of its speed."
            )
        most = problem.max_slowdown
        if not paced and most is not None and reach[number] < share - most - TOLERANCE:
            found.append(
                f"{device.name}: {resident.model} reaches {reach[number]:.4g} of its measured load "
                f"beside its neighbours; max_slowdown asks for {1 - most:.4g}."
            )
    return found


def _fleet(problem: PlacementProblem, index: _Index, layout: Layout) -> list[str]:
    found = []
    excluded = set(problem.rules.excluded_devices)
    slices: dict[str, list[PlacedDevice]] = {}
    for device in layout.devices:
        pool = index.pool(device)
        if pool is None:
            found.append(f"{device.name}: the fleet has no such device.")
            continue
        if device.parent is not None:
            slices.setdefault(device.parent, []).append(device)
        elif device.device_type != pool.device_type:
            found.append(f"{device.name}: is a {pool.device_type}, not a {device.device_type}.")
        if excluded & {device.name, device.parent, pool.name}:
            found.append(f"{device.name}: is excluded.")
        if pool.host is not None and device.host != pool.host:
            found.append(f"{device.name}: is in host {pool.host}, not {device.host}.")
    whole = {device.name for device in layout.devices if device.parent is None}
    for parent, used in slices.items():
        pool = index.pool(used[0])
        if parent in whole:
            found.append(f"{parent}: is used whole and in slices at once.")
        if pool and not any(_is_within(used, parent, Counter(p)) for p in pool.partitions):
            names = ", ".join(sorted(device.name for device in used))
            found.append(f"{parent}: {names} belong to no partition of {pool.name}.")
    count = len(whole | set(slices))
    if problem.max_devices is not None and count > problem.max_devices:
        found.append(f"{count} devices are in use, at most {problem.max_devices} are allowed.")
    return found


def _is_within(used: list[PlacedDevice], parent: str, partition: Counter[str]) -> bool:
    """Whether the partition has all these slices; they are numbered by type, from 1."""
    for device in used:
        number = device.name.removeprefix(f"{parent}/{device.device_type}-")
        if not _is_number(number) or int(number) > partition[device.device_type]:
            return False
    return True


def _by_model(layout: Layout) -> dict[str, list[tuple[PlacedDevice, Resident]]]:
    placed: dict[str, list[tuple[PlacedDevice, Resident]]] = {}
    for device in layout.devices:
        for resident in device.residents:
            placed.setdefault(resident.model, []).append((device, resident))
    return placed


def _carried(model: Model, placed: list[tuple[PlacedDevice, Resident]]) -> float:
    """Inferences per second of all replicas together."""
    options = ((_option(model, device, resident), resident.share) for device, resident in placed)
    return fsum(option.throughput * share for option, share in options if option)


def _model(
    problem: PlacementProblem, name: str, model: Model, placed: list[tuple[PlacedDevice, Resident]]
) -> list[str]:
    found = []
    gpus = len({device.parent or device.name for device, _ in placed})
    if gpus < model.min_replicas:
        found.append(f"{name}: needs {model.min_replicas} distinct GPUs, runs on {gpus}.")
    if problem.objective == "min-hardware":
        if model.rate:
            carried = _carried(model, placed)
            if carried < model.rate * (1 - TOLERANCE):
                found.append(
                    f"{name}: carries {carried:.10g} of {model.rate:.10g} inferences per second."
                )
        else:
            found += [
                f"{name}: has no rate, so it carries its whole measured load, but "
                f"{resident.share:g} of it on {device.name}."
                for device, resident in placed
                if resident.share < 1 - TOLERANCE
            ]
    return found


def _rules(problem: PlacementProblem, index: _Index, layout: Layout) -> list[str]:
    found = []
    rules = problem.rules
    where: dict[str, set[str]] = {name: set() for name in index.models}
    hosts: dict[str, list[str]] = {name: [] for name in where}
    means: dict[str, set[str]] = {}
    for device in layout.devices:
        pool = index.pool(device)
        means[device.name] = {device.name, device.parent or "", pool.name if pool else ""}
        host = (pool.host if pool else None) or device.parent or device.name
        for resident in device.residents:
            where.setdefault(resident.model, set()).add(device.name)
            hosts.setdefault(resident.model, []).append(host)

    def members(group: tuple[str, ...]) -> list[str]:
        return list(dict.fromkeys(name for rule in group for name in index.copies.get(rule, ())))

    pinned: dict[str, set[str]] = {}
    for rule, device_name in rules.pins:
        for name in members((rule,)):
            pinned.setdefault(name, set()).add(device_name)
    for name, allowed in pinned.items():
        found += [
            f"{name}: is pinned to {', '.join(sorted(allowed))} but runs on {device_name}."
            for device_name in sorted(where[name])
            if not means[device_name] & allowed
        ]
    for rule, forbidden in rules.forbidden:
        for name in members((rule,)):
            found += [
                f"{name}: is forbidden on {forbidden} but runs on {device_name}."
                for device_name in sorted(where[name])
                if forbidden in means[device_name]
            ]
    for group in rules.apart:
        here: dict[str, list[str]] = {}
        for name in members(group):
            for device_name in where[name]:
                here.setdefault(device_name, []).append(name)
        found += [
            f"{' and '.join(names)}: must be apart, but run on {device_name}."
            for device_name, names in sorted(here.items())
            if len(names) > 1
        ]
    for group in rules.together:
        first, *others = members(group) or [""]
        found += [
            f"{first} and {other}: must be together, but run on different devices."
            for other in others
            if where[other] != where[first]
        ]
    for name in members(rules.spread):
        found += [
            f"{name}: must be spread over hosts, but host {host} has {times} replicas."
            for host, times in Counter(hosts[name]).items()
            if times > 1
        ]
    return found


def _moves(problem: PlacementProblem, layout: Layout) -> list[str]:
    made = moves(problem, layout)
    if problem.max_moves is not None and len(made) > problem.max_moves:
        return [f"{len(made)} moves, at most {problem.max_moves} are allowed."]
    return []


def _meets_limit(model: Model, option: Option) -> bool:
    limit = model.latency_limit_ms
    return limit is None or (option.latency_ms is not None and option.latency_ms <= limit)


def _option(model: Model, device: PlacedDevice, resident: Resident) -> Option | None:
    for option in model.options:
        if option.name == resident.option and option.device_type == device.device_type:
            return option
    return None
