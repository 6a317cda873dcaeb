"""Names that Triton could not serve are refused by whatever reads a model's name."""

import json
from pathlib import Path

import pytest

from placement.layout import layout as layouts
from placement.problem.problem_file import read_problem
from profiles.errors import InputError
from profiles.model_name import check_model_name
from profiles.repository import model_names, unfit_directories
from profiles.variant import Variant

BAD = ["", " ", ".", "..", "../up", "a/b", "/", "a\nb", "a\r", "a\tb", "\0", "\x1b[2J", "a\x85b"]
BAD += ["a\u2028b", "a\u2029b", "\ud800", "x" * 256, "ü" * 128]
GOOD = [
    "bert",
    "bert#2",
    "bert-large.v2",
    "...",
    ".hidden",
    "a b",
    "größe",
    "模型",
    "x" * 255,
    "a\\b",
]


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_no_directory_has_is_refused(name: str):
    with pytest.raises(InputError, match=r"f\.csv line 2: .* cannot be the name of a model: it "):
        check_model_name(name, "f.csv line 2")
    if not name:
        return  # a variant without a name is that of any model
    with pytest.raises(InputError, match="cannot be the name of a model"):
        Variant(name)
    with pytest.raises(InputError, match="cannot be the name of a model"):
        Variant("outer", members=(Variant(name),))


@pytest.mark.parametrize("name", GOOD)
def test_any_other_name_is_taken(name: str):
    check_model_name(name)
    assert Variant(name).model == name


@pytest.mark.parametrize("name", sorted({*BAD} - {"\ud800"}))  # YAML has no half characters
def test_layouts_and_problems_with_such_a_name_are_refused(name: str):
    resident = {"model": name, "option": "b1"}
    devices = [{"name": "gpu-1", "device_type": "T4", "residents": [resident]}]
    with pytest.raises(InputError, match=r"devices\[0\].*cannot be the name of a model"):
        layouts.loads(json.dumps({"schema_version": 1, "devices": devices}))
    problem = {
        "resources": [{"name": "memory"}],
        "types": [{"name": "t4", "capacity": {"memory": 16}}],
        "pools": [{"name": "rack", "device_type": "t4"}],
        "models": [{"name": name, "options": [{"name": "b1", "device_type": "t4", "needs": {}}]}],
    }
    with pytest.raises(InputError, match=r"models: .* cannot be the name of a model"):
        read_problem(problem, "p.json")


def test_a_layouts_variant_is_looked_at_as_well():
    variant = {"model": "../up"}
    resident = {"model": "bert", "option": "b1", "variant": variant}
    devices = [{"name": "gpu-1", "device_type": "T4", "residents": [resident]}]
    with pytest.raises(InputError, match=r"residents\[0\]\.variant: '../up' cannot be the name"):
        layouts.loads(json.dumps({"schema_version": 1, "devices": devices}))


def test_a_directory_with_such_a_name_is_no_model_and_named(tmp_path: Path):
    (tmp_path / "two\nlines" / "1").mkdir(parents=True)
    (tmp_path / "bert" / "1").mkdir(parents=True)
    assert model_names(tmp_path) == ("bert",)
    (reason,) = unfit_directories(tmp_path).values()
    assert r"'two\nlines' cannot be the name of a model" in reason
