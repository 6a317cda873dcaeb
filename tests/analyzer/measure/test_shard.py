"""The split of a sweep: every model once, balanced, and the same whenever it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from analyzer.measure.plan import chosen_names
from analyzer.measure.shard import Shard, expected_s, split
from profiles.errors import InputError
from profiles.store import ProfileStore

COSTS = st.dictionaries(st.text(min_size=1, max_size=8), st.floats(0, 1e6), max_size=40)


@given(costs=COSTS, count=st.integers(1, 12))
def test_every_model_is_in_exactly_one_shard(costs: dict[str, float], count: int):
    shards = split(costs, count)
    assert len(shards) == count
    assert sorted(model for shard in shards for model in shard) == sorted(costs)


@given(costs=COSTS, count=st.integers(1, 12), data=st.data())
def test_the_order_in_which_models_are_found_changes_nothing(
    costs: dict[str, float], count: int, data: st.DataObject
):
    shuffled = data.draw(st.permutations(list(costs)))
    assert split({model: costs[model] for model in shuffled}, count) == split(costs, count)


@given(costs=COSTS.filter(bool), count=st.integers(1, 12))
def test_no_shard_waits_for_more_than_one_model_too_many(costs: dict[str, float], count: int):
    """The fullest shard was the emptiest when it got its last model: at most mean + dearest."""
    filled = [sum(costs[model] for model in shard) for shard in split(costs, count)]
    assert max(filled) <= sum(costs.values()) / count + max(costs.values()) + 1e-6


def test_a_dear_model_has_a_shard_of_its_own():
    """One of 30 s, six of 5 s: 30 | 30."""
    costs = {"big": 30.0} | {f"small-{i}": 5.0 for i in range(6)}
    assert split(costs, 2)[0] == ["big"]


def test_a_hundred_equal_models_take_a_tenth_on_ten_shards():
    shards = split({f"model-{i}": 1.0 for i in range(100)}, 10)
    assert {len(shard) for shard in shards} == {10}


def test_a_models_cost_is_its_loads_and_points():
    """Two variants, each loaded once (5 s), with nine points of at most 10 s."""
    assert expected_s(variants=2, loads=9, max_duration_s=10) == 2 * (5 + 90)


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_is_not_there_is_refused(index: int, count: int):
    with pytest.raises(InputError, match=r"must be from 0 to"):
        Shard(index, count)


def test_the_shards_of_a_run_are_its_models(tmp_path: Path, example_repository: Path):
    """A model with a longer sweep of its own weighs more: it is alone, the other four share."""
    found = []
    for index in range(2):
        options = Options(
            example_repository,
            tmp_path / "profiles.db",
            sweep=Sweep(batch_sizes=(1,), concurrency=(1,)),
            sweep_by_model={"file_type": Sweep(batch_sizes=(1, 2, 4), concurrency=(1, 2))},
            shard=Shard(index, 2),
        )
        found.append(list(chosen_names(options)))
    assert found == [
        ["file_type"],
        ["ocr_detection", "ocr_orientation", "ocr_recognition", "voice_activity"],
    ]


def test_a_shard_without_models_starts_no_server_and_leaves_a_store(
    tmp_path: Path, example_repository: Path
):
    """Six shards of five models; whoever merges finds six stores."""
    store = tmp_path / "5.db"
    told: list[str] = []
    outcome = profile.run(
        Options(example_repository, store, shard=Shard(5, 6)), lambda _: None, told.append
    )
    assert outcome.measurements == []
    assert told == ["Shard 5/6 has no models: there are only 5."]
    with ProfileStore(store, read_only=True) as found:
        assert found.measurements() == []
