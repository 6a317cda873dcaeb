"""Which points at part load are measured, and what a real model shows at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from analyzer.measure.part_load import next_point
from analyzer.triton.runtime import Binary
from profiles.environment import Environment
from profiles.measurement import Latency, LoadPoint, Measurement, Usage
from profiles.variant import Variant


def measured(load: LoadPoint, throughput: float, use: float, p95_ms: float = 5.0) -> Measurement:
    return Measurement(
        Variant("bert"),
        load,
        "Tesla T4",
        Environment(),
        throughput=throughput,
        latency=Latency(p95_ms, *[p95_ms] * 5),
        usage=Usage(0, 0, use),
    )


def search(grid: list[Measurement], bent: float = 0.0, steep: float = 1.0) -> list[float]:
    """Parts of 100 infer/s that `auto` asks for of a model that uses (1 + bent·(1 - x))·x of 80 %,
    and is `steep` times later at 95 % than at 50 %."""
    rows, asked = list(grid), []
    while (point := next_point(rows, "auto")) is not None:
        part = (point.load.request_rate or 0.0) / 100
        p95_ms = 5.0 * (steep if part > 0.9 else 1.0)
        rows.append(measured(point.load, 100 * part, 80 * part * (1 + bent * (1 - part)), p95_ms))
        asked.append(part)
    return asked


GRID = [measured(LoadPoint(1, c), r, u) for c, r, u in ((1, 50, 40.0), (2, 100, 80.0))]


def test_auto_measures_the_least_that_tells_the_curve():
    """Proportional use takes two points; a bend one at 20 % more, a steep latency one at 80 %."""
    grid = [*GRID, *(measured(LoadPoint(1, c), 90, 80.0) for c in range(3, 9))]
    assert search(grid) == [0.95, 0.5]
    assert search(grid, bent=0.5) == [0.95, 0.5, 0.2]
    assert search(grid, bent=0.5, steep=4.0) == [0.95, 0.5, 0.2, 0.8]


def test_auto_measures_at_most_half_as_many_points_as_the_grid_has():
    assert search(GRID, bent=0.5, steep=4.0) == [0.95]


def test_auto_leaves_out_variants_that_another_one_beats():
    """Batch 2 gives less than batch 1, for more of the device."""
    worse = [measured(LoadPoint(2, c), 60, 90.0) for c in (1, 2, 3, 4)]
    rows = [*GRID, *worse]
    point = next_point(rows, "auto")
    assert point is not None
    assert point.load == LoadPoint(1, None, 95.0, "poisson")
    every = {p.load.batch_size for p in _all(rows, (0.5,))}
    assert every == {1, 2}, "parts that are named are measured of all"


def test_a_point_that_fails_is_not_asked_for_again():
    (wanted,) = _all(GRID, (0.5,))
    assert next_point(GRID, (0.5,), {wanted}) is None


def _all(rows, parts):
    tried = set()
    while (point := next_point(rows, parts, tried)) is not None:
        tried.add(point)
    return tried


# Every execution takes 4 ms, and 1 ms for each inference in it, of a processor's time.
BATCHER = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        arrays = [pb_utils.get_input_tensor_by_name(r, "IN").as_numpy() for r in requests]
        end = time.thread_time() + 0.004 + 0.001 * sum(len(a) for a in arrays)
        while time.thread_time() < end:
            pass
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", a)]) for a in arrays]
"""
CONFIG = """
backend: "python"
max_batch_size: 8
input { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }
instance_group { count: 1 kind: KIND_CPU }
dynamic_batching { }
"""


@pytest.fixture
def batcher(tmp_path: Path) -> Path:
    (tmp_path / "models" / "batcher" / "1").mkdir(parents=True)
    (tmp_path / "models" / "batcher" / "1" / "model.py").write_text(BATCHER)
    (tmp_path / "models" / "batcher" / "config.pbtxt").write_text(CONFIG)
    return tmp_path / "models"


@pytest.mark.triton
def test_batches_are_smaller_at_part_load_and_resuming_measures_nothing_again(
    embedded_triton: Binary, batcher: Path, tmp_path: Path
):
    """Eight in flight are executed by fours or so; at a fifth of that rate by ones. An inference
    then takes 5 ms of a processor instead of 2 or less."""
    options = Options(
        batcher,
        tmp_path / "profiles.db",
        gpus="none",
        sweep=Sweep((1,), (8,)),
        rule=SteadyStateRule(max_duration_s=3.0),
        part_load=(0.2,),
    )
    made = profile.run(options, lambda _: None)
    full, part = made.measurements
    assert made.measured == 2
    assert part.load.arrivals == "poisson"
    assert full.host is not None
    assert part.host is not None
    assert full.extra["executed_batch_size"] > 2.5
    assert part.extra["executed_batch_size"] < 2.0
    sizes = [n for name, n in full.extra.items() if name.startswith("executed_batches_of_")]
    assert sum(sizes) == pytest.approx(1.0)
    each = [m.host.cpu_cores / m.throughput for m in (full, part)]
    assert each[1] > 1.3 * each[0]
    assert profile.run(options, lambda _: None).measured == 0
