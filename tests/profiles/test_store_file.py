"""How a store's file is opened, and what is said when that cannot be done."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from some_rows import a_colocation, a_measurement
from unprivileged import as_nobody

from profiles.errors import InputError, StoreError
from profiles.measurement import LoadPoint
from profiles.row_document import dump
from profiles.schema import MIGRATIONS, VERSION
from profiles.store import APPLICATION_ID, ProfileStore
from profiles.store_file import file_system


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may read: pytest's own are their owner's alone."""
    made = Path(tempfile.mkdtemp(prefix="model-placer-test-"))
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


def a_store(path: Path, *concurrencies: int) -> Path:
    with ProfileStore(path) as store:
        for concurrency in concurrencies or (1,):
            store.add(a_measurement(concurrency=concurrency))
    return path


def an_old_store(path: Path, version: int, *, journal: str = "WAL") -> Path:
    """A store as an earlier version left it: in WAL mode, at rest."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    for migration in MIGRATIONS[:version]:
        connection.executescript(migration.sql)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    m = replace(a_measurement(), measured_at="2024-01-01T00:00:00.000+00:00")
    row = ("a" * 32, "a point", m.model, m.device_type, m.status, m.measured_at, dump(m))
    connection.execute("INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    connection.close()
    return path


def concurrencies(path: Path) -> list[int | None]:
    with ProfileStore(path, read_only=True) as store:
        return [m.load.concurrency for m in store.measurements()]


def a_killed_writer(path: Path) -> None:
    """Adds a row, says so, and is killed while it has the store open: a WAL is left behind."""
    script = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from some_rows import a_measurement\n"
        "from profiles.store import ProfileStore\n"
        "store = ProfileStore(Path(sys.argv[1]))\n"
        "store.add(a_measurement(concurrency=7)); print('added', flush=True); time.sleep(60)\n"
    )
    tests = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(tests), str(tests.parent)],
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"added\n"
        os.kill(writer.pid, signal.SIGKILL)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Reading


@pytest.mark.parametrize("make", [a_store, lambda path: an_old_store(path, 1)])
def test_a_reader_leaves_file_and_folder_as_they_are(folder: Path, make):
    make(folder / "profiles.db")
    before = contents(folder)
    assert concurrencies(folder / "profiles.db") == [1]
    assert contents(folder) == before
    assert set(before) == {"profiles.db"}


@pytest.mark.parametrize("make", [a_store, lambda path: an_old_store(path, 1), a_killed_writer])
def test_a_store_in_a_folder_that_may_only_be_read_is_read(folder: Path, make):
    """The killed writer's row is in the WAL alone; SQLite itself would refuse to read it here."""
    make(folder / "profiles.db")
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    if make is a_killed_writer:
        folder.joinpath("profiles.db-shm").unlink()
    found = as_nobody(lambda: concurrencies(folder / "profiles.db"))
    assert found == ([7] if make is a_killed_writer else [1])


def test_a_store_that_may_only_be_read_is_not_written(folder: Path):
    a_store(folder / "profiles.db").chmod(0o444)
    folder.chmod(0o555)

    def write() -> None:
        with ProfileStore(folder / "profiles.db"):
            pass

    with pytest.raises(InputError, match=r"profiles\.db: .* may this user write to it"):
        as_nobody(write)


def test_a_store_that_may_not_be_read_is_said(folder: Path):
    a_store(folder / "profiles.db").chmod(0o600)
    with pytest.raises(InputError, match=r"profiles\.db: Permission denied"):
        as_nobody(lambda: concurrencies(folder / "profiles.db"))
    folder.chmod(0o700)
    with pytest.raises(InputError, match=r"profiles\.db: Permission denied"):
        as_nobody(lambda: concurrencies(folder / "profiles.db"))


def test_a_reader_sees_what_a_living_writer_has_added(folder: Path):
    path = folder / "profiles.db"
    with ProfileStore(path) as store:
        store.add(a_measurement(concurrency=3))
        assert concurrencies(path) == [3]
        store.add(a_measurement(concurrency=4))
        assert concurrencies(path) == [3, 4]


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_store_of_an_older_version_is_read_and_stays_one(folder: Path, version: int):
    path = an_old_store(folder / "old.db", version, journal="DELETE")
    before = path.read_bytes()
    with ProfileStore(path, read_only=True) as store:
        (row,) = store.rows()
        assert row.what.load == LoadPoint(2, 1)
        assert (store.colocations(), store.baselines()) == ([], [])
    assert path.read_bytes() == before


def test_an_older_store_is_merged_without_being_migrated(folder: Path):
    old = an_old_store(folder / "old.db", 1)
    before = old.read_bytes()
    with ProfileStore(a_store(folder / "new.db", 2)) as store:
        assert store.merge(old) == 1
        assert {m.load.concurrency for m in store.measurements()} == {1, 2}
    assert old.read_bytes() == before


def test_an_empty_file_is_a_store_without_rows(folder: Path):
    path = folder / "profiles.db"
    path.touch()
    assert concurrencies(path) == []
    assert path.stat().st_size == 0


def test_a_reader_makes_no_folder(tmp_path: Path):
    with pytest.raises(InputError, match="no such profile store"):
        ProfileStore(tmp_path / "none" / "profiles.db", read_only=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_store_is_refused_and_left_as_it_is(folder: Path, read_only: bool):
    path = a_store(folder / "profiles.db")
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="newer Model Placer"):
        ProfileStore(path, read_only=read_only)
    assert path.read_bytes() == before


# Journals


def test_a_store_at_rest_is_one_file_in_the_rollback_journals_form(folder: Path):
    """Bytes 18 and 19 of the header are 1 then, and 2 of a file with a WAL."""
    path = a_store(folder / "profiles.db")
    assert path.read_bytes()[18:20] == b"\1\1"
    assert [p.name for p in folder.iterdir()] == ["profiles.db"]


def test_a_writer_on_a_local_disk_keeps_a_wal(folder: Path):
    with ProfileStore(folder / "profiles.db"):
        assert (folder / "profiles.db").read_bytes()[18:20] == b"\2\2"


MOUNTS = r"""
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:25 / /mnt/team\040data rw,relatime shared:1 - nfs4 server:/data rw
31 30 0:26 / /mnt/team\040data/fast rw - xfs /dev/nvme0n1 rw
32 27 0:27 / /mnt/drive rw - ext4 /dev/vdb rw
33 27 0:28 / /mnt/drive rw - fuse.sshfs host: rw
no mount at all
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/profiles.db", "ext4"),
        ("/mnt/team data/a/profiles.db", "nfs4"),
        ("/mnt/team data/fast/profiles.db", "xfs"),
        ("/mnt/team data/faster.db", "nfs4"),
        ("/mnt/drive/profiles.db", "fuse.sshfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(path: str, kind: str):
    assert file_system(Path(path), MOUNTS) == kind
    assert file_system(Path(path), "") == ""


def _write(path: Path, model: str) -> None:
    for concurrency in range(1, 26):
        with ProfileStore(path) as store:
            store.add(a_measurement(model, concurrency))


def test_writers_that_come_and_go_lose_no_row(folder: Path):
    """Each opening and closing changes the kind of journal, if no other one is there."""
    path = folder / "profiles.db"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(path, model)) for model in "abc"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            concurrencies(path)
        time.sleep(0.01)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(concurrencies(path)) == 75
    with ProfileStore(path):  # the last of the others may have ended while we were reading
        pass
    assert [p.name for p in folder.iterdir()] == ["profiles.db"]


# Locked, full, damaged


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("make", [a_store, lambda path: an_old_store(path, 1, journal="DELETE")])
def test_a_locked_store_is_said(folder: Path, make, read_only: bool):
    path = make(folder / "profiles.db")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="another program keeps the store locked"):
        ProfileStore(path, read_only=read_only, wait_s=0.1)
    holder.close()


def test_a_store_that_is_locked_later_is_said_at_the_row(folder: Path):
    path = a_store(folder / "profiles.db")
    with ProfileStore(path, wait_s=0.1) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            store.add(a_measurement(concurrency=2))
        holder.close()
        store.add(a_measurement(concurrency=3))
    assert concurrencies(path) == [1, 3]


def _add_many(store: ProfileStore) -> None:
    for concurrency in range(2, 1000):
        store.add(a_measurement(concurrency=concurrency))


def test_a_full_disk_is_one_clear_error_and_what_was_kept_stays(folder: Path):
    """SQLite's own limit of pages stands for a disk without room: the error is the same."""
    path = a_store(folder / "profiles.db")
    with ProfileStore(path) as store:
        store._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StoreError, match="full"):
            _add_many(store)
        kept = len(store.measurements())
        assert kept > 5
        store._connection.execute("PRAGMA max_page_count = 1000000")
        store.add(a_measurement(concurrency=5000))
    assert len(concurrencies(path)) == kept + 1


def test_a_file_that_may_not_grow_is_one_clear_error(folder: Path):
    """The kernel refuses what goes beyond 400 kB, as a disk quota does."""
    path = folder / "profiles.db"

    def fill() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        with ProfileStore(path) as store:
            with pytest.raises(StoreError, match="the disk failed or is full"):
                _add_many(store)
            return len(store.measurements())

    folder.chmod(0o777)
    kept = as_nobody(fill)
    assert kept > 5
    assert len(concurrencies(path)) == kept


def test_all_rows_of_a_table_are_kept_or_none(folder: Path):
    path = a_store(folder / "profiles.db")
    with ProfileStore(path) as store:
        store._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StoreError, match="full"):
            store.add_all(a_measurement(concurrency=n) for n in range(2, 1000))
    assert concurrencies(path) == [1]


def test_a_damaged_page_is_said_with_the_remedy(folder: Path):
    path = a_store(folder / "profiles.db", *range(1, 60))
    content = bytearray(path.read_bytes())
    content[4096 * 5 : 4096 * 9] = b"\xab" * 4096 * 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged .*--salvage NEW\.db"):
        concurrencies(path)


@pytest.mark.parametrize("document", ['{"status": "ok"}', "{", "[]", '"x"', "{NaN: 1}", "null"])
def test_a_broken_row_is_damage(folder: Path, document: str):
    path = a_store(folder / "profiles.db")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE measurements SET document = ?", (document,))
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match=r"is damaged \(row \w+ is broken: .*--salvage"):
        concurrencies(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("throughput", float("nan")), ("throughput", float("inf")), ("duration_s", float("-inf"))],
)
def test_figures_that_are_none_are_damage(folder: Path, field: str, value: float):
    with ProfileStore(folder / "profiles.db") as store:
        store.add(replace(a_measurement(), **{field: value}))
        with pytest.raises(InputError, match=r"row \w+ is broken"):
            store.measurements()


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "two\nlines", ""])
def test_a_model_that_triton_could_not_serve_is_not_read(folder: Path, name: str):
    path = folder / "profiles.db"
    with ProfileStore(path) as store:
        store.add(a_measurement())
    connection = sqlite3.connect(path)
    ((text,),) = connection.execute("SELECT document FROM measurements").fetchall()
    document = json.loads(text)
    document["variant"]["model"] = name
    connection.execute("UPDATE measurements SET document = ?", (json.dumps(document),))
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match="cannot be the name of a model"):
        concurrencies(path)


def test_text_that_is_none_is_damage(folder: Path):
    path = a_store(folder / "profiles.db")
    content = path.read_bytes()
    assert content.count(b'"status":"ok"') == 1
    path.write_bytes(content.replace(b'"status":"ok"', b'"status":"\xff\xff"'))
    with pytest.raises(InputError, match="is damaged"):
        concurrencies(path)


def test_colocations_come_back_through_a_reader(folder: Path):
    with ProfileStore(folder / "profiles.db") as store:
        store.add_colocations([a_colocation()])
    with ProfileStore(folder / "profiles.db", read_only=True) as store:
        assert len(store.colocations()) == 1
