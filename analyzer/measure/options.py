"""What to measure, on what, and how precisely: the first value that `profile` hands on.

Options → plan (`plan.py`) → bench (`bench.py`) → measurement (`point.py`) → store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analyzer.load.generator import Via
from analyzer.load.inputs import Inputs
from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure.grid import Sweep
from analyzer.measure.part_load import PartLoad
from analyzer.measure.search import Search
from analyzer.measure.shard import Shard
from analyzer.measure.watchdog import Patience
from analyzer.triton.options import LaunchOptions
from profiles.variant import Variant


@dataclass(frozen=True)
class Options:
    """Options of `profile`."""

    model_repository: Path
    store: Path
    models: Sequence[str] | None = None  # all by default
    sweep: Sweep = field(default_factory=Sweep)
    sweep_by_model: Mapping[str, Sweep] = field(default_factory=dict)  # in place of `sweep`
    variants: Mapping[str, Sequence[Variant]] = field(default_factory=dict)  # of models whose
    # variants are known, in place of what `sweep` varies of their configuration
    with_models: Mapping[str, Sequence[str]] = field(default_factory=dict)  # what a model calls
    inputs: Inputs = field(default_factory=Inputs)
    launch: LaunchOptions = field(default_factory=LaunchOptions)  # its GPUs come from `gpus`
    gpus: str = "auto"  # auto, first, none, or the index or UUID of one
    rule: SteadyStateRule = field(default_factory=SteadyStateRule)
    patience: Patience = field(default_factory=Patience)
    load_generator: Via = "http"
    shared_memory: bool = False  # inputs lie there, instead of in every request
    search: Search | None = None  # None: the whole grid
    load_times: bool = False  # each variant is loaded twice, from the disk and from the page cache
    part_load: PartLoad = ()  # parts of a model's throughput at which it is measured, too
    remeasure: bool = False
    retry_failed: bool = False
    strict: bool = False  # nothing is measured where a model cannot be
    shard: Shard | None = None  # None: all of the models
    in_parallel: bool = False  # other models are measured meanwhile, on other GPUs of this host

    def sweep_of(self, model: str) -> Sweep:
        """What is varied of a model."""
        return self.sweep_by_model.get(model, self.sweep)
