"""Inputs in shared memory: a real Triton reads them, and no block is left on any way out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analyzer.load import shared_memory, worker_pool
from analyzer.load.generator import Via
from analyzer.load.inputs import make_requests
from analyzer.load.steady_state import SteadyStateRule
from analyzer.triton.local import SHARED_MEMORY, SHM_PREFIX
from analyzer.triton.own_server import OwnServer
from profiles.errors import InputError
from profiles.measurement import LoadPoint


def inputs_of(pid: int | None = None) -> list[Path]:
    """The blocks of a process, by default of this one: others on the host may have theirs."""
    return list(SHARED_MEMORY.glob(f"{SHM_PREFIX}{pid or os.getpid()}-*-inputs"))


@pytest.mark.triton
@pytest.mark.parametrize("via", ["http", "grpc"])
def test_a_real_model_reads_what_lies_there(triton: OwnServer, tmp_path: Path, via: Via):
    """The model refuses any other tensor. Requests of 40 kB shrink to some hundred bytes."""
    file = tmp_path / "good.json"
    file.write_text(
        '{"data": [{"TEXT": ["hello"], "IDS": {"content": [1, 2, 3], "shape": [3]},'
        ' "MASK": [true, false]},'
        ' {"TEXT": ["wörld"], "IDS": {"content": [4, 5, 6], "shape": [3]}, "MASK": [true, false]}]}'
    )
    with worker_pool.start(via) as generator, shared_memory.open_blocks() as blocks:
        for batch_size, data, shape in ((1, file, 3), (2, file, 3), (1, "random", 5000)):
            requests = make_requests(
                triton.http_url,
                "picky",
                batch_size,
                shapes={"IDS": (shape,)},
                data=data,
                via=via,
                blocks=blocks,
            )
            assert max(len(request.body) for request in requests) < 1000
            assert len(inputs_of()) == 1
            generator.aim(triton.http_url if via == "http" else triton.grpc_url, requests)
            result = generator.run(LoadPoint(batch_size, 2), SteadyStateRule(0.5, max_duration_s=1))
            assert result.failure_texts == ()
            assert result.requests > 10
    assert inputs_of() == []


@pytest.mark.triton
def test_a_killed_run_leaves_a_block_that_the_next_start_removes(triton: OwnServer):
    script = (
        "import sys, time\n"
        "from analyzer.load import shared_memory\n"
        "with shared_memory.open_blocks() as blocks:\n"
        "    blocks.place(sys.argv[1], [b'x' * 100])\n"
        "    print('placed', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, triton.http_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "placed\n"
        assert len(inputs_of(killed.pid)) == 1
        killed.send_signal(signal.SIGKILL)
    assert len(inputs_of(killed.pid)) == 1
    with shared_memory.open_blocks():
        assert inputs_of(killed.pid) == []


@pytest.mark.triton
def test_a_server_that_cannot_see_it_is_said(triton: OwnServer, tmp_path: Path):
    """As in a container: where our blocks are made is not where it looks for them."""
    with shared_memory.open_blocks(tmp_path) as blocks:
        with pytest.raises(InputError, match="cannot access this machine's shared memory"):
            blocks.place(triton.http_url, [b"x"])
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_more_than_there_is_room_for_is_said():
    """A file system of the kernel's own has no room at all."""
    full = Path("/proc")
    with (
        shared_memory.open_blocks(full) as blocks,
        pytest.raises(InputError, match="/proc: 64 bytes needed, more than is free"),
    ):
        blocks.place("127.0.0.1:1", [b"x"])
