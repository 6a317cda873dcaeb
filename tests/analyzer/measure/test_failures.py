"""Failures are data: whatever a model or its server does, every other point is measured."""

import os
import shutil
import signal
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from pretended_nvml.fleet import GPU_IS_LOST, Fleet
from pretended_nvml.repository import add_model

from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.loop import Progress
from analyzer.measure.options import Options
from analyzer.measure.watchdog import Patience
from analyzer.triton import http_api, local
from analyzer.triton.docker import connect
from analyzer.triton.options import LaunchOptions
from analyzer.triton.runtime import Binary
from profiles.errors import SurroundingsError
from profiles.measurement import Measurement

pytestmark = pytest.mark.triton

HANGS = "moody hangs: no request completed for 3 s; --answer-timeout waits longer"
MOODY = Path(__file__).parents[1] / "moody"


@pytest.fixture
def options(tmp_path: Path, embedded_triton: Binary) -> Options:
    """A model that fails on demand, at three batch sizes, watched by someone with no patience."""
    shutil.copytree(MOODY, tmp_path / "models" / "moody")
    return Options(
        model_repository=tmp_path / "models",
        store=tmp_path / "profiles.db",
        gpus="none",
        sweep=Sweep(batch_sizes=(1, 2, 4), concurrency=(2,)),
        rule=SteadyStateRule(relative_half_width=0.5, max_duration_s=0.5),
        patience=Patience(server_s=3, model_s=3, load_s=60),
    )


def by_mood(options: Options, *moods: str) -> dict[str, list[Measurement]]:
    """Each mood's measurements, by batch size; the moods are values of a swept parameter."""
    sweep = replace(options.sweep, parameters=(("mood", moods),))
    found: dict[str, list[Measurement]] = {mood: [] for mood in moods}
    for m in profile.run(replace(options, sweep=sweep), lambda _: None).measurements:
        found[dict(m.variant.parameters)["mood"]].append(m)
    return found


def statuses(measurements: list[Measurement]) -> list[str]:
    return [m.status for m in measurements]


def test_a_model_that_exits_or_refuses_costs_that_point_only(options: Options):
    """From batch size 2 on; the next variant finds a server that works."""
    options = replace(options, sweep=replace(options.sweep, batch_sizes=(1, 2)))
    found = by_mood(options, "exits", "refuses", "well")
    assert statuses(found["exits"]) == ["ok", "failed"]
    assert "not healthy" in (found["exits"][1].reason or "")
    assert statuses(found["refuses"]) == ["ok", "failed"]
    assert "No!" in (found["refuses"][1].reason or "")
    assert statuses(found["well"]) == ["ok", "ok"]


def test_what_ran_out_of_memory_is_not_tried_with_a_larger_batch(options: Options):
    (first, second, third) = by_mood(options, "runs out")["runs out"]
    assert statuses([first, second, third]) == ["ok", "failed", "skipped"]
    assert "CUDA out of memory" in (second.reason or "")
    assert third.reason == "b2 c2 already ran out of memory"


def test_a_model_that_hangs_under_load_or_while_it_loads_is_given_up(options: Options):
    """Twice, then its larger loads are not tried; each time a new server takes over."""
    options = replace(options, sweep=replace(options.sweep, batch_sizes=(1, 2, 3, 4)))
    options = replace(options, patience=replace(options.patience, load_s=10))
    found = by_mood(options, "never loads", "hangs")
    assert statuses(found["never loads"]) == ["failed"] * 4
    assert "did not load moody within 10 s" in (found["never loads"][0].reason or "")
    assert statuses(found["hangs"]) == ["ok", "failed", "failed", "skipped"]
    assert found["hangs"][1].reason == HANGS
    assert found["hangs"][3].reason == "the model already hung at b2 c2 and at b3 c2"


def test_a_server_that_hangs_in_a_point_costs_that_point_only(options: Options):
    """SIGSTOP to tritonserver in the middle of the second point."""
    stopped: list[int] = []
    others = {process.pid for process in psutil.Process().children(recursive=True)}

    def stop_triton() -> None:
        for process in psutil.Process().children(recursive=True):
            if process.name() == "tritonserver" and process.pid not in others:
                stopped.append(process.pid)
                os.kill(process.pid, signal.SIGSTOP)

    def on_progress(progress: Progress) -> None:
        if progress.done == 1:
            threading.Timer(0.3, stop_triton).start()

    outcome = profile.run(options, on_progress)
    assert len(stopped) == 1
    assert not psutil.pid_exists(stopped[0])
    assert statuses(outcome.measurements) == ["ok", "failed", "ok"]
    assert "Triton hangs: no response for 3 s" in (outcome.measurements[1].reason or "")


def test_a_model_that_hangs_on_a_running_server_is_left_alone_and_the_next_is_measured(
    options: Options, embedded_triton: Binary
):
    """Nobody here can restart it: what hangs on it is not loaded again."""
    sunny = shutil.copytree(MOODY, options.model_repository / "sunny") / "config.pbtxt"
    sunny.write_text(sunny.read_text().replace("moody", "sunny"))
    moody = options.model_repository / "moody" / "config.pbtxt"
    moody.write_text(
        moody.read_text() + 'parameters { key: "mood" value { string_value: "hangs" } }\n'
    )
    with local.launch(options.model_repository, embedded_triton) as there:
        remote = LaunchOptions(mode="remote", http_url=there.http_url)
        outcome = profile.run(replace(options, launch=remote), lambda _: None)
        assert there.alive()
    first, second, third, *rest = outcome.measurements
    assert statuses([first, second, third]) == ["ok", "failed", "failed"]
    assert first.usage is None  # of a CPU host it is told by processes, which cannot be seen
    assert first.host is None
    assert any("processes cannot be seen from here" in text for text in first.warnings)
    assert second.reason == HANGS
    assert "cannot be restarted from here: restart it there" in (third.reason or "")
    assert [(m.model, m.status) for m in rest] == [("sunny", "ok")] * 3


def test_a_running_server_that_goes_away_and_comes_back_costs_one_point(
    options: Options, embedded_triton: Binary
):
    """Killed in the second point; whoever runs it starts it again two seconds later."""
    with local.launch(options.model_repository, embedded_triton) as there:

        def fail_over() -> None:
            os.kill(there.pids()[0], signal.SIGKILL)
            time.sleep(2)
            there.restart()

        def on_progress(progress: Progress) -> None:
            if progress.done == 1:
                threading.Timer(0.3, fail_over).start()

        remote = LaunchOptions(mode="remote", http_url=there.http_url, return_s=30)
        outcome = profile.run(replace(options, launch=remote), on_progress)
    assert statuses(outcome.measurements) == ["ok", "failed", "ok"]


def test_a_server_that_hangs_while_it_loads_a_model_is_replaced(
    options: Options, monkeypatch: pytest.MonkeyPatch
):
    """Its silence is noticed long before the load has taken too long."""
    monkeypatch.setattr(http_api, "SILENCE_S", 3)
    others = {process.pid for process in psutil.Process().children(recursive=True)}
    stop = threading.Thread(target=stop_triton_once_it_has_a_stub, args=(others,))
    stop.start()
    outcome = profile.run(options, lambda _: None)
    stop.join()
    assert statuses(outcome.measurements) == ["failed", "ok", "ok"]
    assert "no response for 3 s" in (outcome.measurements[0].reason or "")


def stop_triton_once_it_has_a_stub(others: set[int]) -> None:
    """SIGSTOP to tritonserver while the stub of its first model starts."""
    while True:
        found = [p for p in psutil.Process().children(recursive=True) if p.pid not in others]
        children = {}
        for process in found:
            with suppress(psutil.NoSuchProcess):  # short-lived ones are gone by now
                children[process.name()] = process
        if "triton_python_backend_stub" in children:
            children["tritonserver"].suspend()
            return
        time.sleep(0.005)


def test_a_gpu_that_stays_lost_ends_the_sweep_and_a_new_run_measures_the_rest(
    tmp_path: Path, embedded_triton: Binary, pretended_nvml: Fleet
):
    """Nothing can be measured on it: what is left is not marked as failed."""
    gpu = pretended_nvml.add_gpu()
    for name in ("ant", "bee"):
        add_model(tmp_path / "models", name, cold_bytes=10**9, hot_bytes=10**9, gpu=gpu)
    options = Options(
        model_repository=tmp_path / "models",
        store=tmp_path / "profiles.db",
        sweep=Sweep(batch_sizes=(1, 2), concurrency=(2,)),
        rule=SteadyStateRule(relative_half_width=0.5, max_duration_s=1),
        patience=Patience(device_s=1),
    )
    told: list[str] = []

    def on_progress(progress: Progress) -> None:
        told.append(progress.measurement.status)
        pretended_nvml.set(gpu, fault=GPU_IS_LOST)

    with pytest.raises(SurroundingsError, match="GPU is lost"):
        profile.run(options, on_progress)
    assert told == ["ok", "failed"]
    pretended_nvml.set(gpu)
    outcome = profile.run(options, lambda _: None)
    assert (statuses(outcome.measurements), outcome.measured) == (["ok", "failed", "ok", "ok"], 2)


@pytest.mark.docker
def test_a_container_that_is_killed_and_one_that_hangs_cost_a_point_each(
    options: Options, triton_image: str
):
    """SIGSTOP in the second point, SIGKILL in the fourth."""
    signals = {1: "SIGSTOP", 3: "SIGKILL"}

    def send(number: str) -> None:
        with closing(connect()) as engine:
            mine = {"label": f"model-placer.owner-pid={os.getpid()}"}
            (container,) = engine.containers.list(filters=mine)
            container.kill(number)

    def on_progress(progress: Progress) -> None:
        if progress.done in signals:
            threading.Timer(0.3, send, [signals[progress.done]]).start()

    launch = LaunchOptions(mode="docker", image=triton_image)
    sweep = replace(options.sweep, batch_sizes=(1, 2, 3, 4, 5))
    outcome = profile.run(replace(options, launch=launch, sweep=sweep), on_progress)
    assert statuses(outcome.measurements) == ["ok", "failed", "ok", "failed", "ok"]
    assert "Triton hangs" in (outcome.measurements[1].reason or "")
    assert "the server died" in (outcome.measurements[3].reason or "")
