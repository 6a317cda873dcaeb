"""Rows that count no more are still there, and can count again."""

from dataclasses import replace
from pathlib import Path

import pytest
from some_rows import a_colocation, a_measurement

from profiles.environment import Environment
from profiles.errors import InputError
from profiles.measurement import Baseline
from profiles.store import ProfileStore


@pytest.fixture
def store(tmp_path: Path):
    with ProfileStore(tmp_path / "profiles.db") as opened:
        yield opened


def identifiers(store: ProfileStore) -> list[str]:
    return [row.id for row in store.rows()]


def test_a_withdrawn_measurement_counts_no_more_and_stays(store: ProfileStore):
    store.add(a_measurement())
    store.withdraw(identifiers(store), "the GPU was hot")
    assert store.measurements() == []
    assert len(store.history()) == 1
    assert store.rows()[0].withdrawn == "the GPU was hot"
    assert not store.rows()[0].counts


def test_without_the_newest_the_one_before_counts_again(store: ProfileStore):
    store.add(a_measurement(throughput=338))
    store.add(a_measurement(throughput=290))
    assert [row.superseded for row in store.rows()] == [True, False]
    store.withdraw(identifiers(store)[1:])
    assert [m.throughput for m in store.measurements()] == [338]
    assert [(row.superseded, row.withdrawn) for row in store.rows()] == [(False, None), (False, "")]


def test_what_is_restored_counts_again_as_often_as_one_likes(store: ProfileStore):
    store.add(a_measurement())
    for _ in range(3):
        store.withdraw(identifiers(store))
        assert store.measurements() == []
        store.restore(identifiers(store))
        assert len(store.measurements()) == 1
        assert store.rows()[0].withdrawn is None


def test_baselines_and_colocations_can_be_withdrawn(store: ProfileStore):
    store.add_baseline(Baseline("Tesla T4", Environment(), 1))
    store.add_baseline(Baseline("Tesla T4", Environment(), 2))
    store.add_colocations([a_colocation("r1"), a_colocation("r2")])
    ids = identifiers(store)
    store.withdraw([ids[1], ids[2]])
    assert [b.memory_bytes for b in store.baselines()] == [1]
    assert [c.run for c in store.colocations()] == ["r2"]


def test_withdrawals_are_merged_whichever_store_comes_first(tmp_path: Path):
    """One machine measures, another one withdraws the row from its copy."""
    with ProfileStore(tmp_path / "a.db") as a:
        a.add(a_measurement())
    (tmp_path / "b.db").write_bytes((tmp_path / "a.db").read_bytes())
    with ProfileStore(tmp_path / "b.db") as b:
        b.withdraw(identifiers(b), "wrong clocks")
    for name, order in (("ab.db", "ab"), ("ba.db", "ba")):
        with ProfileStore(tmp_path / name) as both:
            for part in order:
                both.merge(tmp_path / f"{part}.db")
            assert both.measurements() == []
            assert [row.withdrawn for row in both.rows()] == ["wrong clocks"]


def test_a_clock_that_is_set_back_takes_nothing_back(store: ProfileStore):
    """The row was withdrawn in the year 2999, by some clock; it is restored today."""
    store.add(a_measurement())
    (id_,) = identifiers(store)
    store.withdraw([id_])
    store._connection.execute("UPDATE withdrawals SET measured_at = '2999-01-01'")
    store.restore([id_])
    assert len(store.measurements()) == 1


def test_an_unknown_row_is_named_and_nothing_withdrawn(store: ProfileStore):
    store.add(a_measurement())
    with pytest.raises(InputError, match="no row has the identifier 'nope'"):
        store.withdraw([*identifiers(store), "nope"])
    assert len(store.measurements()) == 1


def test_a_point_whose_rows_are_all_withdrawn_is_not_known(store: ProfileStore):
    store.add(a_measurement(concurrency=1))
    store.add(replace(a_measurement(concurrency=1), status="failed", reason="hot"))
    store.add(a_measurement(concurrency=2))
    ids = identifiers(store)
    store.withdraw(ids[:2])
    assert [m.load.concurrency for m in store.measurements()] == [2]
