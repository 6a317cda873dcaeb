"""`init`: what it writes is read by `profile`, and names what a user must fill in."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from command_line import run
from pretended_nvml.fleet import Fleet

from analyzer import init
from profiles.errors import InputError

OPEN = (
    'backend: "onnxruntime" max_batch_size: 2 '
    'input [{ name: "IDS" data_type: TYPE_INT64 dims: [-1] }, '
    '{ name: "no" data_type: TYPE_FP32 dims: [3, -1] }] '
    'output [{ name: "OUT" data_type: TYPE_FP32 dims: [1] }]'
)
ENSEMBLE = """
platform: "ensemble" max_batch_size: 2
input [{ name: "IN" data_type: TYPE_INT64 dims: [8] }]
output [{ name: "OUT" data_type: TYPE_FP32 dims: [1] }]
ensemble_scheduling { step [{ model_name: "bert" model_version: -1
  input_map { key: "IDS" value: "IN" } output_map { key: "OUT" value: "OUT" } }] }
"""
PLAIN = 'backend: "python" input [{ name: "x" data_type: TYPE_FP32 dims: [4] }]'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("bert", OPEN), ("pipeline", ENSEMBLE), ("on", PLAIN)):
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "config.pbtxt").write_text(text)
    (tmp_path / "models" / "bare" / "1").mkdir(parents=True)
    return tmp_path


def test_it_finds_the_repository_and_names_what_is_open(folder: Path):
    done = run("init", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "To fill in: models: bert: shapes: IDS, no" in done.stdout
    document = yaml.safe_load((folder / "model-placer.yaml").read_text())
    assert document["model_repository"] == "models"
    assert document["models"]["bert"] == {
        "batch_sizes": [1, 2],  # a batch of 4 would be refused
        "shapes": {"IDS": [-1], "no": [3, -1]},
    }
    assert document["models"]["on"] == {"batch_sizes": [1]}  # a name that YAML takes for a truth
    assert document["models"]["bare"] == {}
    text = (folder / "model-placer.yaml").read_text()
    assert "# pipeline calls it and is measured with it" in text
    assert "# ensemble, of bert, batches of up to 2" in text
    assert "# no config.pbtxt: Triton completes it" in text


def test_what_is_to_be_filled_in_is_asked_for_by_name(folder: Path):
    run("init", cwd=folder)
    done = run("profile", "--dry-run", cwd=folder)
    assert done.returncode == 2
    assert "model-placer.yaml: models: bert: shapes: IDS: '-1'" in done.stderr.replace(
        "-1 is", "'-1'"
    )


def test_the_file_that_is_filled_in_is_a_plan(folder: Path):
    """9 loads of `bare` and of nothing else; 1 or 2 batch sizes at 3 concurrencies elsewhere."""
    run("init", cwd=folder)
    path = folder / "model-placer.yaml"
    path.write_text(path.read_text().replace("[-1]", "[128]").replace("[3, -1]", "[3, 8]"))
    done = run("profile", "--dry-run", "--output-format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    points = {row["model"]: row["points"] for row in json.loads(done.stdout)}
    assert points == {"bare": 9, "bert": 6, "on": 3, "pipeline": 6}
    assert not (folder / "profiles.db").exists()


def test_its_file_is_valid_by_the_schema_that_it_links_to(folder: Path):
    run("init", cwd=folder)
    text = (folder / "model-placer.yaml").read_text()
    schema = Path(text.splitlines()[0].rpartition("file://")[2])
    jsonschema.validate(yaml.safe_load(text), json.loads(schema.read_text()))


def test_a_file_that_is_there_is_kept(folder: Path):
    (folder / "model-placer.yaml").write_text("store: mine.db\n")
    done = run("init", cwd=folder)
    assert done.returncode == 2
    assert "model-placer.yaml is there already; --force replaces it" in done.stderr
    assert (folder / "model-placer.yaml").read_text() == "store: mine.db\n"


def test_without_a_repository_it_says_where_it_looked(tmp_path: Path):
    with pytest.raises(InputError, match=r"looked in model_repository, models, \."):
        init.find_repository(tmp_path)


def test_gpus_are_entered(folder: Path, pretended_nvml: Fleet):
    """Two T4: a model on each at once, and layouts of that type."""
    pretended_nvml.add_gpu("Tesla T4")
    pretended_nvml.add_gpu("Tesla T4")
    gpus, why = init.device_types()
    assert gpus == ["Tesla T4", "Tesla T4"]
    document = yaml.safe_load(init.starting_file(folder / "models", gpus, why))
    assert (document["profile"]["gpus"], document["profile"]["parallel"]) == ("auto", True)
    assert document["place"]["device"] == "Tesla T4"
