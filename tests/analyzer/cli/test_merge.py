"""`merge`, as the last step of a sweep that was shared between machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analyzer.measure import completion
from profiles.environment import Environment
from profiles.errors import SurroundingsError
from profiles.measurement import LoadPoint, Measurement
from profiles.store import ProfileStore
from profiles.variant import Variant

ROOT = Path(__file__).parents[3]
WAITING = ("--wait-for", "0.done", "--wait-for", "1.done")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two stores: the first part is done, the second measured one model and then failed twice."""
    for index, model in enumerate(("bert", "vgg")):
        with ProfileStore(tmp_path / f"{index}.db") as store:
            store.add(Measurement(Variant(model), LoadPoint(1, 1), "Tesla T4", Environment()))
    with completion.told(tmp_path / "0.done"):
        pass
    for _ in range(2):
        with pytest.raises(SurroundingsError), completion.told(tmp_path / "1.done"):
            raise SurroundingsError("GPU-a: GPU is lost")
    return tmp_path


def merge(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from analyzer.cli import main; main()", "merge"]
    return subprocess.run(
        [*command, "0.db", "1.db", "--output", "all.db", *arguments],
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def models(folder: Path) -> set[str]:
    with ProfileStore(folder / "all.db", read_only=True) as store:
        return {row.model for row in store.measurements()}


def test_a_part_that_failed_too_often_ends_the_wait(shards: Path):
    done = merge(shards, *WAITING, "--tries", "2")
    assert done.returncode == 3
    assert "1.done: failed 2 times, the last time: GPU-a: GPU is lost" in done.stderr
    assert not (shards / "all.db").exists()


def test_without_it_what_it_measured_is_taken(shards: Path):
    done = merge(shards, *WAITING, "--tries", "2", "--without-failed")
    assert done.returncode == 0, done.stderr
    assert "1.db is taken as it is: 1.done failed 2 times" in done.stderr
    assert models(shards) == {"bert", "vgg"}


def test_a_part_that_may_still_be_writing_is_left_out(shards: Path):
    """Only one failure so far: another try may be under way."""
    done = merge(shards, *WAITING, "--tries", "3", "--without-failed", "--wait-limit", "100ms")
    assert done.returncode == 0, done.stderr
    assert "1.db is left out: 1.done not done within 0.1 s" in done.stderr
    assert models(shards) == {"bert"}


def test_a_part_that_never_began_is_left_out(shards: Path):
    (shards / "1.db").unlink()
    done = merge(shards, *WAITING, "--tries", "2", "--without-failed")
    assert done.returncode == 0, done.stderr
    assert models(shards) == {"bert"}


def test_stores_and_marks_must_be_pairs_to_leave_one_out(shards: Path):
    done = merge(shards, "--wait-for", "0.done", "--without-failed")
    assert done.returncode == 2
    assert "a --wait-for for each store: 1 for 2" in done.stderr
