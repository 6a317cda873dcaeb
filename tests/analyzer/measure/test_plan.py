"""What is wrong with the inputs is said before any server runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from python_models import add_model

from analyzer.load.inputs import Inputs, with_open_dims
from analyzer.load.model_inputs import describe_config
from analyzer.measure.options import Options
from analyzer.measure.plan import make_plan
from profiles import model_config
from profiles.errors import InputError

MODELS = Path(__file__).parents[1] / "load" / "models"


def prepare(*models: str, **given: object) -> None:
    inputs = Inputs(**given)  # type: ignore[arg-type]
    make_plan(Options(MODELS, Path("unused.db"), models=models, inputs=inputs))


def test_every_model_that_lacks_a_shape_is_named():
    with pytest.raises(InputError) as caught:
        prepare("add_one", "picky")
    said = str(caught.value)
    assert "add_one: input IN has variable dims [-1]; set them, e.g. --shape add_one/IN:8," in said
    assert "picky: input IDS has variable dims [-1]" in said
    assert "--shape picky/IDS:8" in said


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


def broken_repository(path: Path) -> Path:
    """Two sound models, and one for each way to be broken that was found in public repositories."""
    add_model(path, "sound")
    add_model(path, "sampled", config=OPEN + WARM_UP)
    for name in ("with space", "ünïcode", "a&b"):
        add_model(path, name)
    (path / "utils").mkdir()
    (path / "line\nbreak" / "1").mkdir(parents=True)
    for name, config in {
        "template": "max_batch_size: ${triton_max_batch_size} backend: 'tensorrtllm'",
        "open": OPEN,
        "misnamed": 'name: "other"',
        "misspelt": "max_batchsize: 4",
        "latin": 'backend: "\xe9"',
        "step_missing": 'ensemble_scheduling { step { model_name: "nowhere" } }',
        "step_broken": 'ensemble_scheduling { step { model_name: "misspelt" } }',
        "endless": 'ensemble_scheduling { step { model_name: "endless" } }',
    }.items():
        (path / name / "1").mkdir(parents=True)
        (path / name / "config.pbtxt").write_text(config, encoding="latin-1")
    return path


OPEN = """
input { name: "IN" data_type: TYPE_FP32 dims: [ -1, 3 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ -1, 3 ] }
"""
WARM_UP = """
model_warmup {
  name: "one"
  batch_size: 1
  inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 7, 3 ] zero_data: true } }
}
"""
GRAPH = """
optimization {
  cuda { graph_spec { batch_size: 1 input { key: "IN" value { dim: [ 5, 3 ] } } } }
}
"""


def test_what_cannot_be_measured_is_left_out_with_the_remedy(tmp_path: Path):
    models = broken_repository(tmp_path / "models")
    options = Options(models, tmp_path / "unused.db", inputs=Inputs(repository=models))
    said: list[str] = []
    plan = make_plan(options, said.append)
    assert list(plan.models) == ["sampled", "sound"]
    assert {point.variant.model for point in plan.points} == {"sampled", "sound"}
    remedies = {
        "utils": "utils/1, or move .*utils out of the repository if it is no model",
        "line\nbreak": "a line break",
        "template": r"config.pbtxt:1:17: .*\$\{triton_max_batch_size\}.*fill_template.py",
        "open": "--shape open/IN:8,3, or all such dims by --dynamic-shape 8",
        "with space": "takes no ' ' in a name. Rename its directory",
        "ünïcode": "takes no 'ü' in a name",
        "a&b": "the Python backend's shell takes '&'",
        "misnamed": "'other', but its directory is 'misnamed'",
        "misspelt": "misspelt/config.pbtxt:1:1: .*max_batchsize",
        "latin": "latin/config.pbtxt: not UTF-8 at byte 10",
        "step_missing": "step_missing is composed of models.*'nowhere'",
        "step_broken": "max_batchsize",
        "endless": "endless calls endless",
    }
    assert plan.left_out.keys() == remedies.keys()
    for name, remedy in remedies.items():
        assert re.search(remedy, plan.left_out[name]), plan.left_out[name]
    assert all(f"Left out: {reason}" in said for reason in plan.left_out.values())


def test_strict_measures_nothing_where_a_model_is_broken(tmp_path: Path):
    repository = broken_repository(tmp_path / "models")
    with pytest.raises(InputError, match="utils") as caught:
        make_plan(Options(repository, tmp_path / "unused.db", strict=True))
    assert "step_missing" in str(caught.value)


def test_nothing_but_broken_models_is_an_error(tmp_path: Path):
    repository = broken_repository(tmp_path / "models")
    with pytest.raises(InputError, match="misspelt"):
        make_plan(Options(repository, tmp_path / "unused.db", models=("misspelt", "open")))


def test_open_dims_come_from_the_models_directory_before_the_default(tmp_path: Path):
    """A warm-up sample says 7; a CUDA graph 5; without either --dynamic-shape 224 holds, and a
    shape that is given stands above all."""
    models = broken_repository(tmp_path / "models")
    add_model(models, "graph", config=OPEN + GRAPH)
    given = Inputs(shapes=[("graph", "IN", (9, 3))], open_dim=224, repository=models)
    assert given.of("sampled") == {"IN": (7, 3)}
    assert given.found("graph") == ({"IN": (5, 3)}, "its CUDA graph")
    assert given.of("graph") == {"IN": (9, 3)}
    described = describe_config(model_config.read(models / "open" / "config.pbtxt"), "open")
    assert described is not None
    assert with_open_dims(described, given.of("open"), given.open_dim) == {"IN": (224, 3)}
    plan = make_plan(Options(models, tmp_path / "unused.db", inputs=given))
    assert "open" in plan.models


def test_a_range_that_no_model_takes_is_said():
    with pytest.raises(InputError, match=r"--random-range LEN: no such input"):
        prepare("picky", shapes=[(None, "IDS", (4,))], ranges=[(None, "LEN", (1.0, 2.0))])
