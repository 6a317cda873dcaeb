"""Splits the models of a sweep between machines.

Shard `i` of `n` (i from 0, as Kubernetes' Indexed Jobs and Slurm's arrays count) measures whole
models, so that each is loaded on one machine only. Models go, dearest first, to the shard that has
least so far: the longest then takes at most 4/3 of the best possible split (Graham, "Bounds on
multiprocessing timing anomalies", 1969). The split knows the models' names and the sweep, never
what was measured: a retried shard, and one that is started a day later, gets the same models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from profiles.errors import InputError

LOAD_S = 5.0  # loading a variant, its warm-up, and waiting until its memory is given back


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` parts of a sweep."""

    index: int  # from 0
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.index < self.count:
            raise InputError(
                f"Shard {self.index}/{self.count}: the index must be from 0 to {self.count - 1}."
            )


def expected_s(variants: int, loads: int, max_duration_s: float) -> float:
    """Estimated seconds to measure a model: each variant is loaded once, then every load runs."""
    return variants * (LOAD_S + loads * max_duration_s)


def split(costs: Mapping[str, float], count: int) -> list[list[str]]:
    """The models of each of `count` shards, each model in one; some are empty if models are few.

    Equal costs give an equal split, in whatever order the mapping has them.
    """
    shards: list[list[str]] = [[] for _ in range(count)]
    filled = [0.0] * count
    for model in sorted(costs, key=lambda model: (-costs[model], model)):
        # Of equally filled shards the one with fewer models: models may cost nothing.
        least = min(range(count), key=lambda i: (filled[i], len(shards[i]), i))
        shards[least].append(model)
        filled[least] += costs[model]
    return [sorted(shard) for shard in shards]
