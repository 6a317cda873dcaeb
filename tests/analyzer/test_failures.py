"""Failures are data: whatever a model or its server does, every other point is measured."""

import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from analyzer import profiling
from analyzer.profiler import Progress
from analyzer.profiling import Options
from analyzer.server.runtime import Binary
from analyzer.steady_state import SteadyStateRule
from analyzer.sweep import Sweep
from analyzer.watchdog import Patience
from profiles.measurement import Measurement

pytestmark = pytest.mark.triton

MOODY = Path(__file__).parent / "moody"


@pytest.fixture
def options(tmp_path: Path, embedded_triton: Binary) -> Options:
    """A model that fails on demand, at three batch sizes, watched by someone with no patience."""
    shutil.copytree(MOODY, tmp_path / "models" / "moody")
    return Options(
        model_repository=tmp_path / "models",
        store=tmp_path / "profiles.db",
        gpus="none",
        sweep=Sweep(batch_sizes=(1, 2, 4), concurrency=(2,)),
        rule=SteadyStateRule(relative_half_width=0.5, max_duration_s=1.0),
        patience=Patience(server_s=1.5, model_s=1.5, load_s=2.5),
    )


def by_mood(options: Options, *moods: str) -> dict[str, list[Measurement]]:
    """Each mood's measurements, by batch size; the moods are values of a swept parameter."""
    sweep = replace(options.sweep, parameters=(("mood", moods),))
    found: dict[str, list[Measurement]] = {mood: [] for mood in moods}
    for m in profiling.run(replace(options, sweep=sweep), lambda _: None).measurements:
        found[dict(m.variant.parameters)["mood"]].append(m)
    return found


def statuses(measurements: list[Measurement]) -> list[str]:
    return [m.status for m in measurements]


def test_a_model_that_exits_refuses_or_runs_out_of_memory_costs_those_points_only(
    options: Options,
):
    """From batch size 2 on; what ran out of memory is not tried with a larger batch."""
    found = by_mood(options, "exits", "refuses", "runs out", "well")
    assert statuses(found["exits"]) == ["ok", "failed", "failed"]
    assert "not healthy" in (found["exits"][1].reason or "")
    assert statuses(found["refuses"]) == ["ok", "failed", "failed"]
    assert "No!" in (found["refuses"][2].reason or "")
    assert statuses(found["runs out"]) == ["ok", "failed", "skipped"]
    assert "CUDA out of memory" in (found["runs out"][1].reason or "")
    assert found["runs out"][2].reason == "b2 c2 ran out of memory already"
    assert statuses(found["well"]) == ["ok", "ok", "ok"]


def test_a_model_that_hangs_under_load_or_while_it_loads_is_given_up(options: Options):
    """Twice, then its larger loads are not tried; each time a new server takes over."""
    options = replace(options, sweep=replace(options.sweep, batch_sizes=(1, 2, 3, 4)))
    found = by_mood(options, "never loads", "hangs", "well")
    assert statuses(found["never loads"]) == ["failed"] * 4
    assert "did not load moody within 2.5 s" in (found["never loads"][0].reason or "")
    assert statuses(found["hangs"]) == ["ok", "failed", "failed", "skipped"]
    assert found["hangs"][1].reason == "moody hangs: it answered no request for 1.5 s"
    assert found["hangs"][3].reason == "the model hung at b2 c2 and at b3 c2 already"
    assert statuses(found["well"]) == ["ok"] * 4


def test_a_server_that_hangs_in_a_point_costs_that_point_only(options: Options):
    """SIGSTOP to tritonserver in the middle of the second point."""
    stopped: list[int] = []

    def stop_triton() -> None:
        for process in psutil.Process().children(recursive=True):
            if process.name() == "tritonserver":
                stopped.append(process.pid)
                os.kill(process.pid, signal.SIGSTOP)

    def on_progress(progress: Progress) -> None:
        if progress.done == 1:
            threading.Timer(0.3, stop_triton).start()

    outcome = profiling.run(options, on_progress)
    assert len(stopped) == 1
    assert not psutil.pid_exists(stopped[0])
    assert statuses(outcome.measurements) == ["ok", "failed", "ok"]
    assert "Triton hangs: it answered nothing for 1.5 s" in (outcome.measurements[1].reason or "")
