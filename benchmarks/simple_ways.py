"""Simple ways to place models, to measure the solver against; all of them heed every rule.

- greedy: each model by its cheapest option, counted by the dominant share of a device times the
  device's price; on the first device with room (first fit), else on a new one.
- one type alone: the same on devices of one type; what cannot run there goes elsewhere.
- fixed option: type and option of each model fixed beforehand, the cheapest by utilization alone
  for what it carries; first fit.
- MostAllocated: the same options, models as they come, on the device with room that is fullest, as
  kube-scheduler's NodeResourcesFit plugin scores nodes with this strategy.
- a solver on the compact model: x[model, option, device], for problems of some hundred models.

Each returns a layout; the caller checks it.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from placement import (
    Layout,
    Model,
    Option,
    PlacedDevice,
    PlacementProblem,
    Pool,
    Resident,
)

COMPACT = 120_000  # 0/1 variables up to which the compact model is built


class Devices:
    """The devices in use of one type, of all pools, with what they have left."""

    def __init__(self, problem: PlacementProblem, device_type: str) -> None:
        kind = next(k for k in problem.types if k.name == device_type)
        names = [r.name for r in problem.resources]
        self.device_type = device_type
        self.empty = np.array(
            [kind.capacity.get(n, math.inf) - kind.baseline.get(n, 0.0) for n in names]
        )
        self.left = np.empty((0, len(names)))
        self.names: list[str] = []
        self.of_pool: list[Pool] = []
        self.residents: list[list[tuple[str, Option, float]]] = []
        excluded = set(problem.rules.excluded_devices)
        pools = [p for p in problem.pools if p.device_type == device_type]
        pools = [p for p in pools if p.name not in excluded]
        self.unused = [
            (pool, (n for n in _numbered(pool) if n not in excluded))
            for pool in sorted(pools, key=lambda pool: pool.price)
        ]

    def open(self, hosts: set[str]) -> int | None:
        """The number of a new device on none of these hosts; None if there is none."""
        for place, (pool, names) in enumerate(self.unused):
            if pool.host in hosts:
                continue
            name = next(names, None)
            if name is None:
                del self.unused[place]
                return self.open(hosts)
            if len(self.residents) == len(self.left):
                more = np.tile(self.empty, (max(16, len(self.left)), 1))
                self.left = np.concatenate([self.left, more])
            self.residents.append([])
            self.names.append(name)
            self.of_pool.append(pool)
            return len(self.residents) - 1
        return None

    def host(self, number: int) -> str:
        return self.of_pool[number].host or self.names[number]


def _numbered(pool: Pool) -> Iterator[str]:
    """The names of a pool's devices."""
    if pool.count == 1:
        yield pool.name
        return
    for number in itertools.count(1) if pool.count is None else range(1, pool.count + 1):
        yield f"{pool.name}-{number}"


class Placing:
    """A layout in the making."""

    def __init__(self, problem: PlacementProblem) -> None:
        self.problem = problem
        kinds = dict.fromkeys(pool.device_type for pool in problem.pools)
        self.devices = {kind: Devices(problem, kind) for kind in kinds}
        self.devices_in_use = 0
        copies = {name: model.name for name, model in problem.copies()}
        self.foes: dict[str, set[str]] = defaultdict(set)  # by model: whom to stand apart from
        for group in problem.rules.apart:
            members = [name for name, model in copies.items() if {name, model} & set(group)]
            for name in members:
                self.foes[name] |= set(members) - {name}
        self.spread = {n for n, m in copies.items() if {n, m} & set(problem.rules.spread)}
        self.where: dict[str, list[tuple[Devices, int]]] = defaultdict(list)

    def place(self, name: str, option: Option, share: float, fullest: bool) -> bool:
        """Put a replica on a device in use with room, or a new one."""
        if option.device_type not in self.devices:
            return False
        devices = self.devices[option.device_type]
        need = np.array([self._need(option, r, share) for r in self.problem.resources])
        hosts = {d.host(n) for d, n in self.where[name]} if name in self.spread else set()
        fits = (devices.left[: len(devices.residents)] >= need - 1e-12).all(axis=1)
        for foe in (name, *self.foes[name]):
            for other, number in self.where[foe]:
                if other is devices:
                    fits[number] = False
        found = [int(n) for n in np.nonzero(fits)[0] if not hosts or devices.host(n) not in hosts]
        if found and fullest:
            parts = (devices.left[found] / devices.empty).mean(axis=1)
            number = found[int(parts.argmin())]
        elif found:
            number = found[0]
        else:
            most = self.problem.max_devices
            if (devices.empty < need - 1e-12).any() or self.devices_in_use == most:
                return False
            opened = devices.open(hosts)
            if opened is None:
                return False
            number = opened
            self.devices_in_use += 1
        devices.left[number] -= need
        devices.residents[number].append((name, option, share))
        self.where[name].append((devices, number))
        return True

    def remove(self, name: str) -> None:
        """Take back what was placed of a model."""
        for devices, number in self.where.pop(name, []):
            for resident in devices.residents[number]:
                if resident[0] == name:
                    need = [self._need(resident[1], r, resident[2]) for r in self.problem.resources]
                    devices.left[number] += np.array(need)
            devices.residents[number] = [r for r in devices.residents[number] if r[0] != name]

    @staticmethod
    def _need(option: Option, resource, share: float) -> float:
        need = option.needs.get(resource.name, 0.0)
        return need * share if resource.scales else need

    def layout(self) -> Layout:
        placed = []
        for devices in self.devices.values():
            for number, residents in enumerate(devices.residents):
                if residents:
                    pool = devices.of_pool[number]
                    carried = tuple(
                        Resident(name, o.name, share, o.throughput * share)
                        for name, o, share in residents
                    )
                    placed.append(
                        PlacedDevice(
                            devices.names[number],
                            devices.device_type,
                            carried,
                            host=pool.host,
                            price=pool.price,
                        )
                    )
        return Layout(tuple(placed), self.problem.objective)


def usable(model: Model) -> list[Option]:
    limit = model.latency_limit_ms
    return [o for o in model.options if limit is None or (o.latency_ms or math.inf) <= limit]


def replicas(problem: PlacementProblem, model: Model, option: Option) -> tuple[int, float]:
    """How many equal replicas carry the rate, and the share of each; a device must hold one."""
    kind = next(k for k in problem.types if k.name == option.device_type)
    most = 1.0
    for resource in problem.resources:
        need = option.needs.get(resource.name, 0.0)
        free = kind.capacity.get(resource.name, math.inf) - kind.baseline.get(resource.name, 0.0)
        if need > free:
            most = min(most, free / need if resource.scales and model.rate else 0.0)
    if most <= 0 or option.throughput <= 0:
        return 0, 0.0
    if not model.rate:
        return model.min_replicas, 1.0
    wanted = model.rate / option.throughput
    count = max(model.min_replicas, math.ceil(wanted / most - 1e-12))
    return count, min(1.0, wanted / count * (1 + 1e-12))


def by_dominant_share(
    problem: PlacementProblem, first: str | None = None
) -> Callable[[Model], list[Option]]:
    """A model's options, the cheapest first; before them those on the type `first`."""
    price = {pool.device_type: pool.price for pool in problem.pools}
    kinds = {kind.name: kind for kind in problem.types}

    def cost(model: Model, option: Option) -> float:
        count, share = replicas(problem, model, option)
        if not count:
            return math.inf
        kind = kinds[option.device_type]
        parts = [
            option.needs.get(r.name, 0.0)
            * (share if r.scales else 1.0)
            / (kind.capacity[r.name] - kind.baseline.get(r.name, 0.0))
            for r in problem.resources
            if r.name in kind.capacity
        ]
        return count * max(parts, default=0.0) * price.get(option.device_type, math.inf)

    def options(model: Model) -> list[Option]:
        costs = [
            (o.device_type != first, cost(model, o), n, o) for n, o in enumerate(usable(model))
        ]
        return [o for _, c, _, o in sorted(costs, key=lambda x: x[:3]) if c < math.inf]

    return options


def by_utilization(problem: PlacementProblem) -> Callable[[Model], list[Option]]:
    """The one option that is the cheapest by utilization; nothing to fall back on."""
    price = {pool.device_type: pool.price for pool in problem.pools}

    def options(model: Model) -> list[Option]:
        listed = [o for o in usable(model) if replicas(problem, model, o)[0]]
        return sorted(
            listed,
            key=lambda o: (
                price[o.device_type] * o.needs["utilization"] / (o.throughput if model.rate else 1)
            ),
        )[:1]

    return options


def greedy(
    problem: PlacementProblem,
    options: Callable[[Model], list[Option]],
    *,
    sort: bool = True,
    fullest: bool = False,
) -> Layout | None:
    """Model by model, the largest first; None when one finds no place."""
    placing = Placing(problem)
    order = list(problem.copies())
    if sort:
        order.sort(key=lambda item: -_size(problem, item[1], options))
    for name, model in order:
        if not (model.rate or model.min_replicas):
            continue
        for option in options(model):
            count, share = replicas(problem, model, option)
            if all(placing.place(name, option, share, fullest) for _ in range(count)):
                break
            placing.remove(name)
        else:
            return None
    return placing.layout()


def _size(
    problem: PlacementProblem, model: Model, options: Callable[[Model], list[Option]]
) -> float:
    best = options(model)[:1]
    if not best:
        return 0.0
    count, share = replicas(problem, model, best[0])
    kind = next(k for k in problem.types if k.name == best[0].device_type)
    return count * max(
        best[0].needs.get(r.name, 0.0) * (share if r.scales else 1.0) / kind.capacity[r.name]
        for r in problem.resources
        if r.name in kind.capacity
    )


def most_throughput(problem: PlacementProblem) -> Layout | None:
    """A layout of given devices; None if a model finds no place.

    The demanded replicas of every model at a fourth of its load or less, the largest first; then
    more: for the sum, model by model while something is missing; for max-min, a fourth of its load
    to the model that carries least, until that one finds no place.
    """
    placing = Placing(problem)
    options = by_dominant_share(problem)
    carried: dict[str, float] = defaultdict(float)
    models = dict(problem.copies())

    def place(name: str, share: float, least: float) -> bool:
        for option in options(models[name]):
            part = min(1.0, share / option.throughput)
            for tried in (part, part / 2, part / 4, 0.0):
                if tried >= least and placing.place(name, option, tried, False):
                    carried[name] += tried * option.throughput
                    return True
        return False

    wanted = {
        name: model.rate or max((o.throughput for o in usable(model)), default=0.0)
        for name, model in models.items()
    }
    for name in sorted(models, key=lambda name: -_size(problem, models[name], options)):
        for _ in range(models[name].min_replicas):
            if not place(name, wanted[name] / 4, 0.0):
                return None
    if problem.fairness == "max-min":
        while True:
            name = min(models, key=lambda name: carried[name] / wanted[name])
            if not place(name, wanted[name] / 4, 0.01):
                return placing.layout()
    more = True
    while more:
        more = False
        for name in models:
            missing = wanted[name] - carried[name]
            if missing > 0.05 * wanted[name] and place(name, missing, 0.05):
                more = True
    return placing.layout()


def simple_ways(problem: PlacementProblem) -> Iterator[tuple[str, Callable[[], Layout | None]]]:
    """(name, way) of each simple way for the problem."""
    if problem.objective == "max-throughput":
        yield "greedy", lambda: most_throughput(problem)
        return
    yield "greedy", lambda: greedy(problem, by_dominant_share(problem))
    kinds = dict.fromkeys(pool.device_type for pool in problem.pools)
    if len(kinds) > 1:
        for kind in kinds:
            yield (
                f"{kind} alone",
                lambda kind=kind: greedy(problem, by_dominant_share(problem, kind)),
            )
    yield "fixed option", lambda: greedy(problem, by_utilization(problem))
    yield (
        "MostAllocated",
        lambda: greedy(problem, by_utilization(problem), sort=False, fullest=True),
    )


def compact(
    problem: PlacementProblem, solver_name: str, limit_s: float
) -> tuple[float, float] | None:
    """(value, bound) of the compact model by SCIP or HiGHS; None without a layout in time.

    As many devices of each type as the greedy layout has on all types together, at most what a
    pool has. min-hardware without hosts, slices and slowdown.
    """
    from ortools.linear_solver import pywraplp

    first = greedy(problem, by_dominant_share(problem))
    if first is None or problem.objective != "min-hardware":
        return None
    solver = pywraplp.Solver.CreateSolver(solver_name)
    solver.SetTimeLimit(int(limit_s * 1000))
    price = sum(device.price for device in first.devices)
    kinds = {kind.name: kind for kind in problem.types}
    devices = []
    for pool in problem.pools:
        count = min(pool.count or 10**9, math.ceil(price / pool.price)) if pool.price else 50
        devices += [(pool, n, solver.BoolVar("")) for n in range(count)]
    models = list(problem.copies())
    options = {name: usable(model) for name, model in models}
    by_type = defaultdict(int)
    for pool, _, _ in devices:
        by_type[pool.device_type] += 1
    if sum(by_type[o.device_type] for os in options.values() for o in os) > COMPACT:
        return None
    load = defaultdict(list)
    present = defaultdict(list)
    for name, model in models:
        covered, count = [], []
        for d, (pool, _, _) in enumerate(devices):
            for o in options[name]:
                if o.device_type != pool.device_type:
                    continue
                x = solver.BoolVar("")
                s = solver.NumVar(0, 1, "") if model.rate else x
                if model.rate:
                    solver.Add(s <= x)
                    covered.append(o.throughput / model.rate * s)
                count.append(x)
                present[name, d].append(x)
                for r in problem.resources:
                    if need := o.needs.get(r.name, 0.0):
                        load[d, r.name].append(need * (s if r.scales else x))
        if model.rate:
            solver.Add(sum(covered) >= 1)
        solver.Add(sum(count) >= model.min_replicas)
    for (name, d), here in present.items():
        solver.Add(sum(here) <= devices[d][2])
        if name in problem.rules.spread and devices[d][0].host:
            return None
    for (d, resource), terms in load.items():
        kind = kinds[devices[d][0].device_type]
        if resource in kind.capacity:
            free = kind.capacity[resource] - kind.baseline.get(resource, 0.0)
            solver.Add(sum(terms) <= free * devices[d][2])
    for group in problem.rules.apart:
        for d in range(len(devices)):
            solver.Add(sum(x for name in group for x in present[name, d]) <= 1)
    for d, (pool, n, used) in enumerate(devices):
        if n and devices[d - 1][0] is pool:
            solver.Add(devices[d - 1][2] >= used)  # equal devices are used in order
    solver.Minimize(sum(pool.price * used for pool, _, used in devices))
    status = solver.Solve()
    if status not in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}:
        return None
    return solver.Objective().Value(), solver.Objective().BestBound()
