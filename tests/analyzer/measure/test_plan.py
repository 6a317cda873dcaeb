"""What is wrong with the inputs is said before any server runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.load.inputs import Inputs
from analyzer.measure.options import Options
from analyzer.measure.plan import make_plan
from profiles.errors import InputError

MODELS = Path(__file__).parents[1] / "load" / "models"


def prepare(*models: str, **given: object) -> None:
    inputs = Inputs(**given)  # type: ignore[arg-type]
    make_plan(Options(MODELS, Path("unused.db"), models=models, inputs=inputs))


def test_every_model_that_lacks_a_shape_is_named():
    with pytest.raises(InputError) as caught:
        prepare("add_one", "picky")
    said = str(caught.value)
    assert "add_one: input IN has variable dims [-1]; set them, e.g. --shape IN:8" in said
    assert "picky: input IDS" in said


def test_a_shape_without_a_model_is_for_those_that_have_the_input():
    prepare("add_one", "picky", shapes=[(None, "IN", (3,)), (None, "IDS", (4,))])


@pytest.mark.parametrize("owner", [None, "picky"])
def test_a_shape_that_no_model_takes_is_said_with_what_there_is(owner: str | None):
    shapes = [(None, "IDS", (4,)), (owner, "IDZ", (4,))]
    with pytest.raises(
        InputError, match=r"--shape IDZ: no such input\. Inputs: picky: TEXT, IDS, MASK"
    ):
        prepare("picky", shapes=shapes)


def test_a_shape_of_the_configuration_file_is_checked_too():
    with pytest.raises(InputError, match=r"--shape IDZ"):
        prepare("picky", shapes_by_model={"picky": {"IDS": (4,), "IDZ": (4,)}})


def test_data_that_does_not_fit_is_said(tmp_path: Path):
    file = tmp_path / "data.json"
    file.write_text('{"data": [{"IDS": {"content": [1], "shape": [1]}}]}')
    with pytest.raises(InputError, match="input TEXT of picky is missing"):
        prepare("picky", data=str(file))
