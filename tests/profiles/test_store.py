"""The store keeps every row, through merges, two writers and a kill."""

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from some_rows import a_colocation, a_measurement

from profiles.environment import Environment
from profiles.errors import InputError
from profiles.measurement import Baseline
from profiles.store import APPLICATION_ID, MIGRATIONS, ProfileStore
from profiles.variant import (
    HostPolicy,
    RateLimiter,
    RateLimitResource,
    Variant,
    WarmUp,
)


def test_what_is_added_comes_back_equal_but_for_its_date(tmp_path: Path):
    with ProfileStore(tmp_path / "profiles.db") as store:
        store.add(a_measurement())
        (kept,) = store.measurements()
    assert kept.measured_at
    assert replace(kept, measured_at="") == a_measurement()


def test_the_newest_measurement_of_a_point_counts_and_the_old_one_stays(tmp_path: Path):
    with ProfileStore(tmp_path / "profiles.db") as store:
        store.add(a_measurement(throughput=338))
        store.add(a_measurement(throughput=290))
        assert [m.throughput for m in store.measurements()] == [290]
        assert [m.throughput for m in store.history()] == [338, 290]


def test_points_differ_by_load_variant_and_model_files(tmp_path: Path):
    with ProfileStore(tmp_path / "profiles.db") as store:
        store.add(a_measurement())
        store.add(a_measurement(concurrency=2))
        store.add(replace(a_measurement(), variant=Variant("bert")))
        store.add(replace(a_measurement(), model_digest="changed"))
        assert len(store.measurements()) == 4


def test_merging_twice_adds_each_row_once(tmp_path: Path):
    with ProfileStore(tmp_path / "a.db") as a, ProfileStore(tmp_path / "b.db") as b:
        a.add(a_measurement("bert"))
        b.add(a_measurement("gpt"))
        b.add_baseline(Baseline("Tesla T4", Environment(), 309_000_000))
    with ProfileStore(tmp_path / "a.db") as a:
        assert a.merge(tmp_path / "b.db") == 2
        assert a.merge(tmp_path / "b.db") == 0
        assert [m.model for m in a.measurements()] == ["bert", "gpt"]
        assert a.baselines()[0].memory_bytes == 309_000_000


def test_every_colocation_stays_and_is_merged(tmp_path: Path):
    """Two runs of the same pair are two observations: none supersedes the other."""
    with ProfileStore(tmp_path / "a.db") as a, ProfileStore(tmp_path / "b.db") as b:
        a.add_colocations([a_colocation("r1"), a_colocation("r2", 70.0)])
        b.merge(tmp_path / "a.db")
        assert b.merge(tmp_path / "a.db") == 0
        rows = b.colocations()
        assert rows == a.colocations()
    assert [replace(row, measured_at="") for row in rows] == [
        a_colocation("r1"),
        a_colocation("r2", 70.0),
    ]


def test_a_store_of_the_first_version_takes_colocations(tmp_path: Path):
    """Version 1 is the first migration alone; opening it brings it to the newest."""
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path)
    connection.executescript(MIGRATIONS[0].sql)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with ProfileStore(path) as store:
        store.add_colocations([a_colocation()])
        assert len(store.colocations()) == 1


def _write(path: Path, model: str) -> None:
    with ProfileStore(path) as store:
        for concurrency in range(1, 51):
            store.add(a_measurement(model, concurrency))


def test_two_writers_lose_no_row(tmp_path: Path):
    path = tmp_path / "profiles.db"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(path, model)) for model in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with ProfileStore(path) as store:
        assert len(store.measurements()) == 100


def test_a_killed_writer_loses_nothing_that_was_added(tmp_path: Path):
    """The writer says so after each `add`; whatever it said must be there."""
    path = tmp_path / "profiles.db"
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from some_rows import a_measurement\n"
        "from profiles.store import ProfileStore\n"
        "store = ProfileStore(Path(sys.argv[1]))\n"
        "for n in range(10**6):\n"
        "    store.add(a_measurement(concurrency=n)); print(n, flush=True)\n"
    )
    tests = Path(__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path), str(tests), str(tests.parent)],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
    with ProfileStore(path) as store:
        assert {m.load.concurrency for m in store.measurements()} >= set(said)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"x"])
def test_another_file_is_refused_and_left_alone(tmp_path: Path, content: bytes):
    path = tmp_path / "profiles.db"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a profile store"):
        ProfileStore(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path: Path):
    path = tmp_path / "bookmarks.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(InputError, match="another program's database"):
        ProfileStore(path)


def test_a_newer_store_is_refused(tmp_path: Path):
    path = tmp_path / "profiles.db"
    with ProfileStore(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(InputError, match="newer Model Placer"):
        ProfileStore(path)


def test_a_missing_store_is_said_with_the_remedy(tmp_path: Path):
    with pytest.raises(InputError, match="model-placer profile"):
        ProfileStore(tmp_path / "profiles.db", read_only=True)


def test_a_broken_row_is_named(tmp_path: Path):
    path = tmp_path / "profiles.db"
    with ProfileStore(path) as store:
        store.add(a_measurement())
    connection = sqlite3.connect(path)
    connection.execute('UPDATE measurements SET document = \'{"status": "ok"}\'')
    connection.commit()
    connection.close()
    with (
        ProfileStore(path) as store,
        pytest.raises(InputError, match=r"row \w+ is broken.*variant"),
    ):
        store.measurements()


def test_a_row_of_an_earlier_version_reads_as_what_it_was_then(tmp_path: Path):
    """Fields that came later have their defaults, and the point is the one that it was."""
    with ProfileStore(tmp_path / "profiles.db") as store:
        store.add(a_measurement())
        (now,) = store.measurements()
        connection = store._connection
        (text,) = connection.execute("SELECT document FROM measurements").fetchone()
        document = json.loads(text)
        for name in ("rate_limiter", "warm_up", "host_policy", "members"):
            del document["variant"][name]
        del document["load"]["sequence_length"]
        del document["responses"], document["first_response"]
        connection.execute("UPDATE measurements SET document = ?", (json.dumps(document),))
        assert store.measurements() == [now]


def test_a_composed_variant_comes_back_equal(tmp_path: Path):
    limiter = RateLimiter((RateLimitResource("R", 1, 2),), 3)
    member = Variant("step", instance_count=2, rate_limiter=limiter)
    variant = Variant(
        "pipeline",
        warm_up=WarmUp(3, (("IN", (1, 2)),)),
        host_policy=HostPolicy("near", (("cpu-cores", "0-1"),)),
        members=(member, Variant("other", members=(member,))),
    )
    with ProfileStore(tmp_path / "profiles.db") as store:
        store.add(replace(a_measurement(), variant=variant))
        assert [m.variant for m in store.measurements()] == [variant]
