"""The example of the Python interface runs, and its answer holds."""

import runpy
from pathlib import Path

import pytest

from placement import solve
from placement.layout import check

EXAMPLE = Path(__file__).parents[2] / "examples" / "use_solver.py"


def test_the_example_tells_a_proven_layout_and_its_reasons(capsys):
    """The least price, then the four old GPUs alone: both are proven."""
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    told = capsys.readouterr().out
    assert told.count("optimal: value") == 2
    assert "All demands can grow together by the factor" in told


def test_its_least_price_is_that_of_two_new_gpus():
    """Two replicas of the text model need two devices; the cheapest pair that carries all.

    Two old ones carry at most 2 · 600/s of text alone; speech at batch 1 takes 400 / 150 · 70 =
    187 % more: too much for 180 %. One new with one old: utilization left after the text's 900/s.
    """
    made = runpy.run_path(str(EXAMPLE))
    result = solve(made["problem"], 10)
    assert result.status == "optimal"
    assert check.violations(made["problem"], result.layout) == []
    assert result.value == pytest.approx(1.15)
    assert sorted(d.device_type for d in result.layout.devices) == ["L4", "T4"]
