"""What `profile` would do: points, those that the store has, and how long the others may take."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace

from analyzer.devices.open_device import open_device
from analyzer.measure.options import Options
from analyzer.measure.plan import make_plan
from analyzer.measure.shard import expected_s
from profiles.measurement import Measurement
from profiles.store import ProfileStore


@dataclass(frozen=True)
class Prospect:
    """What is to be done for one model."""

    model: str
    variants: int
    points: int
    in_store: int  # and not to be measured again
    expected_s: float  # of those that are missing; a search takes fewer of them


def look(options: Options, say: Callable[[str], None] = lambda _: None) -> list[Prospect]:
    """What `profile` with these options would do; nothing is started, nothing written.

    A point takes as long as this model's did so far, or else the whole `max_duration`, and each
    variant its loading. Points of any server count as measured, since none runs that could be
    asked for its version. Raises InputError as `profile` does.
    """
    plan = make_plan(options, say)
    with open_device(options.gpus, options.launch.cpus) as device:
        device_type = device.device_type.name
    there: list[Measurement] = []
    if options.store.exists():
        with ProfileStore(options.store, read_only=True) as store:
            there = store.measurements()
    here = [m for m in there if m.device_type == device_type]
    done = {
        (m.variant.key, str(m.load), m.model_digest)
        for m in here
        if not options.remeasure and (m.status == "ok" or not options.retry_failed)
    }
    found = []
    for model in plan.models:
        points = [point for point in plan.points if point.variant.model == model]
        missing = [p for p in points if (p.variant.key, str(p.load), p.digest) not in done]
        took = [m.duration_s for m in here if m.model == model and m.duration_s]
        each_s = statistics.median(took) if took else options.rule.max_duration_s
        loads = len(missing) / max(1, len({p.variant for p in missing}))
        variants = len({point.variant for point in missing})
        found.append(
            Prospect(
                model,
                variants=len({point.variant for point in points}),
                points=len(points),
                in_store=len(points) - len(missing),
                expected_s=expected_s(variants, 1, loads * each_s),
            )
        )
    return found


def together(prospects: list[Prospect]) -> Prospect:
    """All models as one row."""
    first = Prospect("all models", 0, 0, 0, 0.0)
    for one in prospects:
        first = replace(
            first,
            variants=first.variants + one.variants,
            points=first.points + one.points,
            in_store=first.in_store + one.in_store,
            expected_s=first.expected_s + one.expected_s,
        )
    return first
