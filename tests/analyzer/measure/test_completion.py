"""Waiting for parts that other processes do."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from analyzer.measure import completion
from profiles.errors import InputError, SurroundingsError


def a_part(path: Path, *, failing: str = "") -> None:
    with completion.told(path):
        if failing:
            raise SurroundingsError(failing)


def failed(path: Path, times: int, why: str = "Triton does not start") -> Path:
    for _ in range(times):
        with pytest.raises(SurroundingsError):
            a_part(path, failing=why)
    return path


def quiet(_: str) -> None:
    pass


def test_who_waits_goes_on_when_the_last_part_is_done(tmp_path: Path):
    first, second = tmp_path / "run" / "0.done", tmp_path / "run" / "1.done"
    a_part(first)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        threading.Thread(target=a_part, args=(second,)).start()

    assert completion.wait([first, second], 30, tell) == []
    assert told == ["1 of 2 parts are done."]


def test_a_part_that_does_not_end_is_named(tmp_path: Path):
    a_part(tmp_path / "0.done")
    marks = [tmp_path / "0.done", tmp_path / "1.done"]
    with pytest.raises(SurroundingsError, match=r"1 of 2 parts .*1\.done: not done within 0.05 s"):
        completion.wait(marks, 0.05, quiet)
    (late,) = completion.wait(marks, 0.05, quiet, without_failed=True)
    assert (late.path, late.ended) == (marks[1], False)


def test_an_earlier_runs_mark_does_not_count(tmp_path: Path):
    a_part(tmp_path / "0.done")
    assert list(tmp_path.iterdir()) == [tmp_path / "0.done"]
    failed(tmp_path / "0.done", 1)
    assert not (tmp_path / "0.done").exists()


def test_a_part_that_failed_in_all_its_tries_is_not_waited_for(tmp_path: Path):
    """The pod's last word is quoted; the other part is waited for only if one goes on without."""
    done, broken = tmp_path / "0.done", tmp_path / "1.done"
    a_part(done)
    failed(broken, 2)
    with pytest.raises(SurroundingsError, match=r"not done within"):
        completion.wait([done, broken], 0.05, quiet, tries=3)
    failed(broken, 1, "GPU is\n lost")
    with pytest.raises(SurroundingsError, match=r"failed 3 times, the last time: GPU is lost\."):
        completion.wait([done, broken], 60, quiet, tries=3)
    (missing,) = completion.wait([done, broken], 60, quiet, tries=3, without_failed=True)
    assert (missing.path, missing.ended) == (broken, True)
    with pytest.raises(SurroundingsError, match="1 of 1 parts"):
        completion.wait([broken], 60, quiet, tries=3, without_failed=True)


def test_a_killed_try_counts_when_the_next_has_begun_and_an_interrupted_one_does_not(
    tmp_path: Path,
):
    path = tmp_path / "0.done"

    class Evicted(BaseException):
        pass

    with pytest.raises(Evicted), completion.told(path):
        raise Evicted
    with (tmp_path / "0.done.tries").open("a") as tries:
        tries.write("began then\n")
    assert completion.given_up(path, 1) == ""
    failed(path, 1)
    assert completion.given_up(path, 2).startswith("failed 2 times")
    assert completion.given_up(path, 3) == ""


def test_a_mark_that_cannot_be_made_is_the_users_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"0\.done"):
        a_part(tmp_path / "file" / "0.done")
