"""What each further instance of a model costs in memory.

Frameworks differ in whether an instance copies the weights: it is a difference of measurements of
the same variant with more and with fewer instances, each at the most it held under load.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from profiles.measurement import Measurement
from profiles.variant import Variant


@dataclass(frozen=True)
class AddedInstance:
    """Memory of each instance after the first ones, on average."""

    variant: Variant  # without a count
    device_type: str
    fewest: int  # instances that were measured
    most: int
    cold_bytes: float  # loaded and idle
    hot_bytes: float  # peak under the heaviest of the loads that both were measured at


def added_instances(measurements: Iterable[Measurement]) -> list[AddedInstance]:
    """Of every variant that was measured with several counts of instances."""
    groups: dict[tuple[Variant, str], dict[int, dict[str, tuple[int, int]]]] = defaultdict(dict)
    for m in measurements:
        count = m.variant.instance_count
        if m.status == "ok" and m.usage is not None and count is not None:
            group = groups[replace(m.variant, instance_count=None), m.device_type]
            held = (m.usage.memory_cold_bytes, m.usage.memory_hot_bytes)
            group.setdefault(count, {})[str(m.load)] = held
    found = []
    for (variant, device_type), counts in groups.items():
        fewest, most = min(counts), max(counts)
        loads = counts[fewest].keys() & counts[most].keys()
        if fewest < most and loads:
            cold, hot = (
                (
                    max(counts[most][load][i] for load in loads)
                    - max(counts[fewest][load][i] for load in loads)
                )
                / (most - fewest)
                for i in (0, 1)
            )
            found.append(AddedInstance(variant, device_type, fewest, most, cold, hot))
    return found
