"""Which processes on a GPU are the server's, by numbers that may be of another namespace."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.devices.gpu_processes import Users, described, tell_apart

ROOT = Path(__file__).parents[3]


@pytest.fixture
def child() -> Iterator[int]:
    """A process below this one, as a Python model's stub is below Triton."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def test_the_tree_of_the_server_is_its_own_and_the_rest_is_not(child: int):
    listed = {os.getpid(): 10, child: 20, 1: 30}
    users = tell_apart(listed, [os.getpid()], nested=False)
    assert users == Users(own={os.getpid(): 10, child: 20}, others={1: 30})
    assert (users.own_bytes, users.others_bytes) == (30, 30)


def test_numbers_of_the_host_tell_a_container_nothing():
    """Process 1 lives in here as well, but it is not the one that NVML means."""
    assert tell_apart({1: 30}, [os.getpid()], nested=True) == Users()


def test_one_of_ours_shows_that_the_numbers_are_of_this_namespace():
    users = tell_apart({os.getpid(): 10, 1: 30}, [os.getpid()], nested=True)
    assert users == Users(own={os.getpid(): 10}, others={1: 30})


def test_a_process_that_cannot_be_seen_is_no_ones():
    gone = subprocess.Popen(["true"])
    gone.wait()
    users = tell_apart({os.getpid(): 10, gone.pid: 30}, [os.getpid()], nested=False)
    assert users == Users(own={os.getpid(): 10})


def test_without_the_servers_processes_nothing_is_told_apart():
    assert tell_apart({os.getpid(): 10, 1: 30}, [], nested=False) == Users()


def test_memory_that_nvml_does_not_tell_is_not_taken_for_none():
    users = tell_apart({os.getpid(): None, 1: None}, [os.getpid()], nested=False)
    assert (users.own_bytes, users.others_bytes) == (None, 0)
    assert "memory unknown" in described([(1, None, None)])


def test_a_namespace_of_our_own_is_noticed():
    code = "from analyzer.devices.gpu_processes import in_own_namespace as f; print(f())"
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(f"no namespace can be made here: {done.stderr.strip()}")
    assert done.stdout.strip() == "True"
