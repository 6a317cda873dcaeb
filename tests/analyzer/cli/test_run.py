"""`run`: from models to repositories that answer, in one go."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from command_line import run

from analyzer.triton.runtime import Binary

pytestmark = pytest.mark.triton

ROOT = Path(__file__).parents[3]


def test_two_models_are_measured_placed_exported_and_asked(
    tmp_path: Path, embedded_triton: Binary, example_repository: Path
):
    """Both fit on one host by memory; the second run measures nothing and says the same."""
    (tmp_path / "model-placer.yaml").write_text(
        yaml.safe_dump(
            {
                "store": "profiles.db",
                "model_repository": str(example_repository),
                "layout": "layout.yaml",
                "models": ["ocr_orientation", "voice_activity"],
                "profile": {"batch_sizes": [1], "concurrency": [1], "max_duration": "1s"},
                "place": {"limits": ["memory"]},
                "report": {"output": "report.html"},
            }
        )
    )
    (tmp_path / "layout.yaml").write_text("an older one")
    first = run("run", "--check", "--output-format", "json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    results = json.loads(first.stdout)  # one document
    assert list(results) == ["profile", "place", "export", "report", "check"]
    assert {row["variant"]["model"] for row in results["profile"]} == {
        "ocr_orientation",
        "voice_activity",
    }
    assert results["place"]["status"] == "optimal"
    ((host, latencies_ms),) = results["check"].items()
    assert set(latencies_ms) == {"ocr_orientation", "voice_activity"}
    assert (tmp_path / "deploy" / "triton" / host / "voice_activity" / "config.pbtxt").is_file()
    layout = yaml.safe_load((tmp_path / "layout.yaml").read_text())
    assert len(layout["devices"]) == 1
    assert "2 models on 1 device" in (tmp_path / "report.html").read_text()

    second = run("run", "--check", "--output-format", "json", cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "2 are in profiles.db, 0 to measure" in second.stderr
    assert yaml.safe_load((tmp_path / "layout.yaml").read_text()) == layout


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (
            'raise ImportError("\\n\\nA page of advice\\n\\nOriginal error was: no datetime")',
            3,
            "ImportError: no datetime",
        ),
        (
            "class TritonPythonModel:\n    def execute(self, _):\n        raise ValueError('no')",
            1,
            "ValueError: no",
        ),
    ],
)
def test_a_run_whose_points_all_fail_ends_with_the_reason_told_once(
    tmp_path: Path,
    embedded_triton: Binary,
    example_repository: Path,
    code: str,
    status: int,
    reason: str,
):
    """It does not go on to place; the same command tries again: what is mended is not left out."""
    for model in ("ocr_orientation", "voice_activity"):
        shutil.copytree(example_repository / model, tmp_path / "models" / model, symlinks=True)
        (tmp_path / "models" / model / "1" / "model.py").unlink()
        (tmp_path / "models" / model / "1" / "model.py").write_text(f"{code}\n")
    (tmp_path / "model-placer.yaml").write_text(
        yaml.safe_dump(
            {
                "store": "profiles.db",
                "model_repository": "models",
                "layout": "layout.yaml",
                "profile": {"batch_sizes": [1, 2], "concurrency": [1], "max_duration": "1s"},
                "place": {"output": "layout.yaml"},
                "export": {"output": "deploy"},
            }
        )
    )
    for _ in range(2):
        done = run("run", cwd=tmp_path)
        assert done.returncode == status, done.stderr
        assert done.stdout == ""
        assert "4 to measure" in done.stderr
        assert "── place" not in done.stderr
        assert "A page of advice" not in done.stderr
        error = done.stderr[done.stderr.rindex("\nError: ") + 1 :]
        assert error.startswith("Error: All 4 points failed: ")
        assert error.count(reason) == 1
        # As it happens it is told once, too: in the first point's line.
        assert done.stderr.count(reason) == 2
    placed = run("place", cwd=tmp_path)
    assert placed.returncode == status
    assert placed.stderr.startswith("Error: All 4 points failed: ")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "`layout` is missing"),
        ({"layout": "a.yaml", "place": {"output": "b.yaml"}}, "name the same file"),
    ],
)
def test_a_layout_that_is_not_the_one_placed_is_refused_at_the_start(
    tmp_path: Path, config: dict[str, object], says: str
):
    (tmp_path / "model-placer.yaml").write_text(yaml.safe_dump(config | {"store": "s.db"}))
    done = run("run", cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
