"""A part of a layout that is improved by itself, and how the parts of one are put together.

The devices in use are dealt out at random. A part has the replicas on its devices, and of every
item the rate and the replicas that these carry, so that all demands are met when each part meets
its own. Rules speak of one device, or of the hosts of one item (devices of a host stay together
then). What is counted over all is dealt out, too: moves and devices that may yet be made or opened,
and the devices that are not in use, by a hash of their names.
"""

from __future__ import annotations

import random
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from placement.problem import Pool
from placement.solver.improve import Snapshot, snapshot
from placement.solver.incumbent import Incumbent
from placement.solver.instance import Instance
from placement.solver.relaxation import Relaxation

LARGEST = 0.8  # of the devices: a host with more leaves too little to the other parts

Placed = tuple[int, str, str, int, str, int, float]  # item, pool, GPU, type, seat, row, share


@dataclass(frozen=True)
class Part:
    """What is improved by itself; the whole layout, too."""

    placed: list[Placed]
    asked: dict[int, tuple[float, int, float]]  # by item: rate, replicas, penalty
    number: int = 0
    parts: int = 1
    salt: int = 0
    elsewhere: frozenset[str] = frozenset()  # GPUs in use by other parts
    hosts: dict[str, int] = field(default_factory=dict)  # the part of each host that matters
    moves: int | None = None  # that it may add
    devices: int | None = None  # that it may add


@dataclass(frozen=True)
class Improved:
    """What a search made of a part."""

    placed: list[Placed]
    cost: float
    steps: int


def whole(incumbent: Incumbent) -> Part:
    """Everything as one part."""
    items = incumbent.instance.items
    asked = {i: (item.rate, item.replicas, item.penalty) for i, item in enumerate(items)}
    problem = incumbent.instance.problem
    spare = None if problem.max_devices is None else problem.max_devices - incumbent.used
    return Part(placed_in(incumbent), asked, moves=_spare_moves(incumbent), devices=spare)


def deal(incumbent: Incumbent, number: int, rng: random.Random) -> list[Part] | None:
    """So many parts, dealt out at random; None where hosts stay together that have nearly all."""
    spread = bool(incumbent.instance.problem.rules.spread)
    groups: dict[str, list[str]] = defaultdict(list)
    used = {gpu.name: gpu.pool for gpu in incumbent.known.values() if not gpu.free}
    for name, pool in used.items():
        groups[_group(pool, name, spread)].append(name)
    order = list(groups)
    rng.shuffle(order)
    order.sort(key=lambda name: -len(groups[name]))
    if len(order) < number or len(groups[order[0]]) > LARGEST * len(used):
        return None
    part_of: dict[str, int] = {}  # by GPU
    sizes = [0] * number
    hosts = {}
    for name in order:
        p = min(range(number), key=lambda p: (sizes[p], rng.random()))
        sizes[p] += len(groups[name])
        part_of.update(dict.fromkeys(groups[name], p))
        hosts[name] = p
    placed: list[list[Placed]] = [[] for _ in range(number)]
    for what in placed_in(incumbent):
        placed[part_of[what[2]]].append(what)
    asked = _asked(incumbent, placed, rng)
    problem = incumbent.instance.problem
    moves = _dealt(_spare_moves(incumbent), number, rng)
    spare = None if problem.max_devices is None else problem.max_devices - incumbent.used
    devices = _dealt(spare, number, rng)
    salt = rng.randrange(1 << 30)
    return [
        Part(
            placed[p],
            asked[p],
            p,
            number,
            salt,
            frozenset(name for name in used if part_of[name] != p),
            hosts if spread else {},
            moves[p],
            devices[p],
        )
        for p in range(number)
    ]


def build(instance: Instance, relaxation: Relaxation, part: Part, *, free: bool) -> Incumbent:
    """The part as a layout of its own."""
    work = Incumbent(instance, relaxation, free_devices=free)
    items = tuple(
        replace(item, rate=rate, replicas=replicas, penalty=penalty)
        for i, item in enumerate(instance.items)
        for rate, replicas, penalty in [part.asked.get(i, (0.0, 0, 0.0))]
    )
    work.instance = replace(instance, items=items)
    work.excluded |= part.elsewhere
    for i, pool, name, kind, seat, j, share in part.placed:
        gpu = work.gpu_named(pool, name)
        d = gpu.seats.get(seat)
        work.put(i, work.open_seat(gpu, kind, seat) if d is None else d, j, share)
    work.unmet[:] = 0.0
    work.absent[:] = 0.0
    for i in part.asked:
        work.recount(i)
    if part.parts > 1:
        _restrict(work, part)
    if part.moves is not None:
        work.most_moves = work.moves + part.moves
    if part.devices is not None:
        problem = replace(instance.problem, max_devices=work.used + part.devices)
        work.instance = replace(work.instance, problem=problem)
    return work


def join(incumbent: Incumbent, placed: Iterable[Placed]) -> Snapshot:
    """The replicas of all parts, on the incumbent's GPUs."""
    return [
        (i, incumbent.gpu_named(pool, name), kind, seat, j, share)
        for i, pool, name, kind, seat, j, share in placed
    ]


def placed_in(incumbent: Incumbent) -> list[Placed]:
    """All replicas, by the names of their seats."""
    return [
        (i, gpu.pool.name, gpu.name, kind, seat, j, share)
        for i, gpu, kind, seat, j, share in snapshot(incumbent)
    ]


def _restrict(work: Incumbent, part: Part) -> None:
    """Leave GPUs that are not in use to the parts that own them."""
    spread = bool(work.instance.problem.rules.spread)

    def owner(name: str) -> int:
        drawn = zlib.crc32(f"{part.salt} {name}".encode()) % part.parts
        return part.hosts.get(name, drawn)

    for cls, named in zip(work.instance.classes, work.named, strict=True):
        for name, gpu in list(named.items()):
            if name in part.elsewhere or owner(_group(gpu.pool, name, spread)) != part.number:
                del named[name]
        for pool in cls.pools:
            if spread and pool.host is not None and owner(pool.host) != part.number:
                work.barred.add(pool.name)
    hosted = {pool.name for cls in work.instance.classes for pool in cls.pools if pool.host}
    work.may_open = lambda pool, name: (spread and pool in hosted) or owner(name) == part.number


def _group(pool: Pool, name: str, spread: bool) -> str:
    """What stays in one part: the GPU, or its host where items have to spread over hosts."""
    return pool.host if spread and pool.host is not None else name


def _asked(
    incumbent: Incumbent, placed: list[list[Placed]], rng: random.Random
) -> list[dict[int, tuple[float, int, float]]]:
    """What the parts carry of every item; what is not met is left to one of them."""
    instance = incumbent.instance
    carried: list[dict[int, float]] = [defaultdict(float) for _ in placed]
    gpus: list[dict[int, set[str]]] = [defaultdict(set) for _ in placed]
    for p, mine in enumerate(placed):
        for i, _, gpu, _, _, j, share in mine:
            carried[p][i] += float(instance.throughput[j]) * share
            gpus[p][i].add(gpu)
    asked: list[dict[int, tuple[float, int, float]]] = [{} for _ in placed]
    order = list(range(len(placed)))
    for i, item in enumerate(instance.items):
        holders = [p for p in order if i in gpus[p]] or [rng.choice(order)]
        rng.shuffle(holders)
        rate, replicas = item.rate, item.replicas
        for p in holders:
            last = p == holders[-1]
            met = incumbent.unmet[i] <= 0 and len(holders) > 1
            part = min(rate, carried[p][i]) if met or not last else rate
            here = min(replicas, len(gpus[p][i])) if not last else replicas
            weight = part / item.rate if item.rate > 0 else 1.0
            asked[p][i] = (part, here, item.penalty * weight)
            rate, replicas = max(0.0, rate - part), replicas - here
    return asked


def _spare_moves(incumbent: Incumbent) -> int | None:
    most = incumbent.most_moves
    return None if most is None else max(0, most - incumbent.moves)


def _dealt(spare: int | None, number: int, rng: random.Random) -> list[int | None]:
    """A number in parts that differ by one at most."""
    if spare is None:
        return [None] * number
    parts: list[int | None] = [(spare + k) // number for k in range(number)]
    rng.shuffle(parts)
    return parts
