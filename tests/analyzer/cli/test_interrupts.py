"""SIGINT, SIGTERM, SIGHUP and SIGKILL at bad moments of a sweep: what is left behind is nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import psutil
import pytest
from command_line import COMMAND
from docker.models.containers import Container

from analyzer.triton.docker import connect
from profiles.store import ProfileStore

ROOT = Path(__file__).parents[3]
MOODY = ROOT / "tests" / "analyzer" / "moody"
STUB = "triton_python_backend_stub"
KILLS = 4


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where a model that fails on demand lies, and the sweep runs."""
    shutil.copytree(MOODY, tmp_path / "models" / "moody")
    return tmp_path


@contextmanager
def a_sweep(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`model-placer profile`, with four points of half a second."""
    sweep = ["--batch-sizes", "1,2", "--concurrency", "1,2", "--max-duration", "500ms"]
    with subprocess.Popen(
        [*COMMAND, "profile", "-m", "models", "--gpus", "none", *sweep, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_child(process: subprocess.Popen[str], name: str) -> psutil.Process:
    """The first process of that name that it starts."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        for child in children(process):
            try:
                if child.name() == name:
                    return child
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.005)
    pytest.fail(f"{name} was never started", pytrace=False)


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = process.stderr.readline()
        assert line, said
        said += line


def left_by(pid: int) -> list[str]:
    """Shared memory of a process's."""
    return [path.name for path in Path("/dev/shm").glob(f"model-placer-{pid}-*")]


def while_triton_starts(process: subprocess.Popen[str]) -> None:
    wait_for_child(process, "tritonserver")


def while_a_model_loads(process: subprocess.Popen[str]) -> None:
    wait_for_child(process, STUB)
    time.sleep(0.5)


def while_triton_hangs(process: subprocess.Popen[str]) -> None:
    wait_for_line(process, "[1/4]")
    wait_for_child(process, "tritonserver").suspend()
    time.sleep(0.5)


def while_a_model_hangs(process: subprocess.Popen[str]) -> None:
    wait_for_line(process, "[2/4]")
    time.sleep(0.7)


@pytest.mark.triton
@pytest.mark.usefixtures("embedded_triton")
@pytest.mark.parametrize(
    ("moment", "mood", "number"),
    [
        (while_triton_starts, "well", signal.SIGHUP),
        (while_a_model_loads, "never loads", signal.SIGTERM),
        (while_triton_hangs, "well", signal.SIGINT),
        (while_a_model_hangs, "hangs", signal.SIGTERM),
    ],
)
def test_an_interrupt_at_a_bad_moment_ends_all_within_ten_seconds(
    directory: Path,
    moment: Callable[[subprocess.Popen[str]], None],
    mood: str,
    number: signal.Signals,
):
    with a_sweep(directory, "--parameter", f"mood={mood}") as process:
        moment(process)
        there = children(process)
        told_s = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert time.monotonic() - told_s < 10
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert not [child for child in there if child.is_running()]
    assert left_by(process.pid) == []


@contextmanager
def a_silent_registry() -> Iterator[str]:
    """An address where someone listens and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def of_owner(pid: int) -> list[Container]:
    with closing(connect()) as engine:
        # One that goes away while they are listed is none.
        return engine.containers.list(
            all=True,
            ignore_removed=True,
            filters={"label": f"model-placer.owner-pid={pid}"},
        )


def while_the_image_is_pulled(process: subprocess.Popen[str]) -> None:
    wait_for_line(process, "Pulling")
    time.sleep(0.5)


def while_the_container_starts(process: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + 30
    while not of_owner(process.pid):
        assert time.monotonic() < deadline_s


def while_the_container_hangs(process: subprocess.Popen[str]) -> None:
    wait_for_line(process, "[1/4]")
    of_owner(process.pid)[0].kill("SIGSTOP")
    time.sleep(0.5)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("moment", "number"),
    [
        (while_the_image_is_pulled, signal.SIGTERM),
        (while_the_container_starts, signal.SIGINT),
        (while_the_container_hangs, signal.SIGHUP),
    ],
)
def test_an_interrupt_at_a_bad_moment_removes_the_container_within_ten_seconds(
    directory: Path,
    triton_image: str,
    moment: Callable[[subprocess.Popen[str]], None],
    number: signal.Signals,
):
    with a_silent_registry() as registry:
        pulled = moment is while_the_image_is_pulled
        image = f"{registry}/triton:test" if pulled else triton_image
        with a_sweep(directory, "--launch-mode", "docker", "--triton-image", image) as process:
            moment(process)
            told_s = time.monotonic()
            process.send_signal(number)
            _, said = process.communicate(timeout=20)
    assert time.monotonic() - told_s < 10
    assert process.returncode == 128 + number, said
    assert "Traceback" not in said
    assert of_owner(process.pid) == []


@pytest.mark.triton
@pytest.mark.usefixtures("embedded_triton")
def test_kill_9_at_any_moment_loses_at_most_the_point_in_flight(directory: Path):
    """Each run goes on where the one before was killed; the last ends it."""
    random, kept = Random(3), 0
    for _ in range(KILLS):
        with a_sweep(directory, "--instance-counts", "1,2") as process:
            time.sleep(random.uniform(0.2, 7))
            there = children(process) if process.poll() is None else []
            process.kill()
            _, said = process.communicate(timeout=10)
        _, alive = psutil.wait_procs(there, timeout=5)
        assert not alive
        assert left_by(process.pid) == []
        told = len(re.findall(r"^\[\d+/\d+\]", said, re.MULTILINE))
        points = count(directory / "profiles.db")
        assert points - kept in {told, told + 1}  # it is kept before it is told
        kept = points
    with a_sweep(directory, "--instance-counts", "1,2") as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    with ProfileStore(directory / "profiles.db") as store:
        assert [m.status for m in store.history()] == ["ok"] * 8
        assert len(store.measurements()) == 8  # each once


def count(path: Path) -> int:
    """How many rows a store has, none of them broken."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with ProfileStore(path) as store:
        return len(store.history())
