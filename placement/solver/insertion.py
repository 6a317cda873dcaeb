"""Insertion: an item on the seats where it costs least at the dual prices, one replica at a time.

All pairs of seat and row are looked at in one go; seats that could be opened are among them, and
every rule is heeded by what is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from placement.solver.incumbent import REST, Gpu, Incumbent
from placement.solver.instance import LEAST
from placement.solver.rows import SLACK

DEARER = 1.15  # what is left over of a rate is priced so much above the relaxation's price


def insert(
    incumbent: Incumbent,
    i: int,
    seats: list[int],
    *,
    noise: Callable[[int], Any] | None = None,
    opening: float | None = 1.25,
    limit: float = np.inf,
    part: float = 1.0,
    kind: int | None = None,
) -> bool:
    """Insert all that is missing of the item; whether that succeeded.

    `seats`: open seats to look at, to which new ones are added; `noise`: gives so many factors on
    prices; `opening`: how much dearer a replica on a new device is taken to be, None: no new
    device; `limit`: the price of GPUs at which to give up; `part`: of the rate that is to be
    carried; `kind`: the only device type that will do.
    """
    item = incumbent.instance.items[i]
    unused = (1.0 - part) * item.rate
    left, replicas = incumbent.missing(i)
    left = max(0.0, left - unused)
    while left > 0 or replicas > 0:
        if not _insert_one(incumbent, i, item, left, replicas, seats, noise, opening, kind):
            break
        if incumbent.price > limit:
            return False
        left, replicas = incumbent.missing(i)
        left = max(0.0, left - unused)
    incumbent.recount(i)
    return not (incumbent.unmet[i] > 0 or incumbent.absent[i] > 0)


def _insert_one(
    incumbent: Incumbent, i: int, item: Any, left: float, replicas: int, seats: list[int],
    noise: Callable[[int], Any] | None, opening: float | None, kind: int | None,
) -> bool:  # fmt: skip
    instance = incumbent.instance
    if item.rows.stop == item.rows.start:
        return False
    base, inverse, throughput, h, c, types, least = incumbent.rows_of(i)
    mine = incumbent.of[i]
    hosts = incumbent.hosts_of(i) if item.spread else set()
    chosen = [d for d in seats if incumbent.open[d] and d not in mine]
    if item.pins is not None or item.forbidden or item.apart or item.spread:
        chosen = [d for d in chosen if incumbent.may_take(item, d, hosts)]
    virtual = _openings(incumbent) if opening is not None else []
    if not chosen and not virtual:
        return False
    # The first seats stand for empty devices of each type.
    index = chosen + [kind for kind, _, _ in virtual]
    spare = incumbent.free[index][:, None, :] - base
    spare += SLACK
    spare *= inverse
    share = spare[:, :, 0]
    for r in range(1, spare.shape[2]):
        share = np.minimum(share, spare[:, :, r])
    bad = share < 0.0
    bad |= incumbent.type[index][:, None] != types
    if kind is not None:
        bad |= types != kind
    share = np.minimum(share, np.minimum(1.0, left / throughput))
    if instance.slowed:
        _beside(incumbent, chosen, item.rows, share, bad, paced=incumbent.paced(i))
    carried = share * throughput
    rest = left - carried
    rest[rest <= REST * item.rate] = 0.0
    partial = rest > 0
    if not (replicas and incumbent.flexible):  # what has to be there may stand by
        bad |= (carried <= LEAST * np.minimum(item.rate, throughput)) & partial
    score = share * c
    score += h
    rest *= DEARER * incumbent.unit[i]
    score += rest
    score += 0.3 * least * partial
    if instance.problem.current:
        score += _moving(incumbent, item, chosen, virtual)[:, None]
        score += incumbent.move_weight * item.running * partial  # the rest moves, too
    if virtual:
        score[len(chosen) :] *= _dearer(opening, virtual)
    if noise is not None:
        score *= noise(score.size).reshape(score.shape)
    score[bad] = np.inf
    while True:
        place = int(score.argmin())
        s, k = divmod(place, score.shape[1])
        if score[s, k] == np.inf:
            return False
        if s < len(chosen):
            d = chosen[s]
        else:
            found = _resolve(incumbent, virtual[s - len(chosen)], i, item, hosts)
            if found is None:
                score[s] = np.inf
                continue
            gpu, name = found
            d = incumbent.open_seat(gpu, virtual[s - len(chosen)][0], name)
            seats.append(d)
        incumbent.put(i, d, item.rows.start + k, max(0.0, float(share[s, k])))
        return True


def _dearer(opening: float | None, virtual: list[tuple[int, Any, bool]]) -> Any:
    factors = [opening if opens else 1.0 for _, _, opens in virtual]
    return np.array(factors, dtype=float)[:, None]


def _beside(
    incumbent: Incumbent, chosen: list[int], rows: slice, share: Any, bad: Any, *, paced: bool
) -> None:
    """What neighbours leave to the item, and what they bear of it."""
    instance = incumbent.instance
    m = len(chosen)
    if not m:
        return
    b, busy = instance.sensitivity[rows], instance.busy[rows]
    lost = incumbent.pressure[chosen][:, None] * b
    bears = instance.spare[rows]
    if not paced and instance.problem.max_slowdown is not None:
        bears = np.minimum(bears, instance.problem.max_slowdown)
    bad[:m] |= (lost > bears + SLACK) & (b > 0)
    stretch = incumbent.stretch[chosen][:, None]
    bad[:m] |= stretch < -SLACK
    if paced:
        np.minimum(share[:m], np.maximum(0.0, 1.0 - lost), out=share[:m])
        most = np.where(busy > 0, np.maximum(0.0, stretch) / np.where(busy > 0, busy, 1.0), 1e18)
        np.minimum(share[:m], most, out=share[:m])
    else:
        bad[:m] |= busy > stretch + SLACK


def _openings(incumbent: Incumbent) -> list[tuple[int, Any, bool]]:
    """Seats that could be opened: (type, class or GPU, whether that opens a GPU)."""
    found: list[tuple[int, Any, bool]] = []
    for c, cls in enumerate(incumbent.instance.classes):
        found.append((cls.type, c, True))
        if not cls.partitions:
            continue
        kinds = {t for p in cls.partitions for t in p}
        found += [(t, c, True) for t in sorted(kinds)]
        seen: set[tuple[tuple[int, int], ...]] = set()
        for name in sorted(incumbent.kinds_open[c]):
            gpu = incumbent.known[name]
            key = tuple(sorted(gpu.slices.items()))
            if key in seen and not incumbent.instance.problem.rules.pins:
                continue
            seen.add(key)
            found += [(t, gpu, False) for t in sorted(kinds) if incumbent.next_seat(gpu, t)]
    return found


def _resolve(
    incumbent: Incumbent, opening: tuple[int, Any, bool], i: int, item: Any, hosts: set[str]
) -> tuple[Gpu, str] | None:
    kind, what, _ = opening
    gpu = incumbent.closed_gpu(what, i, hosts, kind) if isinstance(what, int) else what
    if gpu is None:
        return None
    name = incumbent.next_seat(gpu, kind)
    if name is None or not incumbent.allowed(item, gpu, name):
        return None
    if item.spread and incumbent.host_of(gpu) in hosts:
        return None
    return gpu, name


def _moving(incumbent: Incumbent, item: Any, chosen: list[int], virtual: list[Any]) -> Any:
    """What the search takes a replica's move to cost, by candidate."""
    weight = incumbent.move_weight * item.running
    cost = np.full(len(chosen) + len(virtual), weight)
    if weight:
        for place, d in enumerate(chosen):
            if incumbent.name_of[d] in item.current:
                cost[place] = 0.0
    return cost
