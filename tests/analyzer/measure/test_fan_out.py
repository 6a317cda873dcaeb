"""A sweep shared by two processes, one of them killed and started again, equals one run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from command_line import COMMAND

from analyzer.triton.runtime import Binary
from profiles.store import ProfileStore, point_key

pytestmark = pytest.mark.triton

MODELS = "file_type,ocr_orientation,voice_activity"
SWEEP = ("--batch-sizes=1", "--concurrency=1,2", "--max-duration=1s", "--gpus=none")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def points(store: Path) -> list[str]:
    with ProfileStore(store, read_only=True) as found:
        return sorted(point_key(measurement) for measurement in found.measurements())


def has_a_measurement(store: Path) -> bool:
    return store.is_file() and bool(points(store))


def test_a_killed_shard_resumes_and_the_merged_store_is_that_of_one_run(
    embedded_triton: Binary, example_repository: Path, tmp_path: Path
):
    def profile(store: str, *more: str) -> subprocess.Popen[str]:
        models = ("-m", str(example_repository), "--models", MODELS)
        return start("profile", *models, *SWEEP, "--store", str(tmp_path / store), *more)

    def shard(index: int) -> subprocess.Popen[str]:
        return profile(
            f"{index}.db", f"--shard={index}/2", "--done", str(tmp_path / f"{index}.done")
        )

    def done(process: subprocess.Popen[str]) -> str:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        return said

    first, second = shard(0), shard(1)
    deadline = time.monotonic() + 60
    while not has_a_measurement(tmp_path / "0.db"):
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert not (tmp_path / "0.done").exists()

    sources = [str(tmp_path / f"{index}.db") for index in range(2)]
    marks = [f"--wait-for={tmp_path / f'{index}.done'}" for index in range(2)]
    merged = tmp_path / "profiles.db"
    merging = start("merge", *sources, "-o", str(merged), *marks, "--wait-limit=2m")
    again = done(shard(0))
    assert "0 are in" not in again  # what was measured before the kill is not measured again
    done(second)
    done(merging)

    done(profile("one-run.db"))
    assert points(merged) == points(tmp_path / "one-run.db")
    assert len(points(merged)) == 3 * 2
