"""What was found, by what evidence, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from profiles import model_config
from profiles.errors import InputError
from profiles.measurement import Measurement
from profiles.model_config import ModelConfig
from profiles.repository import ModelDirectory
from profiles.variant import AS_CONFIGURED, Variant

Sure = Literal["measured", "inferred", "to be swept"]

ASSUMED_HALF_WIDTH = 0.05  # of a throughput whose confidence is not known


@dataclass(frozen=True)
class Gain:
    """What a change is expected to bring: each from the least to the most, relative to now."""

    throughput: tuple[float, float] | None = None  # 0.2: a fifth more
    latency: tuple[float, float] | None = None  # -0.2: a fifth less
    memory_bytes: int | None = None  # less of it; negative: more


@dataclass(frozen=True)
class Finding:
    """One thing to do; `sure` tells measured facts from what must be tried."""

    kind: str
    model: str  # empty: of the server, the fleet or the measurement
    says: str
    evidence: tuple[str, ...]  # points and log lines, in words
    sure: Sure
    change: str = ""  # a diff of config.pbtxt, or the command
    sweep: str = ""  # the command that would prove it
    gain: Gain = field(default_factory=Gain)
    point: Measurement | None = None  # at which the gain is stated
    variant: Variant | None = None  # the change as a variant, for `--try` and for placing again
    devices: tuple[int, int] | None = None  # in use before and after, by placing again


@dataclass(frozen=True)
class Evidence:
    """What is known: points of the store, configurations, Triton's log and statistics."""

    rows: tuple[Measurement, ...] = ()
    models: Mapping[str, ModelDirectory] = field(default_factory=dict)
    log: str = ""
    log_name: str = ""
    gpus: tuple[str, ...] = ()  # of this machine, by type
    statistics: Sequence[Mapping[str, object]] = ()  # Triton's `model_stats`

    def points(self) -> tuple[Measurement, ...]:
        """Those that have figures."""
        return tuple(row for row in self.rows if row.status == "ok" and row.throughput > 0)

    def groups(self) -> Iterator[tuple[Measurement, ...]]:
        """The points of each model on each device type."""
        found: dict[tuple[str, str], list[Measurement]] = {}
        for row in self.points():
            found.setdefault((row.model, row.device_type), []).append(row)
        yield from (tuple(rows) for rows in found.values())

    def config(self, variant: Variant) -> ModelConfig | None:
        """The configuration that a variant runs with, where the model's own is known."""
        model = self.models.get(variant.model)
        if model is None or model.config is None:
            return None
        try:
            return model_config.apply_variant(model.config, variant)
        except InputError:  # a row of other files
            return None


def as_configured(variant: Variant) -> bool:
    """Whether a variant, and all that it is composed of, is left as its configuration says."""
    return str(variant) == AS_CONFIGURED


def by_variant(rows: Sequence[Measurement]) -> dict[Variant, list[Measurement]]:
    """The points of each variant."""
    found: dict[Variant, list[Measurement]] = {}
    for row in rows:
        found.setdefault(row.variant, []).append(row)
    return found


def heaviest(rows: Sequence[Measurement]) -> Measurement | None:
    """The point with most requests in flight, and of these the one of most throughput."""
    loaded = [row for row in rows if row.load.concurrency]
    return max(loaded, key=lambda r: (r.load.concurrency or 0, r.throughput), default=None)


def half_width(row: Measurement) -> float:
    """How far its throughput may be off, as a part of it."""
    return row.confidence.throughput if row.confidence else ASSUMED_HALF_WIDTH


def surely_more(more: Measurement, less: Measurement) -> bool:
    """Whether the intervals in which both throughputs lie do not meet."""
    low, high = more.throughput * (1 - half_width(more)), less.throughput * (1 + half_width(less))
    return low > high


def told(row: Measurement) -> str:
    """A point in words."""
    p50 = f", p50 {row.latency.p50_ms:.1f} ms" if row.latency else ""
    width = f" ±{row.confidence.throughput:.0%}" if row.confidence else ""
    return (
        f"{row.model} [{row.variant}] {row.load} on {row.device_type}: "
        f"{row.throughput:.5g} infer/s{width}{p50}"
    )


def instances(evidence: Evidence, variant: Variant) -> int | None:
    """How many instances run, where that is known."""
    if variant.instance_count is not None:
        return variant.instance_count
    config = evidence.config(variant)
    if config is None:
        return None
    return sum(max(1, group.count) for group in config.instance_group) or 1
