"""A layout in no time: replicas one by one, the bulkiest first, each where it costs least.

Whatever the rules, a replica goes where it adds the least price per unit of the rate that it
brings; between devices in use, where it leaves least behind (best fit). The result starts the exact
search, and tells it how many devices are enough.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from placement.problem import Model, Option, PlacementProblem
from placement.problem.colocation import COVER, SHARES, Scale, cover
from placement.problem.fleet import Seat, Unit
from placement.problem.options import reference, worthwhile
from placement.solver.assignment import Replica
from placement.solver.result import Deadline
from placement.solver.rules import allowed

ROUNDS = 20  # orders that are tried
PATIENCE_S = 2.0


@dataclass
class _State:
    used: set[int] = field(default_factory=set)
    free: dict[str, list[float]] = field(default_factory=dict)  # by open seat, in SHARES
    cut: dict[int, Counter[str]] = field(default_factory=dict)  # slices in use by unit
    whole: set[int] = field(default_factory=set)
    here: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    hosts: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    replicas: list[Replica] = field(default_factory=list)
    moves: int = 0
    price: float = 0.0


Plan = Mapping[str, Sequence[tuple[int, int]]]  # by model: (option, share) of each replica


def construct(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    deadline: Deadline,
    seed: int = 0,
    plan: Plan | None = None,
) -> tuple[Replica, ...] | None:
    """The cheapest layout of some greedy passes for min-hardware; None when none came out.

    A plan says with which options and shares each model runs, and leaves only the devices open.
    Models that are kept together are left to the exact search.
    """
    if problem.rules.together or problem.objective != "min-hardware":
        return None
    rooms = {
        kind.name: [None if r is None else r * SHARES for r in scale.room(kind)]
        for kind in problem.types
    }
    pieces: list[tuple[float, str, Model, int | None, int]] = []
    for name, model in problem.copies():
        if plan is None:
            pieces.append((_bulk(problem, model, scale, rooms), name, model, None, SHARES))
            continue
        if not plan.get(name) and (model.min_replicas or model.rate):
            return None  # the plan was cut short
        for k, share in plan.get(name, ()):
            size = _size(scale, rooms, model.options[k], share if model.rate else SHARES)
            pieces.append((size, name, model, k, share))
    generator = random.Random(seed)
    best: _State | None = None
    started = time.monotonic()
    for number in range(ROUNDS):
        if number and (deadline.left_s <= 0 or time.monotonic() > started + PATIENCE_S):
            break
        noise = 0.0 if number == 0 else 0.3
        order = sorted(pieces, key=lambda piece: -piece[0] * (1 + noise * generator.random()))
        state = _State()
        placed = all(
            (not best or deadline.left_s > 0)
            and _place(problem, scale, fleet, rooms, state, name, model, k, share)
            for _, name, model, k, share in order
        )
        if placed and (best is None or state.price < best.price):
            best = state
    return None if best is None else tuple(best.replicas)


def _size(scale: Scale, rooms: Mapping[str, list[int | None]], option: Option, share: int) -> float:
    """The largest part of a device that a replica fills."""
    return max(
        (
            need * (share if resource.scales else SHARES) / room
            for need, room, resource in zip(
                scale.needs(option), rooms[option.device_type], scale.resources, strict=True
            )
            if room
        ),
        default=0.0,
    )


def _bulk(
    problem: PlacementProblem, model: Model, scale: Scale, rooms: dict[str, list[int | None]]
) -> float:
    """The least, over options, of the largest part of a device that a replica fills."""
    parts = [
        _size(
            scale,
            rooms,
            option,
            SHARES if not model.rate else min(SHARES, _share(option.throughput, model.rate)),
        )
        for _, option in worthwhile(problem, model)
    ]
    return min(parts, default=0.0) * max(1, model.min_replicas)


def _share(throughput: float, rate: float) -> int:
    part = cover(throughput, rate)
    return -(-COVER * SHARES // part) if part else SHARES


def _place(
    problem: PlacementProblem,
    scale: Scale,
    fleet: list[Unit],
    rooms: dict[str, list[int | None]],
    state: _State,
    name: str,
    model: Model,
    only: int | None = None,
    share_of: int = SHARES,
) -> bool:
    """Settle the model, or just a piece of it: `share_of` the option `only`."""
    options = [
        (k, option, scale.needs(option))
        for k, option in worthwhile(problem, model)
        if only in {None, k}
    ]
    placed = 0
    wanted = model.min_replicas if only is None else 1
    covers = {
        k: cover(option.throughput, reference(model)) if model.rate else 0
        for k, option, _ in options
    }
    left = COVER * SHARES if only is None else covers[only] * share_of  # of the rate
    while placed < wanted or (model.rate and left > 0):
        best: tuple[tuple[float, float], Replica, Unit, Seat, list[float]] | None = None
        fresh: set[str] = set()  # one unused unit of a pool is like the other
        for unit in fleet:
            new = not any(seat.name in state.free for seat in unit.seats)
            if (
                new
                and unit.pool.name in fresh
                and not problem.current
                and not _named(problem, unit)
            ):
                continue
            if new:
                fresh.add(unit.pool.name)
            for seat in unit.seats:
                if not _open(state, unit, seat) or name in state.here[seat.name]:
                    continue
                if not allowed(problem, name, model, unit, seat) or not _agrees(
                    problem, state, name, model, unit, seat
                ):
                    continue
                free = state.free.get(seat.name) or [
                    float("inf") if room is None else float(room)
                    for room in rooms[seat.device_type]
                ]
                for k, option, needs in options:
                    if option.device_type != seat.device_type:
                        continue
                    share = _fitting(scale, needs, free, covers[k], left, rated=bool(model.rate))
                    if share is None:
                        continue
                    rest = [
                        f - need * (share if r.scales else SHARES)
                        for f, need, r in zip(free, needs, scale.resources, strict=True)
                    ]
                    moved = _moves(problem, name, seat)
                    price = (unit.pool.price if _is_new(state, seat) else 0.0) + (
                        problem.move_price * moved
                    )
                    gain = min(1.0, covers[k] * share / left) if model.rate and left > 0 else 1.0
                    filled = sum(
                        1 - f / room
                        for f, room in zip(rest, rooms[seat.device_type], strict=True)
                        if room
                    )
                    size = max(
                        (
                            (f - g) / room
                            for f, g, room in zip(free, rest, rooms[seat.device_type], strict=True)
                            if room
                        ),
                        default=0.0,
                    )
                    # A new device costs what of it is taken; then a little for being new.
                    new_seat = _is_new(state, seat)
                    cost = (price * size if new_seat else 0.0) / max(gain, 1e-9)
                    score = (cost + (1e-3 if new_seat else 0.0), -filled)
                    if best is None or score < best[0]:
                        best = (score, Replica(name, k, seat.name, share), unit, seat, rest)
        if best is None:
            return False
        _, replica, unit, seat, rest = best
        _settle(problem, state, unit, seat, replica, rest)
        placed += 1
        left -= covers[replica.k] * replica.share
        if problem.max_moves is not None and state.moves > problem.max_moves:
            return False
        if problem.max_devices is not None and len(state.used) > problem.max_devices:
            return False
    return True


def _is_new(state: _State, seat: Seat) -> bool:
    """Whether the seat's physical device is not paid for yet."""
    return seat.unit not in state.used


def _named(problem: PlacementProblem, unit: Unit) -> bool:
    rules = problem.rules
    return any(
        unit.answers_to(device) and device != unit.pool.name
        for _, device in (*rules.pins, *rules.forbidden)
    )


def _open(state: _State, unit: Unit, seat: Seat) -> bool:
    """Whether the seat may hold anything, given how its unit is cut so far."""
    if not unit.pool.partitions:
        return True
    if seat.slice_number is None:
        return seat.unit not in state.cut
    if seat.unit in state.whole:
        return False
    if seat.name in state.free:
        return True
    wanted = state.cut.get(seat.unit, Counter()) + Counter([seat.device_type])
    if wanted[seat.device_type] != seat.slice_number:
        return False  # slices of a type are opened in order
    return any(wanted <= Counter(partition) for partition in unit.pool.partitions)


def _agrees(
    problem: PlacementProblem, state: _State, name: str, model: Model, unit: Unit, seat: Seat
) -> bool:
    names = {name, model.name}
    if names & set(problem.rules.spread) and unit.host in state.hosts[name]:
        return False
    present = state.here[seat.name]
    for group in problem.rules.apart:
        if names & set(group) and any(
            other in group or other.rsplit("#", 1)[0] in group for other in present
        ):
            return False
    return True


def _fitting(
    scale: Scale,
    needs: tuple[int, ...],
    free: list[float],
    part: int,
    left: int,
    *,
    rated: bool,
) -> int | None:
    """The share that a replica can carry here, at most what is left of the rate."""
    share = SHARES
    if rated:
        if part <= 0:
            return None
        share = min(SHARES, -(-max(0, left) // part))
    for need, room, resource in zip(needs, free, scale.resources, strict=True):
        if not resource.scales or not rated:
            if need * SHARES > room:
                return None
        elif need and room != float("inf"):
            share = min(share, int(room // need))
    if rated and share <= 0 < left:
        return None
    return share


def _moves(problem: PlacementProblem, name: str, seat: Seat) -> int:
    running = any(model == name for model, _ in problem.current)
    return int(running and (name, seat.name) not in problem.current)


def _settle(
    problem: PlacementProblem,
    state: _State,
    unit: Unit,
    seat: Seat,
    replica: Replica,
    rest: list[float],
) -> None:
    if _is_new(state, seat):
        state.used.add(seat.unit)
        state.price += unit.pool.price
    moved = _moves(problem, replica.model, seat)
    state.moves += moved
    state.price += problem.move_price * moved
    if unit.pool.partitions and seat.name not in state.free:
        if seat.slice_number is None:
            state.whole.add(seat.unit)
        else:
            state.cut.setdefault(seat.unit, Counter())[seat.device_type] += 1
    state.free[seat.name] = rest
    state.here[seat.name].add(replica.model)
    state.hosts[replica.model].add(unit.host)
    state.replicas.append(replica)
