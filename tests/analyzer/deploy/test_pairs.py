"""Which pairs are measured, and a real pair on a real Triton."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from analyzer.deploy.pairs import Candidate, candidates, choose, look, run
from analyzer.devices.cpu_host import CpuHost
from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure.options import Options
from analyzer.triton.runtime import Binary
from profiles.colocation import Colocation, Neighbour
from profiles.device import DeviceType
from profiles.environment import Environment
from profiles.errors import InputError
from profiles.measurement import LoadPoint, Measurement, Usage
from profiles.store import ProfileStore
from profiles.variant import Variant

T4 = DeviceType("Tesla T4", 16 * 10**9)


def a_measurement(model: str, use: float = 60.0, throughput: float = 100.0) -> Measurement:
    return Measurement(
        Variant(model),
        LoadPoint(1, 2),
        T4.name,
        Environment(),
        throughput=throughput,
        usage=Usage(10**9, 10**9, use),
    )


def some(count: int) -> dict[str, Candidate]:
    return {f"m{n}": Candidate(a_measurement(f"m{n}")) for n in range(count)}


def test_each_model_is_driven_at_its_best_point():
    slow, fast = a_measurement("bert", 30.0, 50.0), a_measurement("bert", 60.0, 100.0)
    elsewhere = replace(a_measurement("bert", throughput=900.0), device_type="NVIDIA L4")
    failed = replace(a_measurement("bert", throughput=900.0), status="failed")
    assert candidates([slow, fast, elsewhere, failed], T4.name)["bert"].measurement is fast


@pytest.mark.parametrize("count", [2, 5, 20])
def test_about_as_many_pairs_as_models_are_chosen_and_each_model_is_in_one(count):
    pairs = choose(some(count), [], T4)
    assert {model for pair in pairs for model in pair} == set(some(count))
    assert len(pairs) <= count
    assert len(set(pairs)) == len(pairs) <= len(list(combinations(range(count), 2)))


def test_a_model_that_hardly_uses_the_device_teaches_little():
    """Beside `idle` nobody is slowed: its pairs come after those that teach of both."""
    models = some(4) | {"idle": Candidate(a_measurement("idle", use=2.0))}
    pairs = choose(models, [], T4)
    assert [pair for pair in pairs if "idle" not in pair][:2] == pairs[:2]
    assert any("idle" in pair for pair in pairs)


def test_what_the_store_knows_is_not_measured_again():
    rows = [
        Colocation(
            run=f"r{n}",
            model=model,
            device_type=T4.name,
            load=LoadPoint(1, 2),
            solo_throughput=100.0,
            throughput=60.0,
            neighbours=(Neighbour("other", 60.0, {"utilization": 60.0}),),
            uses={"utilization": 60.0},
        )
        for model in some(4)
        for n in range(2)
    ]
    assert choose(some(4), rows, T4) == []
    new = choose(some(5), rows, T4)
    assert 1 <= len(new) <= 2
    assert all("m4" in pair for pair in new), "the fifth is new"
    assert choose(some(4), [replace(row, device_type="NVIDIA L4") for row in rows], T4)


def test_no_more_pairs_than_asked_for():
    assert len(choose(some(20), [], T4, most=3)) == 3


def test_two_that_do_not_fit_together_are_no_pair():
    big = a_measurement("big")
    assert big.usage is not None
    big = replace(big, usage=replace(big.usage, memory_hot_bytes=15_500_000_000))
    pairs = choose(some(2) | {"big": Candidate(big)}, [], T4)
    assert pairs == [("m0", "m1")]


def test_models_that_were_not_profiled_are_named(tmp_path: Path, example_repository: Path):
    with ProfileStore(tmp_path / "profiles.db"):
        pass
    options = Options(example_repository, tmp_path / "profiles.db", gpus="none")
    with pytest.raises(InputError, match="the store has none"):
        run(options)


@pytest.mark.triton
def test_a_pair_is_measured_and_its_rows_are_in_the_store(
    embedded_triton: Binary, example_repository: Path, tmp_path: Path
):
    """Three runs of two models: both in full, and each in full beside half of the other."""
    host = CpuHost().device_type
    with ProfileStore(tmp_path / "profiles.db") as store:
        for model, throughput in (("voice_activity", 200.0), ("ocr_orientation", 100.0)):
            measured = a_measurement(model, 40.0, throughput)
            store.add(replace(measured, device_type=host.name, load=LoadPoint(1, 1)))
    options = Options(
        example_repository,
        tmp_path / "profiles.db",
        gpus="none",
        rule=SteadyStateRule(max_duration_s=0.8),
    )
    said: list[str] = []
    assert look(options) == [("ocr_orientation", "voice_activity")]  # what a dry run tells
    rows = run(options, say=said.append)
    assert "1 of 1 pairs" in said[0]
    with ProfileStore(tmp_path / "profiles.db") as store:
        assert [row.run for row in store.colocations()] == [row.run for row in rows]
    assert len(rows) == 6
    assert len({row.run for row in rows}) == 3
    wanted = {(row.model, row.wanted_throughput) for row in rows}
    assert wanted == {
        ("voice_activity", 200.0),
        ("voice_activity", 100.0),
        ("ocr_orientation", 100.0),
        ("ocr_orientation", 50.0),
    }
    assert all(row.throughput > 0 and not row.failures for row in rows)
