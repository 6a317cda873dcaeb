"""What is whole of a damaged store comes out of it; what is lost is named."""

from __future__ import annotations

import random
import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from some_rows import a_colocation, a_measurement

from profiles.environment import Environment
from profiles.errors import InputError
from profiles.measurement import Baseline
from profiles.salvage import salvage
from profiles.store import ProfileStore

PAGE = 4096


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """60 measurements (some longer than a page), 3 baselines, 4 co-locations, one withdrawn row."""
    path = tmp_path / "profiles.db"
    with ProfileStore(path) as opened:
        opened.add_all(
            replace(
                a_measurement(concurrency=n + 1),
                warnings=tuple(f"doubt {i}" * 20 for i in range(n)),  # up to 12 kB
            )
            for n in range(60)
        )
        opened.add_all(Baseline(f"GPU {n}", Environment(), n) for n in range(3))
        opened.add_colocations(a_colocation(f"r{n}") for n in range(4))
        opened.withdraw([opened.rows()[0].id], "test")
    return path


def everything(path: Path) -> dict[str, object]:
    with ProfileStore(path, read_only=True) as store:
        return {row.id: row for row in store.rows()}


def test_a_whole_store_comes_out_whole(store: Path, tmp_path: Path):
    done = salvage(store, tmp_path / "new.db")
    expected = {"measurements": 60, "baselines": 3, "colocations": 4, "withdrawals": 1}
    assert (done.rows, done.lost) == (expected, ())
    assert everything(tmp_path / "new.db") == everything(store)
    with ProfileStore(store) as old, ProfileStore(tmp_path / "new.db") as new:
        assert new.measurements() == old.measurements()


def test_only_what_lies_on_a_damaged_page_is_lost(store: Path, tmp_path: Path):
    """Page after page is filled with noise; the rows that do not touch it all come out.

    A measurement takes up to four pages, and a page holds parts of five rows at most.
    """
    whole = everything(store)
    content = store.read_bytes()
    noise = random.Random(1).randbytes(PAGE)
    damaged, new = tmp_path / "damaged.db", tmp_path / "new.db"
    for number in random.Random(2).sample(range(len(content) // PAGE), 25):
        damaged.write_bytes(content[: number * PAGE] + noise + content[(number + 1) * PAGE :])
        new.unlink(missing_ok=True)
        done = salvage(damaged, new)
        found = everything(new)
        missing = set(whole) - set(found)
        assert len(missing) <= 6, number
        assert missing <= set(done.lost)
        assert {id_: row.what for id_, row in found.items()} == {
            id_: row.what for id_, row in whole.items() if id_ in found
        }


def test_a_file_that_was_cut_gives_what_is_left(store: Path, tmp_path: Path):
    content = store.read_bytes()
    store.write_bytes(content[: len(content) // 2])
    done = salvage(store, tmp_path / "new.db")
    assert 5 <= done.rows["measurements"] < 60


def test_rows_that_only_the_log_holds_come_out(tmp_path: Path):
    path = tmp_path / "profiles.db"
    with ProfileStore(path) as store:
        store.add(a_measurement(concurrency=1))
        for suffix in ("", "-wal"):
            content = (tmp_path / f"profiles.db{suffix}").read_bytes()
            (tmp_path / f"copy.db{suffix}").write_bytes(content)
    assert salvage(tmp_path / "copy.db", tmp_path / "new.db").rows["measurements"] == 1


@pytest.mark.parametrize("size", [512, 1024, 65536])
def test_any_page_size_is_read_even_without_the_header(store: Path, tmp_path: Path, size: int):
    connection = sqlite3.connect(store, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {size}")
    connection.execute("VACUUM")
    connection.close()
    content = store.read_bytes()
    store.write_bytes(b"\0" * 100 + content[100:])
    assert salvage(store, tmp_path / "new.db").rows["measurements"] == 60


def test_a_row_whose_document_is_broken_is_left_out_and_named(store: Path, tmp_path: Path):
    connection = sqlite3.connect(store)
    ((id_,),) = connection.execute("SELECT id FROM measurements LIMIT 1").fetchall()
    connection.execute("UPDATE measurements SET document = '{' WHERE id = ?", (id_,))
    connection.commit()
    connection.close()
    done = salvage(store, tmp_path / "new.db")
    assert (done.rows["measurements"], done.lost) == (59, (id_,))


def test_what_is_there_is_not_overwritten(store: Path, tmp_path: Path):
    (tmp_path / "new.db").write_text("mine")
    with pytest.raises(InputError, match=r"new\.db: is there already"):
        salvage(store, tmp_path / "new.db")
    assert (tmp_path / "new.db").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"no store", b"\r\0\0\0\x09" * 5000])
def test_a_file_without_rows_is_said(tmp_path: Path, content: bytes):
    (tmp_path / "old.db").write_bytes(content)
    with pytest.raises(InputError, match="no row of a profile store"):
        salvage(tmp_path / "old.db", tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()
    with pytest.raises(InputError, match="No such file"):
        salvage(tmp_path / "none.db", tmp_path / "new.db")


def damages(whole: bytes, rng: random.Random) -> bytes:
    """The file with bytes changed, a stretch of noise, cut, a page in another's place."""
    content = bytearray(whole)
    kind = rng.randrange(5)
    at = rng.randrange(len(content))
    if kind == 0:
        for _ in range(rng.randrange(1, 40)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == 1:
        content[at : at + 5000] = rng.randbytes(len(content[at : at + 5000]))
    elif kind == 2:
        del content[at:]
    elif kind == 3:
        one, other = (rng.randrange(len(content) // PAGE) * PAGE for _ in range(2))
        content[one : one + PAGE] = content[other : other + PAGE]
    else:  # in the schema, whose names SQLite says in its errors
        content[100:PAGE] = rng.randbytes(PAGE - 100)
    return bytes(content)


@pytest.mark.parametrize("seed", range(25))
def test_no_damage_ends_in_anything_but_an_answer_or_an_error_of_ours(
    store: Path, tmp_path: Path, seed: int
):
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(damages(store.read_bytes(), random.Random(seed)))
    with suppress(InputError):
        everything(damaged)
    with suppress(InputError):
        salvage(damaged, tmp_path / "new.db")
    with suppress(InputError), ProfileStore(damaged) as written:
        written.add(a_measurement(concurrency=99))
