"""The sweep on the real embedded Triton: figures that agree, resumption, failures as data."""

import os
import shutil
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.loop import Progress
from analyzer.measure.options import Options
from analyzer.measure.search import Search
from analyzer.triton.options import LaunchOptions
from analyzer.triton.runtime import Binary
from profiles.errors import InputError
from profiles.measurement import Measurement
from profiles.store import ProfileStore

pytestmark = pytest.mark.triton

QUICK = SteadyStateRule(relative_half_width=0.2, max_duration_s=1.5)


@pytest.fixture
def options(tmp_path: Path, embedded_triton: Binary, example_repository: Path) -> Options:
    """One small model, four points."""
    return Options(
        model_repository=example_repository,
        store=tmp_path / "profiles.db",
        models=["ocr_orientation"],
        sweep=Sweep(batch_sizes=(1, 4), concurrency=(1, 4)),
        rule=QUICK,
    )


def run(options: Options) -> tuple[list[Measurement], list[Progress]]:
    told: list[Progress] = []
    outcome = profile.run(options, told.append)
    return outcome.measurements, told


def a_repository(path: Path, example_repository: Path, models: Sequence[str]) -> Path:
    for model in models:
        shutil.copytree(example_repository / model, path / model)
    return path


def test_a_pinned_server_is_a_smaller_host(options: Options):
    """On one CPU the host is one core, whatever this machine has, and is fully used by 4 at once.

    ocr_orientation computes on one thread; the rest of the core goes to Triton itself.
    """
    (cpu, *_) = sorted(os.sched_getaffinity(0))
    pinned = replace(
        options, launch=LaunchOptions(cpus=(cpu,)), sweep=Sweep(batch_sizes=(1,), concurrency=(4,))
    )
    ((m,), _) = run(pinned)
    assert m.device_type.endswith("(1 cores)")
    assert m.usage is not None
    assert 30 < m.usage.utilization_percent < 105


def test_a_sweep_measures_every_point_once_and_the_figures_agree(options: Options):
    """Little's law, Triton's own counts, memory and CPU of the Python stub included."""
    measurements, told = run(options)
    assert [m.status for m in measurements] == ["ok"] * 4
    assert [p.done for p in told] == [1, 2, 3, 4]
    for m in measurements:
        assert m.latency is not None
        assert m.usage is not None
        assert m.server_time is not None
        in_flight = m.throughput / m.load.batch_size * m.latency.mean_ms / 1000
        assert in_flight == pytest.approx(m.load.concurrency, rel=0.05)
        assert m.failures == 0
        # A Python stub with ONNX Runtime and the model in it: tens of MB, on one core at most.
        assert 20e6 < m.usage.memory_cold_bytes <= m.usage.memory_hot_bytes < 500e6
        assert m.usage.utilization_percent > 5
        served_ms = m.server_time.queue_ms + m.server_time.compute_infer_ms
        # Triton's mean has the warm-up in it, which on a busy machine is far slower.
        assert 0 < served_ms < 2 * m.latency.mean_ms

    again, told_again = run(options)
    assert told_again == []
    assert again == measurements

    more, told_more = run(replace(options, sweep=Sweep(batch_sizes=(1, 4), concurrency=(1, 2, 4))))
    assert len(told_more) == 2
    assert len(more) == 6


def test_a_variant_is_served_as_it_says(options: Options):
    """Two instances are two stubs: each has its own heap, and they share the code's pages."""
    sweep = Sweep(batch_sizes=(1,), concurrency=(2,), instance_counts=(1, 2))
    one, two = run(replace(options, sweep=sweep))[0]
    assert one.usage is not None
    assert two.usage is not None
    assert two.usage.memory_cold_bytes > 1.2 * one.usage.memory_cold_bytes


def test_a_model_that_does_not_load_is_a_result_and_the_next_is_measured(
    options: Options, tmp_path: Path, example_repository: Path
):
    repository = a_repository(tmp_path / "models", example_repository, ["file_type"])
    shutil.copytree(example_repository / "ocr_orientation", repository / "ocr_orientation")
    broken = repository / "file_type" / "1" / "model.py"
    broken.unlink()
    broken.write_text("raise ValueError('these weights are cursed')\n")
    measurements, _ = run(replace(options, model_repository=repository, models=None))
    by_model = {m.model: m for m in measurements}
    assert by_model["file_type"].status == "failed"
    assert "these weights are cursed" in (by_model["file_type"].reason or "")
    assert by_model["ocr_orientation"].status == "ok"


def test_a_batch_beyond_the_models_limit_is_said_and_the_rest_measured(options: Options):
    sweep = Sweep(batch_sizes=(1, 16), concurrency=(1,))
    small, large = run(replace(options, sweep=sweep))[0]
    assert small.status == "ok"
    assert large.status == "failed"
    assert "max_batch_size 8" in (large.reason or "")


def test_a_server_killed_in_a_point_costs_that_point_only(options: Options):
    """SIGKILL to tritonserver in the middle of the third point; a restart takes seconds."""
    killed = threading.Event()
    others = {process.pid for process in psutil.Process().children(recursive=True)}

    def kill_triton() -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # the stubs go with their server
                if process.name() == "tritonserver" and process.pid not in others:
                    os.kill(process.pid, signal.SIGKILL)
                    killed.set()

    def on_progress(progress: Progress) -> None:
        if progress.done == 2 and not killed.is_set():
            threading.Timer(0.4, kill_triton).start()

    outcome = profile.run(options, on_progress)
    assert killed.is_set()
    assert [m.status for m in outcome.measurements] == ["ok", "ok", "failed", "ok"]
    assert "server died" in (outcome.measurements[2].reason or "")


def test_a_failed_point_is_tried_again_only_when_asked(options: Options):
    sweep = Sweep(batch_sizes=(1, 16), concurrency=(1,))
    assert len(run(replace(options, sweep=sweep))[1]) == 2
    assert len(run(replace(options, sweep=sweep))[1]) == 0
    assert len(run(replace(options, sweep=sweep, retry_failed=True))[1]) == 1


def test_where_every_point_failed_all_are_tried_again(options: Options):
    """It may have been the surroundings; whoever has mended them need not know of an option."""
    sweep = Sweep(batch_sizes=(16,), concurrency=(1,))
    assert len(run(replace(options, sweep=sweep))[1]) == 1
    assert len(run(replace(options, sweep=sweep))[1]) == 1


def test_an_unknown_model_is_refused_before_anything_starts(options: Options):
    with pytest.raises(InputError, match="ocr_orientation"):
        run(replace(options, models=["ocr_orientatoin"]))
    with ProfileStore(options.store) as store:
        assert store.measurements() == []


def test_a_search_measures_a_part_of_the_grid_and_nothing_twice(options: Options):
    """5 batch sizes x 3 concurrencies; more in a batch is faster, so it climbs there."""
    sweep = Sweep(batch_sizes=(1, 2, 4, 6, 8), concurrency=(1, 2, 4))
    said: list[str] = []
    searching = replace(options, sweep=sweep, search=Search())
    first = profile.run(searching, lambda _: None, said.append)
    assert 0 < first.measured < 15
    assert f"{15 - first.measured} of 15 points were not tried." in said
    assert max(m.load.batch_size for m in first.measurements) >= 4
    assert profile.run(searching, lambda _: None).measured == 0
