"""Waiting for parts that other processes do."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from analyzer import marker
from profiles.errors import SurroundingsError


def test_who_waits_goes_on_when_the_last_part_is_done(tmp_path: Path):
    first, second = tmp_path / "run" / "0.done", tmp_path / "run" / "1.done"
    for path in (first, second):
        marker.clear(path)
    marker.make(first)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        threading.Thread(target=marker.make, args=(second,)).start()

    marker.wait([first, second], 30, tell)
    assert second.exists()
    assert told == ["1 of 2 parts are done."]


def test_a_part_that_does_not_end_is_named(tmp_path: Path):
    marker.make(tmp_path / "0.done")
    with pytest.raises(SurroundingsError, match=r"1 of 2 parts .* no .*1\.done"):
        marker.wait([tmp_path / "0.done", tmp_path / "1.done"], 0.05, lambda _: None)


def test_an_earlier_runs_mark_does_not_count(tmp_path: Path):
    marker.make(tmp_path / "0.done")
    marker.clear(tmp_path / "0.done")
    assert not (tmp_path / "0.done").exists()
