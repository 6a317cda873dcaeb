"""Models that cannot be measured do not keep the others from it, and the exit code says so."""

import json
from pathlib import Path

import pytest
from command_line import run
from python_models import add_model

from analyzer.triton.runtime import Binary

pytestmark = pytest.mark.triton


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    add_model(models, "sound")
    (models / "utils").mkdir()
    (models / "template" / "1").mkdir(parents=True)
    (models / "template" / "config.pbtxt").write_text("max_batch_size: ${max_batch_size}")
    return models


QUICK = ("--gpus", "none", "--batch-sizes", "1", "--concurrency", "1", "--max-duration", "500ms")


def test_what_is_sound_is_measured_and_what_is_not_is_named_at_the_end(
    repository: Path, tmp_path: Path, embedded_triton: Binary
):
    done = run("profile", "-m", repository, *QUICK, "--output-format", "json", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert [(m["variant"]["model"], m["status"]) for m in json.loads(done.stdout)] == [
        ("sound", "ok")
    ]
    error = done.stderr[done.stderr.index("Error:") :]
    assert error.startswith("Error: 2 of 3 models were left out; all others are measured.")
    assert "fill_template.py" in error
    assert "or move" in error

    strict = run("profile", "-m", repository, *QUICK, "--strict", "--store", "no.db", cwd=tmp_path)
    assert strict.returncode == 2
    assert "Traceback" not in strict.stderr
    assert not (tmp_path / "no.db").exists()


def test_run_places_and_exports_what_was_measured(
    repository: Path, tmp_path: Path, embedded_triton: Binary
):
    (tmp_path / "model-placer.yaml").write_text(f"""
        store: profiles.db
        model_repository: {repository}
        layout: layout.yaml
        profile: {{batch_sizes: [1], concurrency: [1], max_duration: 500ms, gpus: none}}
        place: {{limits: [memory], output: layout.yaml}}
        export: {{output: deploy}}
    """)
    done = run("run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert list((tmp_path / "deploy" / "triton").glob("*/sound/config.pbtxt"))
    assert "2 of 3 models were left out" in done.stderr
