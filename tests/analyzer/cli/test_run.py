"""`run`: from models to repositories that answer, in one go."""

import json
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
                "place": {"limits": ["memory"], "output": "layout.yaml"},
                "export": {"output": "deploy"},
            }
        )
    )
    first = run("run", "--check", "--output-format", "json", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    answers = json.loads(first.stdout[first.stdout.rindex("\n{") :])
    ((host, latencies_ms),) = answers.items()
    assert set(latencies_ms) == {"ocr_orientation", "voice_activity"}
    assert (tmp_path / "deploy" / "triton" / host / "voice_activity" / "config.pbtxt").is_file()
    layout = yaml.safe_load((tmp_path / "layout.yaml").read_text())
    assert len(layout["devices"]) == 1

    second = run("run", "--check", "--output-format", "json", cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "2 are in profiles.db, 0 to measure" in second.stderr
    assert yaml.safe_load((tmp_path / "layout.yaml").read_text()) == layout
