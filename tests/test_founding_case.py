"""The founding case from its table to its layouts, through the command line.

NVIDIA, "Maximizing deep learning inference performance with NVIDIA Model Analyzer" (2020), tables 1
and 2. By hand the article found 4 GPUs when memory is the only limit and 6 at full load.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import ROOT, run

TABLE = ROOT / "examples" / "founding-case" / "profiles.csv"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the table in a store."""
    path = tmp_path_factory.mktemp("founding")
    done = run("import", TABLE, "--store", "profiles.db", cwd=path)
    assert done.returncode == 0, done.stderr
    return path


def place(directory: Path, *arguments: str) -> dict[str, Any]:
    done = run(
        "place", "--store", "profiles.db", *arguments, "--output-format", "json", cwd=directory
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_memory_alone_takes_four_gpus(directory: Path):
    answer = place(directory, "--limits", "memory")
    assert answer["status"] == "optimal"
    assert len(answer["layout"]["devices"]) == 4
    models = [r["model"] for d in answer["layout"]["devices"] for r in d["residents"]]
    assert len(models) == len(set(models)) == 9


def test_the_server_is_charged_once_per_gpu(directory: Path):
    """Each GPU holds 309 MB of server plus each model's table entry less 309 MB."""
    answer = place(directory, "--limits", "memory")
    for device in answer["layout"]["devices"]:
        alone = sum(resident["uses"]["memory"] for resident in device["residents"])
        assert device["uses"]["memory"] == pytest.approx(alone + 309e6)
        assert device["uses"]["memory"] <= 16e9


@pytest.mark.parametrize(("limit", "gpus"), [("100%", 6), ("99%", 7), ("95%", 7), ("90%", 8)])
def test_full_load_takes_six_gpus_and_more_with_headroom(directory: Path, limit: str, gpus: int):
    """The 6 needs a device at exactly 100 / 100: any headroom costs a seventh."""
    rules = [f"--max-{name}={limit}" for name in ("memory", "utilization", "memory-utilization")]
    answer = place(directory, *rules)
    assert answer["status"] == "optimal"
    assert len(answer["layout"]["devices"]) == gpus


def test_memory_and_memory_utilization_take_five(directory: Path):
    answer = place(directory, "--limits", "memory,memory_utilization")
    assert (answer["status"], len(answer["layout"]["devices"])) == ("optimal", 5)


def test_a_model_too_large_for_every_gpu_is_named_with_its_need(directory: Path):
    done = run(
        *("place", "--store", "profiles.db", "--device", "16 GB GPU"),
        *("--device-memory", "10GB", "--limits", "memory"),
        cwd=directory,
    )
    assert done.returncode == 1
    assert "segmentation_ct_liver" in done.stderr + done.stdout
    assert "10.74 GB" in done.stderr + done.stdout


def test_five_gpus_are_too_few_at_full_load(directory: Path):
    done = run(
        *("place", "--store", "profiles.db", "--device", "16 GB GPU", "--count", "5"),
        cwd=directory,
    )
    assert done.returncode == 1
    assert "1 more 16 GB GPU" in done.stdout + done.stderr


def test_a_broken_table_names_row_and_field(tmp_path: Path):
    text = TABLE.read_text().replace("1381.6", "fast")
    (tmp_path / "table.csv").write_text(text)
    named = "table.csv line 8: throughput: 'fast' is not a number"
    done = run("import", "table.csv", "--store", "x.db", "--strict", cwd=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    done = run("import", "table.csv", "--store", "x.db", cwd=tmp_path)
    assert done.returncode == 0
    assert f"{named}. The row is left out." in done.stderr.replace("\n", " ")
    assert "8 measurements of 8 models" in done.stdout
