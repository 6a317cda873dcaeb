"""The best value of a small placement problem, by enumeration, in exact arithmetic.

Every figure is the decimal that was written. Each GPU is given one of its configurations (which
models stand on it or its slices, in which option); equal GPUs in one order only; what cannot be
better than the best so far, or cannot hold any more, is not followed. Shares are found by an exact
linear program. Meanings are those of `placement/problem/problem.py` and of the checker; no code of
the solver is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from math import ceil

from exact_lp import maximise

from placement import Layout, Model, Option, PlacedDevice, PlacementProblem, Pool, Resident
from placement.problem.slowdown import Runner, reached

MOST_CONFIGURATIONS = 3_000  # of one GPU
MOST_NODES = 50_000
ZERO, ONE = Fraction(0), Fraction(1)


class TooLargeError(Exception):
    """The enumeration would take too long."""


@dataclass(frozen=True)
class Best:
    """The value of the best layout, its moves (with `repair` the fewest), and the layout."""

    value: Fraction
    moves: int
    layout: Layout


@dataclass
class _Server:
    """A device or slice with its residents: (copy, option)."""

    name: str
    device_type: str
    residents: tuple[tuple[int, Option], ...]
    rows: list[tuple[dict[int, Fraction], Fraction]] = field(default_factory=list)  # on shares


@dataclass
class _Configuration:
    """What one GPU may hold: servers, and what bounds are computed from."""

    servers: list[_Server]
    pool: Pool
    unit: str  # the GPU's name
    equal: list[str]  # the names of GPUs that equal it, if there are any
    present: tuple[bool, ...]  # by copy
    carries: tuple[Fraction, ...]  # by copy, at most
    cost: Fraction
    moves: int


def exact(figure: float) -> Fraction:
    """The decimal that was written: 0.1 is one tenth."""
    return Fraction(repr(float(figure)))


def solve_exactly(problem: PlacementProblem) -> Best | None:
    """The best layout's value; None when none holds. Raises TooLargeError."""
    return _Search(problem, _devices_of_unlimited(problem)).run()


def _devices_of_unlimited(problem: PlacementProblem) -> int:
    """So many devices of an unlimited pool suffice for the best layout.

    What stands on more devices of a pool can be spread over as many of them, one replica each, at
    no higher price and no more moves. (Not where models are kept together: such problems are not
    drawn with unlimited pools.)
    """
    if all(pool.count is not None for pool in problem.pools):
        return 0
    alone = 0
    for _, model in problem.copies():
        carried = [_alone(problem, o) for o in model.options if _meets(model, o)]
        least = min((c for c in carried if c > 0), default=None)
        replicas = model.min_replicas
        if model.rate and least:
            replicas = max(replicas, ceil(exact(model.rate) / least))
        alone += replicas
    if problem.max_devices is not None:
        alone = problem.max_devices  # what has to share devices is not spread over more
    rules = problem.rules
    named = (
        *(d for _, d in (*rules.pins, *rules.forbidden, *problem.current)),
        *rules.excluded_devices,
    )
    numbers = [d.split("/")[0].rpartition("-")[2] for d in named]
    return alone + max((int(n) for n in numbers if n.isdecimal()), default=0)


def _alone(problem: PlacementProblem, option: Option) -> Fraction:
    """Inferences per second that one replica carries on a device of its own."""
    kind = next(k for k in problem.types if k.name == option.device_type)
    share = ONE
    for resource in problem.resources:
        if resource.name not in kind.capacity:
            continue
        free = exact(kind.capacity[resource.name]) - exact(kind.baseline.get(resource.name, 0.0))
        need = exact(option.needs.get(resource.name, 0.0))
        standing = exact(option.standing.get(resource.name, 0.0))
        free, need = free - standing, need - standing
        if free < 0 or (need > free and not resource.scales):
            return ZERO
        if need > free:
            share = min(share, free / need)
    return share * exact(option.throughput)


def _meets(model: Model, option: Option) -> bool:
    limit = model.latency_limit_ms
    return limit is None or (option.latency_ms is not None and option.latency_ms <= limit)


class _Search:
    def __init__(self, problem: PlacementProblem, unlimited: int) -> None:
        self.problem = problem
        self.unlimited = unlimited
        self.least = problem.objective == "min-hardware"
        self.copies = list(problem.copies())
        self.kinds = {kind.name: kind for kind in problem.types}
        self.paced = [not self.least or bool(m.rate) for _, m in self.copies]
        self.usable = [[o for o in m.options if _meets(m, o)] for _, m in self.copies]
        rules = problem.rules

        def members(group: tuple[str, ...]) -> set[int]:
            return {i for i, (name, m) in enumerate(self.copies) if {name, m.name} & set(group)}

        self.apart = [members(group) for group in rules.apart]
        self.together = [members(group) for group in rules.together]
        self.spread = members(rules.spread)
        self.running = {name for name, _ in problem.current}
        self.current = set(problem.current)
        self.rate = [
            exact(m.rate or max((o.throughput for o in usable), default=0.0))
            for (_, m), usable in zip(self.copies, self.usable, strict=True)
        ]
        self.groups = self._groups()
        self.nodes = 0
        self.best: tuple[Fraction, ...] | None = None  # the greater the better; see `_worth`
        self.best_layout = Layout(())

    # The GPUs and their configurations

    def _groups(self) -> list[tuple[int, str | None, list[_Configuration]]]:
        """(equal GPUs, host, configurations); GPUs without a host are hosts of their own."""
        rules = self.problem.rules
        named = {d for _, d in (*rules.pins, *rules.forbidden, *self.problem.current)}
        named |= set(rules.excluded_devices)
        named |= {name.split("/")[0] for name in named}
        found = []
        for pool in self.problem.pools:
            if pool.name in rules.excluded_devices:
                continue
            equal = []
            for name in pool.devices(self.unlimited if pool.count is None else pool.count):
                if name in rules.excluded_devices:
                    continue
                if name in named and name != pool.name:
                    found.append((1, pool.host, self._configurations(pool, name, [])))
                else:
                    equal.append(name)
            if equal:
                made = self._configurations(pool, equal[-1], equal)
                found.append((len(equal), pool.host, made))
        return found

    def _configurations(self, pool: Pool, name: str, equal: list[str]) -> list[_Configuration]:
        modes = [[(name, pool.device_type)]]
        for partition in dict.fromkeys(pool.partitions):
            counts: Counter[str] = Counter()
            mode = []
            for kind in partition:
                counts[kind] += 1
                mode.append((f"{name}/{kind}-{counts[kind]}", kind))
            modes.append(mode)
        servers = {
            seat: [*self._servers(pool, name, *seat), None] for mode in modes for seat in mode
        }
        found: dict[object, _Configuration] = {}
        for mode in modes:
            size = 1
            for seat in mode:
                size *= len(servers[seat])
            if size > MOST_CONFIGURATIONS:
                raise TooLargeError
            for chosen in product(*(servers[seat] for seat in mode)):
                used = [server for server in chosen if server]
                key = tuple(
                    (s.name, tuple((i, o.name) for i, o in s.residents))
                    for s in sorted(used, key=lambda s: s.name)
                )
                if used and key not in found:
                    made = self._configuration(pool, name, equal, used)
                    if made:
                        found[key] = made
        configurations = self._undominated(list(found.values()))
        return sorted(configurations, key=lambda c: (-sum(c.present), -sum(c.carries)))

    def _servers(self, pool: Pool, unit: str, seat: str, kind: str) -> Iterator[_Server]:
        """All that the device or slice may hold, one server at least."""
        rules = self.problem.rules
        names = {seat, unit, pool.name}
        if seat in rules.excluded_devices:
            return
        choices: list[list[Option | None]] = []
        for (name, model), usable in zip(self.copies, self.usable, strict=True):
            mine = {name, model.name}
            pins = [d for m, d in rules.pins if m in mine]
            allowed = not pins or bool(names & set(pins))
            allowed &= not any(m in mine and d in names for m, d in rules.forbidden)
            choices.append([None, *(o for o in usable if allowed and o.device_type == kind)])
        for chosen in product(*choices):
            here = tuple((i, option) for i, option in enumerate(chosen) if option)
            if not here:
                continue
            there = {i for i, _ in here}
            if any(len(there & group) > 1 for group in self.apart):
                continue
            if any(there & group and not group <= there for group in self.together):
                continue
            server = _Server(seat, kind, here)
            if self._has_room(server) and self._keeps_speed(server):
                yield server

    def _has_room(self, server: _Server) -> bool:
        kind = self.kinds[server.device_type]
        for resource in self.problem.resources:
            if resource.name not in kind.capacity:
                continue
            left = exact(kind.capacity[resource.name])
            left -= exact(kind.baseline.get(resource.name, 0.0))
            shared = {}
            for i, option in server.residents:
                need = exact(option.needs.get(resource.name, 0.0))
                if resource.scales and self.paced[i]:
                    standing = exact(option.standing.get(resource.name, 0.0))
                    shared[i] = need - standing
                    left -= standing
                else:
                    left -= need
            if left < 0:
                return False
            if sum(shared.values()) > left:
                server.rows.append((shared, left))
        return True

    def _keeps_speed(self, server: _Server) -> bool:
        """Whether slowdown lets it stand; what it demands of shares becomes rows.

        Replicas that are not paced reach what the others leave: one that is slowed at all carries
        v = max(0, 1 - b·(F + sum of busy·s)), with F for those that are not slowed. U counts v as
        the greater of both, so that a limit on U is one row for each.
        """
        if not any(option.sensitivity for _, option in server.residents):
            return True
        paced = [(i, o) for i, o in server.residents if self.paced[i]]
        free = [(i, o) for i, o in server.residents if not self.paced[i]]
        if not paced:
            return self._free_keep_speed(free)
        slowed = [(i, o) for i, o in free if o.sensitivity and o.busy]
        if len(slowed) > 1:
            raise TooLargeError
        fixed = sum((exact(o.busy) for i, o in free if (i, o) not in slowed), ZERO)
        for i, option in server.residents:
            b = exact(option.sensitivity)
            if not b:
                continue
            use = {j: exact(o.busy) for j, o in paced if j != i}
            mine = fixed - (exact(option.busy) if (i, option) in free else ZERO)
            mine = fixed if (i, option) in slowed else mine
            cases = [(use, mine)]
            if slowed and slowed[0][0] != i:
                other = slowed[0][1]
                c, busy = exact(other.sensitivity), exact(other.busy)
                # busy · (1 - c·(fixed + all paced)), which is above zero or the other case holds
                every = {j: exact(o.busy) for j, o in paced}
                cases.append(
                    (
                        {j: use.get(j, ZERO) - busy * c * every[j] for j in every},
                        mine + busy * (1 - c * fixed),
                    )
                )
            for shares, constant in cases:
                lost = {j: b * u for j, u in shares.items()}
                limits = []
                if self.paced[i]:
                    limits.append(({**lost, i: lost.get(i, ZERO) + 1}, ONE))
                elif self.problem.max_slowdown is not None:
                    limits.append((lost, exact(self.problem.max_slowdown)))
                limit, latency = self.copies[i][1].latency_limit_ms, option.latency_ms
                if limit is not None and latency:
                    limits.append((lost, 1 - exact(latency) / exact(limit)))
                for row, most in limits:
                    server.rows.append((row, most - b * constant))
        return True

    def _free_keep_speed(self, free: list[tuple[int, Option]]) -> bool:
        """The same without paced replicas: what all reach is known."""
        shares = reached([Runner(1.0, o.busy, o.sensitivity) for _, o in free])
        for n, (i, option) in enumerate(free):
            use = sum(
                o.busy * v for m, ((_, o), v) in enumerate(zip(free, shares, strict=True)) if m != n
            )
            left = 1 - option.sensitivity * use + 1e-9
            limit, latency = self.copies[i][1].latency_limit_ms, option.latency_ms
            if limit is not None and latency and latency > limit * left:
                return False
            most = self.problem.max_slowdown
            if most is not None and shares[n] < 1 - most - 1e-9:
                return False
        return True

    def _configuration(
        self, pool: Pool, unit: str, equal: list[str], servers: list[_Server]
    ) -> _Configuration | None:
        counts: Counter[int] = Counter(i for s in servers for i, _ in s.residents)
        if any(counts[i] > 1 for i in self.spread):
            return None
        carries = [ZERO] * len(self.copies)
        moves = 0
        for server in servers:
            for i, option in server.residents:
                share = ONE
                for row, most in server.rows:
                    if row.get(i, ZERO) > most >= 0 and all(n >= 0 for n in row.values()):
                        share = min(share, most / row[i])
                carries[i] += share * exact(option.throughput)
                name = self.copies[i][0]
                moves += name in self.running and (name, server.name) not in self.current
        cost = exact(pool.price) if self.least else ZERO
        if self.least and not self.problem.repair:
            cost += moves * exact(self.problem.move_price)
        if self.problem.max_moves is not None and moves > self.problem.max_moves:
            return None
        return _Configuration(
            servers,
            pool,
            unit,
            equal,
            tuple(bool(counts[i]) for i in range(len(self.copies))),
            tuple(carries),
            cost,
            moves,
        )

    def _undominated(self, found: list[_Configuration]) -> list[_Configuration]:
        """Without those to which a paced replica can be added at no harm.

        It may carry nothing, and needs nothing then unless something stands at any share.
        """
        if self.running or any(o.sensitivity or o.busy for u in self.usable for o in u):
            return found
        bound = self.spread.union(*self.together, *self.apart)
        addable = {i for i in range(len(self.copies)) if self.paced[i] and i not in bound}
        held = [{(s.name, i, o.name) for s in c.servers for i, o in s.residents} for c in found]
        everything = {frozenset(h) for h in held}
        whole = {s.name: s for c in found for s in c.servers}
        kept = []
        for configuration, here in zip(found, held, strict=True):
            servers = {s.name for s in configuration.servers}
            if not any(
                frozenset({*here, (name, i, o.name)}) in everything
                for name in servers
                for i in addable
                for o in self.usable[i]
                if o.device_type == whole[name].device_type
                and not o.standing
                and not any(place == (name, i) for place in ((h[0], h[1]) for h in here))
            ):
                kept.append(configuration)
        return kept

    # The enumeration

    def run(self) -> Best | None:
        need = [max(0, m.min_replicas) for _, m in self.copies]
        rates = [
            rate if self.least and m.rate else ZERO
            for rate, (_, m) in zip(self.rate, self.copies, strict=True)
        ]
        # What GPUs from here on can add: by position in groups, for each copy and GPU.
        self.rest: list[tuple[list[int], list[Fraction], list[Fraction], Fraction]] = []
        n = len(self.copies)
        present, carries, most = [0] * n, [ZERO] * n, [ZERO] * n
        cheapest = None
        for count, _, configurations in reversed(self.groups):
            for i in range(n):
                present[i] += count * any(c.present[i] for c in configurations)
                top = max((c.carries[i] for c in configurations), default=ZERO)
                carries[i] += count * top
                most[i] = max(most[i], top)
            low = min((c.cost for c in configurations), default=None)
            if low is not None:
                cheapest = low if cheapest is None else min(cheapest, low)
            self.rest.insert(0, (list(present), list(carries), list(most), cheapest or ZERO))
        self.rest.append(([0] * n, [ZERO] * n, [ZERO] * n, ZERO))
        self._go_on(0, 0, 0, [], need, rates, [ZERO] * n, ZERO, 0, Counter())
        if self.best is None:
            return None
        if not self.least:
            return Best(self.best[0], 0, self.best_layout)
        if self.problem.repair:
            moves = int(-self.best[0])
            value = -self.best[1] + moves * exact(self.problem.move_price)
            return Best(value, moves, self.best_layout)
        return Best(-self.best[0], int(-self.best[1]), self.best_layout)

    def _worth(self, cost: Fraction, moves: int) -> tuple[Fraction, ...]:
        if self.problem.repair:
            return (Fraction(-moves), -cost)
        return (-cost, Fraction(-moves)) if self.least else (ZERO,)

    def _go_on(
        self,
        group: int,
        position: int,
        start: int,
        chosen: list[_Configuration],
        need: list[int],
        rates: list[Fraction],
        carried: list[Fraction],
        cost: Fraction,
        moves: int,
        hosts: Counter[tuple[int, str]],
    ) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise TooLargeError
        if self._is_hopeless(group, position, need, rates, carried, cost, moves):
            return
        if group == len(self.groups):
            self._finish(chosen, carried, cost, moves)
            return
        count, host, configurations = self.groups[group]
        limit = self.problem.max_devices
        if position < count and (limit is None or len(chosen) < limit):
            for number in range(start, len(configurations)):
                c = configurations[number]
                if self.problem.max_moves is not None and moves + c.moves > self.problem.max_moves:
                    continue
                after = hosts
                if host is not None and self.spread:
                    here = [(i, host) for i in self.spread if c.present[i]]
                    if any(hosts[key] for key in here):
                        continue
                    after = hosts + Counter(here)
                self._go_on(
                    group,
                    position + 1,
                    number,
                    [*chosen, c],
                    [max(0, k - p) for k, p in zip(need, c.present, strict=True)],
                    [max(ZERO, r - a) if r else r for r, a in zip(rates, c.carries, strict=True)],
                    [a + b for a, b in zip(carried, c.carries, strict=True)],
                    cost + c.cost,
                    moves + c.moves,
                    after,
                )
        self._go_on(group + 1, 0, 0, chosen, need, rates, carried, cost, moves, hosts)

    def _is_hopeless(
        self,
        group: int,
        position: int,
        need: list[int],
        rates: list[Fraction],
        carried: list[Fraction],
        cost: Fraction,
        moves: int,
    ) -> bool:
        present, carries, most, cheapest = self.rest[group]
        if any(k > p for k, p in zip(need, present, strict=True)) or any(
            r > c for r, c in zip(rates, carries, strict=True)
        ):
            return True
        if self.best is None:
            return False
        if self.least:
            devices = max(need, default=0)
            for r, top in zip(rates, most, strict=True):
                if r:
                    devices = max(devices, ceil(r / top))
            return self._worth(cost + devices * cheapest, moves) <= self.best
        return (
            self._throughput([a + b for a, b in zip(carried, carries, strict=True)]) <= self.best[0]
        )

    def _throughput(self, carried: list[Fraction]) -> Fraction:
        relative = [c / r if r else ZERO for c, r in zip(carried, self.rate, strict=True)]
        if self.problem.fairness == "max-min":
            return min(relative, default=ZERO)
        weights = [exact(m.weight) for _, m in self.copies]
        return sum((w * min(ONE, x) for w, x in zip(weights, relative, strict=True)), ZERO)

    def _finish(
        self, chosen: list[_Configuration], carried: list[Fraction], cost: Fraction, moves: int
    ) -> None:
        servers = [server for c in chosen for server in c.servers]
        if any(
            len({s.name for s in servers if i in dict(s.residents)} ^ first)
            for group in self.together
            for first in [{s.name for s in servers if min(group) in dict(s.residents)}]
            for i in group
        ):
            return
        found = self._shares(servers)
        if found is None:
            return
        value, shares = found
        worth = self._worth(cost, moves) if self.least else (value,)
        if self.least and value < 1:
            return
        if self.best is None or worth > self.best:
            self.best, self.best_layout = worth, self._layout(chosen, shares)

    def _layout(
        self, chosen: list[_Configuration], shares: dict[tuple[int, int], Fraction]
    ) -> Layout:
        devices: list[PlacedDevice] = []
        numbers: Counter[str] = Counter()
        for configuration in chosen:
            pool, unit = configuration.pool, configuration.unit
            if configuration.equal:  # these were enumerated under the name of the last one
                unit = configuration.equal[numbers[pool.name]]
                numbers[pool.name] += 1
            for server in configuration.servers:
                place = len(devices)
                parts = [float(shares.get((place, i), ONE)) for i, _ in server.residents]
                runners = [
                    Runner(part, o.busy, o.sensitivity, paced=self.paced[i])
                    for part, (i, o) in zip(parts, server.residents, strict=True)
                ]
                residents = tuple(
                    Resident(self.copies[i][0], o.name, part, o.throughput * speed)
                    for part, speed, (i, o) in zip(
                        parts, reached(runners), server.residents, strict=True
                    )
                )
                name = unit + server.name.removeprefix(configuration.unit)
                parent = None if server.name == configuration.unit else unit
                devices.append(
                    PlacedDevice(name, server.device_type, residents, host=pool.host, parent=parent)
                )
        return Layout(tuple(devices), self.problem.objective)

    def _shares(
        self, servers: list[_Server]
    ) -> tuple[Fraction, dict[tuple[int, int], Fraction]] | None:
        """The best shares by server and model, and the value that they reach.

        min-hardware maximises t <= 1 with t·rate <= carried for all models with a rate: 1 if they
        are met.
        """
        places = [(n, i, o) for n, s in enumerate(servers) for i, o in s.residents if self.paced[i]]
        column = {(n, i): k for k, (n, i, _) in enumerate(places)}
        some = [i for i in range(len(self.copies)) if self.paced[i]]
        added = len(some) if not self.least and self.problem.fairness == "sum" else 1
        width = len(places) + added
        rows: list[tuple[list[Fraction], Fraction]] = []

        def row(figures: dict[int, Fraction], most: Fraction) -> None:
            made = [ZERO] * width
            for k, figure in figures.items():
                made[k] = figure
            rows.append((made, most))

        for k in range(len(places)):
            row({k: ONE}, ONE)
        for n, server in enumerate(servers):
            for figures, most in server.rows:
                row({column[n, i]: figure for i, figure in figures.items()}, most)
        goal = [ZERO] * width
        for number, i in enumerate(some):
            mine = {k: -exact(o.throughput) for k, (_, j, o) in enumerate(places) if j == i}
            extra = len(places) + (number if added > 1 else 0)
            row({**mine, extra: self.rate[i] or ONE}, ZERO)
            goal[extra] = exact(self.copies[i][1].weight) if added > 1 else ONE
        if not self.least and self.problem.fairness == "sum":
            goal = [ZERO] * len(places) + [exact(self.copies[i][1].weight) for i in some]
        for k in range(len(places), width):
            if self.least or self.problem.fairness == "sum":
                row({k: ONE}, ONE)
        if not some:
            return (ONE if self.least else ZERO), {}
        found = maximise(goal, rows)
        if found is None:
            return None
        value, point = found
        return value, {place: point[k] for place, k in column.items()}
