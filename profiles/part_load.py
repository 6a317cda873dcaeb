"""Measurements at part load: of requests at random, to what was measured in full load."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from profiles.measurement import Measurement

FELL_SHORT = 0.9  # of the rate that was sent: less, and requests only queued up
BELOW_FULL = 0.99  # of the throughput in full load: a point above it is none at part load

Family = tuple[str, str, int, int | None]  # variant, device type, batch size, sequence length


@dataclass(frozen=True)
class Loads:
    """Measurements in full load, and those that tell of these at part load."""

    full: tuple[Measurement, ...]  # all others, too: failed ones, or of a variant without full load
    parts: Mapping[Family, tuple[Measurement, ...]]  # by rate

    def at_part(self, full: Measurement) -> tuple[Measurement, ...]:
        """The points below a full load, that with the least rate first."""
        most = BELOW_FULL * full.throughput
        return tuple(m for m in self.parts.get(family(full), ()) if m.throughput < most)


def family(m: Measurement) -> Family:
    """What points at full and at part load have in common."""
    return m.variant.key, m.device_type, m.load.batch_size, m.load.sequence_length


def loads(rows: Iterable[Measurement]) -> Loads:
    """The measurements told apart. Points that fell short of their rate are of neither."""
    rows = list(rows)
    full = {family(m) for m in rows if _good(m) and m.load.concurrency is not None}
    parts: dict[Family, list[Measurement]] = defaultdict(list)
    others = []
    for m in rows:
        at_random = m.load.concurrency is None and m.load.arrivals == "poisson"
        if not (at_random and _good(m) and family(m) in full):
            others.append(m)
        elif not fell_short(m):
            parts[family(m)].append(m)
    ordered = {f: tuple(sorted(mine, key=lambda m: m.throughput)) for f, mine in parts.items()}
    return Loads(tuple(others), ordered)


def fell_short(m: Measurement) -> bool:
    """Whether a point at a request rate carried less than it was sent, by more than chance."""
    sent = (m.load.request_rate or 0.0) * m.load.batch_size
    return m.throughput < FELL_SHORT * sent


def _good(m: Measurement) -> bool:
    return m.status == "ok" and m.usage is not None and m.throughput > 0
