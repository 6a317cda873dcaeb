"""Two pretended GPUs measured at once, by the real command, with a real Triton for each."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from command_line import COMMAND
from pretended_nvml.fleet import GPU_IS_LOST, Fleet
from pretended_nvml.repository import add_model

from analyzer.triton.runtime import Binary
from profiles.measurement import Measurement
from profiles.store import ProfileStore

pytestmark = pytest.mark.triton

ROOT = Path(__file__).parents[3]
MODELS = ("ant", "bee", "cat", "dog")


@pytest.fixture
def repository(tmp_path: Path, embedded_triton: Binary) -> Path:
    """Four models that hold 1, 2, 3 and 4 GB of whichever GPU their server sees."""
    path = tmp_path / "models"
    for number, name in enumerate(MODELS, 1):
        add_model(
            path,
            name,
            cold_bytes=number * 500_000_000,
            hot_bytes=number * 1_000_000_000,
            utilization_percent=20,
            service_ms=20,
            gpu=None,
        )
    return path


def a_fleet(fleet: Fleet, *names: str) -> None:
    for number, name in enumerate(names):
        fleet.add_gpu(name, uuid=f"GPU-{number}")


@contextmanager
def profiling(
    repository: Path, *arguments: str, models: Sequence[str] = MODELS
) -> Iterator[subprocess.Popen[str]]:
    """The command, running beside the repository, with two points for each model."""
    library = Path(os.environ["PRETENDED_NVML_LIBRARY"])
    sweep = ["--batch-sizes", "1,2", "--concurrency", "2", "--max-duration", "1.5s"]
    with subprocess.Popen(
        [*COMMAND, "profile", "-m", repository, "--models", ",".join(models), *sweep, *arguments],
        cwd=repository.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LD_LIBRARY_PATH": str(library.parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def measurements(repository: Path) -> list[Measurement]:
    with ProfileStore(repository.parent / "profiles.db") as store:
        assert len(store.history()) == len(store.measurements())  # none was measured twice
        return store.measurements()


def by_gpu(found: Sequence[Measurement]) -> dict[str, set[str]]:
    """The models measured on each GPU, by its UUID."""
    uuids = {m.environment.device_uuid for m in found}
    return {
        uuid: {m.model for m in found if m.environment.device_uuid == uuid}
        for uuid in sorted(uuids)
    }


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """What was said on stderr up to the line with the text."""
    said = ""
    assert process.stderr is not None
    for line in process.stderr:
        said += line
        if text in line:
            return said
    pytest.fail(f"{text!r} was never said, but {said}", pytrace=False)


def test_two_gpus_share_the_models_and_each_is_measured_once(
    repository: Path, pretended_nvml: Fleet
):
    """Two models or so on each; the memory of each model shows that no GPU sees the other's."""
    a_fleet(pretended_nvml, "Tesla T4", "Tesla T4")
    for _ in range(3):  # on a busy host one may have done all before the other's server runs
        for store in repository.parent.glob("profiles.db*"):
            store.unlink()
        with profiling(repository, "--parallel") as process:
            _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        found = measurements(repository)
        assert [m.status for m in found] == ["ok"] * 8
        shares = by_gpu(found)
        if len(shares) == 2:
            break
    assert sorted(shares) == ["GPU-0", "GPU-1"]
    assert not shares["GPU-0"] & shares["GPU-1"]
    for m in found:
        assert m.usage is not None
        assert m.usage.memory_hot_bytes == (MODELS.index(m.model) + 1) * 1_000_000_000
    assert "4 models on Tesla T4" in said
    assert "[8/8] GPU " in said
    with profiling(repository, "--parallel") as process:
        _, said = process.communicate(timeout=60)
    assert "0 points to measure" in said
    assert len(measurements(repository)) == 8


def test_each_type_of_gpu_measures_every_model(repository: Path, pretended_nvml: Fleet):
    a_fleet(pretended_nvml, "Tesla T4", "NVIDIA A10")
    with profiling(repository, "--parallel", models=["ant"]) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert by_gpu(measurements(repository)) == {"GPU-0": {"ant"}, "GPU-1": {"ant"}}


def test_what_a_lost_gpu_had_to_do_the_other_does(repository: Path, pretended_nvml: Fleet):
    """GPU 1 falls off the bus after its first point: at most the point in flight fails."""
    a_fleet(pretended_nvml, "Tesla T4", "Tesla T4")
    with profiling(repository, "--parallel") as process:
        wait_for(process, "] GPU 1: ")
        pretended_nvml.set(1, fault=GPU_IS_LOST)
        _, said = process.communicate(timeout=120)
    pretended_nvml.set(1)
    assert process.returncode == 0, said
    assert "GPU 1 failed: GPU GPU-1: NVML error: " in said
    found = measurements(repository)
    assert len(found) == 8
    failed = [m for m in found if m.status != "ok"]
    assert len(failed) <= 1
    assert all("NVML error" in (m.reason or "") for m in failed)


def servers(pid: int) -> list[psutil.Process]:
    """The Triton servers that this process started."""
    children = {child.pid for child in psutil.Process(pid).children(recursive=True)}
    running = psutil.process_iter(["name"])
    return [p for p in running if p.info["name"] == "tritonserver" and p.pid in children]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whatever_ends_the_command_ends_all_it_started(
    repository: Path, pretended_nvml: Fleet, number: signal.Signals
):
    a_fleet(pretended_nvml, "Tesla T4", "Tesla T4")
    with profiling(repository, "--parallel") as process:
        said = wait_for(process, "[2/8]")
        while len(servers(process.pid)) < 2:
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        told_s = time.monotonic()
        process.send_signal(number)
        _, rest = process.communicate(timeout=15)
        assert process.returncode == (130 if number == signal.SIGINT else -9), said + rest
        _, alive = psutil.wait_procs(children, timeout=max(0, 10 - time.monotonic() + told_s))
    assert not alive
    assert "Traceback" not in rest
    assert len(measurements(repository)) >= 2


@pytest.mark.parametrize(
    ("gpus", "arguments", "said"),
    [
        (1, ["--parallel"], "needs at least two GPUs; available: GPU 0 (Tesla T4)"),
        (0, ["--parallel"], "needs at least two GPUs; available: none"),
        (2, ["--parallel", "--gpus", "1"], "needs at least two GPUs; available: GPU 1"),
        (2, ["--parallel", "--gpus", "none"], "--parallel needs GPUs"),
        (2, ["--parallel", "--launch-mode", "remote"], "cannot use --launch-mode remote"),
        (2, ["--parallel", "--cpus", "0"], "fewer CPUs than there are GPUs"),
    ],
)
def test_without_two_gpus_to_start_servers_for_it_is_refused(
    repository: Path, pretended_nvml: Fleet, gpus: int, arguments: list[str], said: str
):
    a_fleet(pretended_nvml, *["Tesla T4"] * gpus)
    with profiling(repository, *arguments) as process:
        _, words = process.communicate(timeout=30)
    assert process.returncode == 2, words
    assert said in words
