"""The local launcher, on the embedded Triton: a real `tritonserver` with real models."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from analyzer.triton import http_api, local
from analyzer.triton.options import LaunchOptions
from analyzer.triton.own_server import OwnServer
from analyzer.triton.runtime import Binary
from profiles import model_config
from profiles.errors import InputError, LoadError, ServerError

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def server(embedded_triton: Binary, repository: Path) -> Iterator[OwnServer]:
    with local.launch(repository, embedded_triton) as running:
        yield running


def shared_memory(owner: int) -> list[Path]:
    return list(local.SHARED_MEMORY.glob(f"{local.SHM_PREFIX}{owner}-*"))


def test_a_model_is_ready_once_load_returns_and_its_process_gone_once_unload_does(
    server: OwnServer,
) -> None:
    root = psutil.Process(server.pids()[0])
    server.load("echo")
    assert http_api.states(server.http_url)["echo"][0] == "READY"
    assert len(root.children(recursive=True)) == 1  # the Python backend's stub
    server.unload("echo")
    assert root.children(recursive=True) == []
    assert http_api.states(server.http_url)["echo"] == ("UNAVAILABLE", "unloaded")


def test_a_model_that_is_not_in_the_repository_is_loaded_from_the_files_that_are_sent(
    server: OwnServer, repository: Path
) -> None:
    config = model_config.read(repository / "echo" / "config.pbtxt")
    config.name = "sent"
    server.load("sent", config, {"1/model.py": (repository / "echo/1/model.py").read_bytes()})
    assert http_api.metadata(server.http_url, "sent")["inputs"][0]["name"] == "IN"
    server.unload("sent")


def test_a_load_error_gives_the_logs_reason_where_the_answer_has_none(
    server: OwnServer, repository: Path
) -> None:
    """Triton answers "failed to poll from model repository" and explains it in its log alone."""
    config = model_config.read(repository / "echo" / "config.pbtxt")
    config.dynamic_batching.preferred_batch_size.append(16)
    with pytest.raises(LoadError, match="preferred size must be <= max batch size"):
        server.load("echo", config)
    with pytest.raises(LoadError, match="model not found in any model repository"):
        server.load("no_such_model")


def test_a_load_that_takes_too_long_is_a_load_error(server: OwnServer) -> None:
    with pytest.raises(LoadError, match=r"did not load slow within 0\.3 s"):
        server.load("slow", timeout_s=0.3)
    server.unload("slow")


def test_a_crash_is_noticed_and_a_restart_heals_it(
    embedded_triton: Binary, repository: Path, tmp_path: Path
) -> None:
    with local.launch(
        repository, embedded_triton, options=LaunchOptions(log_directory=tmp_path)
    ) as server:
        server.load("echo")
        (pid,) = server.pids()
        stubs = psutil.Process(pid).children(recursive=True)
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while server.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.ending() == "killed by SIGKILL"
        assert server.pids() == []
        assert not any(stub.is_running() for stub in stubs)
        with pytest.raises(ServerError, match="killed by SIGKILL"):
            server.load("echo")
        server.restart()
        server.load("echo")
        assert server.log_tail(1)
    assert list(tmp_path.iterdir()), "the log of a server that failed is kept"


def test_leaving_ends_the_server_in_less_than_five_seconds_and_removes_its_log(
    embedded_triton: Binary, repository: Path, tmp_path: Path
) -> None:
    with local.launch(
        repository, embedded_triton, options=LaunchOptions(log_directory=tmp_path)
    ) as server:
        server.load("echo")
        tree = [psutil.Process(server.pids()[0])]
        tree += tree[0].children(recursive=True)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert not any(process.is_running() for process in tree)
    assert list(tmp_path.iterdir()) == []


def test_an_open_connection_does_not_hold_up_the_end(
    embedded_triton: Binary, repository: Path
) -> None:
    """Triton alone would take 31 s; it is killed after five."""
    with local.launch(repository, embedded_triton) as server:
        connection = http.client.HTTPConnection(server.http_url)
        connection.request("GET", "/v2/health/ready")
        connection.getresponse().read()
        began = time.monotonic()
    assert time.monotonic() - began < 8
    connection.close()


def test_kill_9_of_the_owner_leaves_no_process_and_no_shared_memory(
    embedded_triton: Binary, repository: Path
) -> None:
    script = (
        "import sys, time; from pathlib import Path; from analyzer.triton import local, runtime\n"
        "with local.launch(Path(sys.argv[1]), runtime.installed()) as server:\n"
        "    server.load('echo'); print(*server.pids(), flush=True); time.sleep(60)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(repository)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(local.__file__).parents[2],
    )
    assert owner.stdout is not None
    triton = psutil.Process(int(owner.stdout.readline()))
    tree = [triton, *triton.children(recursive=True)]
    assert len(tree) == 2
    assert shared_memory(owner.pid)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    psutil.wait_procs(tree, timeout=5)
    assert not any(process.is_running() for process in tree)
    deadline = time.monotonic() + 2
    while shared_memory(owner.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert shared_memory(owner.pid) == []


def test_a_port_that_was_taken_meanwhile_is_exchanged_for_another(
    embedded_triton: Binary, repository: Path
) -> None:
    with local.launch(repository, embedded_triton) as server, socket.socket() as other:
        taken = int(server.http_url.partition(":")[2])
        server.stop()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", taken))
        other.listen()
        server.restart()
        assert server.http_url != f"127.0.0.1:{taken}"
        assert http_api.is_live(server.http_url)


def test_cpus_and_environment_are_the_servers(embedded_triton: Binary, repository: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    with local.launch(
        repository, embedded_triton, options=LaunchOptions(cpus=(cpu,), gpus=("GPU-7",))
    ) as server:
        process = psutil.Process(server.pids()[0])
        assert process.cpu_affinity() == [cpu]
        assert process.environ()["CUDA_VISIBLE_DEVICES"] == "GPU-7"


def test_a_cpu_that_is_not_there_is_named(embedded_triton: Binary, repository: Path) -> None:
    with (
        pytest.raises(InputError, match="CPU 4711 is not available"),
        local.launch(repository, embedded_triton, options=LaunchOptions(cpus=(4711,))),
    ):
        pass


def test_a_server_that_does_not_start_says_why(embedded_triton: Binary, repository: Path) -> None:
    with (
        pytest.raises(ServerError, match=r"exit status 1[\s\S]*no-such-option"),
        local.launch(
            repository, embedded_triton, options=LaunchOptions(arguments=("--no-such-option",))
        ) as server,
    ):
        pytest.fail(f"{server} started")


def test_shared_memory_of_a_dead_owner_is_removed() -> None:
    """Of this PID namespace: another's processes cannot be seen from here."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    mine = local.SHARED_MEMORY / local.own_shm_name()
    block = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-"))
    namespace = str(local.PID_NAMESPACE.stat().st_ino)
    others = block.with_name(block.name.replace(namespace, "1"))
    for each in (block, mine, others):
        each.touch()
    try:
        assert block.name in local.remove_leftovers()
        assert not block.exists()
        assert mine.exists()
        assert others.exists()
    finally:
        mine.unlink()
        others.unlink()
