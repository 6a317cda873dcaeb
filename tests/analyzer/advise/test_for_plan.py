"""`profile --for-plan`: what can change the layout is measured, and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import run
from made_up_points import a_point

from analyzer.advise.for_plan import next_for
from analyzer.measure.grid import Point
from analyzer.triton.runtime import Binary
from placement.layout import Layout, PlacedDevice, Resident
from profiles.device import DeviceType
from profiles.errors import InputError
from profiles.measurement import LoadPoint
from profiles.variant import Variant

CPU = DeviceType("cpu", 16_000_000_000, kind="cpu", cores=4)
TWO = Variant("bert", instance_count=2)


def a_layout(devices: int, rate: float) -> Layout:
    """The rate of bert, in equal parts on so many devices at a price of 1."""
    return Layout(
        tuple(
            PlacedDevice(
                f"cpu-{number}",
                "cpu",
                (Resident("bert", "as configured b1 c4", rate=rate / devices),),
                capacity={"memory": 16e9, "utilization": 100.0},
            )
            for number in range(devices)
        )
    )


def test_a_variant_that_could_free_a_device_is_measured_next():
    """50/s at full use: 150/s take three devices. Twice as good, 100/s of it: two devices."""
    row = a_point(50, utilization=100)
    found = next_for([Point(TWO, LoadPoint(1, 4), "")], a_layout(3, 150), [row], (), CPU)
    assert found.point == Point(TWO, LoadPoint(1, 4), "")
    assert "the layout costs 3, and could cost 2" in found.why


def test_nothing_is_measured_when_nothing_can_be_cheaper():
    """One device is the least there is."""
    row = a_point(50, utilization=100)
    found = next_for([Point(TWO, LoadPoint(1, 4), "")], a_layout(1, 40), [row], (), CPU)
    assert found.point is None
    assert "even the best that could be hoped costs 1, and it costs 1" in found.why


def test_of_a_variant_that_is_known_less_is_hoped():
    """Twice of 50 would carry 190/s on two devices; 1.25 times, 62.5 each, needs four as before."""
    rows = [a_point(50, utilization=100), a_point(50, variant=TWO, utilization=100)]
    missing = [Point(TWO, LoadPoint(1, 8), "")]
    assert next_for(missing, a_layout(4, 190), rows, (), CPU).point is None
    assert next_for(missing, a_layout(4, 190), rows[:1], (), CPU).point is not None


def test_models_that_the_layout_has_not_are_left_alone():
    other = Point(Variant("gpt"), LoadPoint(1, 4), "")
    found = next_for([other], a_layout(3, 150), [a_point(50, utilization=100)], (), CPU)
    assert found.point is None


def test_a_model_without_any_point_is_named():
    missing = [Point(TWO, LoadPoint(1, 4), "")]
    with pytest.raises(InputError, match="bert is in the layout, but was never measured on cpu"):
        next_for(missing, a_layout(3, 150), [replace(a_point(), device_type="Tesla T4")], (), CPU)


RESTER = Path(__file__).parents[1] / "swept_models" / "rester"  # 20 ms, and sleeps them


@pytest.mark.triton
@pytest.mark.slow
def test_on_a_real_triton_it_stops_when_one_device_is_enough(
    tmp_path: Path, embedded_triton: Binary
):
    """48/s of one instance, at next to no use: 80/s take two devices, and one with two instances.

    Five of the six points are missing; the first that frees a device ends it.
    """
    shutil.copytree(RESTER, tmp_path / "models" / "rester")
    (tmp_path / "demand.yaml").write_text("models: {rester: {rate: 80}}")
    common = ("-m", "models", "--batch-sizes", "1", "--max-duration", "1s", "--gpus", "none")
    first = run("profile", *common, "--concurrency", "1", "--instance-counts", "1", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    placed = run("place", "--demand", "demand.yaml", "-o", "layout.yaml", cwd=tmp_path)
    assert placed.returncode == 0, placed.stderr
    grid = ("--concurrency", "1,4", "--instance-counts", "1,2,4", "--for-plan", "layout.yaml")
    done = run("profile", *common, *grid, "--output-format", "json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Nothing that was not measured can change the layout" in done.stderr
    assert len(json.loads(done.stdout)) < 6, done.stderr
    again = run("place", "--demand", "demand.yaml", "--output-format", "json", cwd=tmp_path)
    assert json.loads(again.stdout)["value"] == 1
