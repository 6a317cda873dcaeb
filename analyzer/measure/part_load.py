"""A model at a part of its throughput: which points to measure after those of the grid.

Requests arrive at random (Poisson), as callers send them. A model's use of its device is seldom
proportional to its rate: at less load its batches are smaller, so that an inference costs more.

`auto` measures the least that tells the curve, and at most half as many points as the grid has. It
takes the variants and batch sizes that no other one of the model beats in throughput and in
throughput for the use of the device; of each 95 and 50 % of the throughput, then 20 % where use at
50 % is more than `BENT` above the proportional, and 80 % where latency grows by more than `STEEP`
from 50 to 95 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from profiles.measurement import LoadPoint, Measurement
from profiles.variant import Variant

PartLoad = Literal["auto"] | tuple[float, ...]  # parts of the throughput, 0 to 1; (): none

SAME = 0.04  # of a rate: a point this close to it was measured
BENT = 0.05  # of the proportional use
STEEP = 1.5  # times the latency at half of the throughput
BUDGET = 0.5  # of the points of the grid

Family = tuple[Variant, int, int | None]  # variant, batch size, sequence length


@dataclass(frozen=True)
class Wanted:
    """A point to measure."""

    variant: Variant
    load: LoadPoint


def next_point(
    rows: Sequence[Measurement], parts: PartLoad, tried: Iterable[Wanted] = ()
) -> Wanted | None:
    """The next point of a model at part load; None when there are enough.

    `rows`: all that was measured of the model as it is now on the device; `tried`: points that are
    not to be asked for again, whatever came of them.
    """
    tried = set(tried)
    full: dict[Family, Measurement] = {}
    grid = 0
    for m in rows:
        if m.load.concurrency is None:
            continue
        grid += 1
        if m.status == "ok" and m.usage is not None and m.throughput > 0:
            best = full.get(_family(m))
            if best is None or m.throughput > best.throughput:
                full[_family(m)] = m
    at: dict[Family, list[Measurement]] = defaultdict(list)
    for m in rows:
        if m.load.concurrency is None and m.load.arrivals == "poisson":
            at[_family(m)].append(m)
    chosen = list(full) if parts != "auto" else _frontier(full)
    left = max(1, int(BUDGET * grid)) - sum(len(at[family]) for family in chosen)
    for family in chosen:
        for part in _parts(full[family], at[family]) if parts == "auto" else parts:
            wanted = _at(full[family], part)
            if _near(at[family], wanted.load) is not None or wanted in tried:
                continue
            if parts == "auto" and left <= 0:
                return None
            return wanted
    return None


def _family(m: Measurement) -> Family:
    return m.variant, m.load.batch_size, m.load.sequence_length


def _frontier(full: dict[Family, Measurement]) -> list[Family]:
    """Those that no other one beats in throughput and throughput for its use; the fastest first."""

    def gains(m: Measurement) -> tuple[float, float]:
        used = m.usage.utilization_percent if m.usage else None
        return m.throughput, m.throughput / max(used or 100.0, 1.0)

    figures = {family: gains(m) for family, m in full.items()}
    kept = [
        family
        for family, mine in figures.items()
        if not any(
            other[0] >= mine[0] and other[1] >= mine[1] and other != mine
            for other in figures.values()
        )
    ]
    return sorted(kept, key=lambda family: -figures[family][0])


def _parts(full: Measurement, at: Sequence[Measurement]) -> Iterator[float]:
    """Parts of the throughput that `auto` asks for, by what is known of others."""
    yield from (0.95, 0.5)
    half = _near(at, _at(full, 0.5).load)
    high = _near(at, _at(full, 0.95).load)
    if half is None or half.status != "ok" or half.usage is None or full.usage is None:
        return
    used, most = half.usage.utilization_percent, full.usage.utilization_percent
    if used is not None and most and used / most > 0.5 * (1 + BENT):
        yield 0.2
    if high is None or high.latency is None or half.latency is None:
        return
    if high.latency.p95_ms > STEEP * half.latency.p95_ms:
        yield 0.8


def _at(full: Measurement, part: float) -> Wanted:
    rate = float(f"{part * full.throughput / full.load.batch_size:.4g}")
    load = LoadPoint(full.load.batch_size, None, rate, "poisson", full.load.sequence_length)
    return Wanted(full.variant, load)


def _near(rows: Iterable[Measurement], load: LoadPoint) -> Measurement | None:
    rate = load.request_rate or 0.0
    for m in rows:
        if abs((m.load.request_rate or 0.0) - rate) <= SAME * rate:
            return m
    return None
