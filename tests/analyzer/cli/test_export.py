"""`model-placer export` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from placement.layout import Layout, PlacedDevice, Resident
from placement.layout import layout as layouts

LAYOUT = Layout((PlacedDevice("T4 1", "Tesla T4", (Resident("file_type", "o"),)),))


def model_placer(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from analyzer.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_export_says_where_it_wrote(tmp_path: Path, example_repository: Path):
    layouts.save(LAYOUT, tmp_path / "layout.yaml")
    made = model_placer(
        "export",
        tmp_path / "layout.yaml",
        *("-m", example_repository, "-o", tmp_path, "--output-format", "json"),
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["folders"] == {"triton": str(tmp_path / "triton")}
    assert (tmp_path / "triton" / "t4-1" / "file_type" / "config.pbtxt").is_file()


def test_bad_input_ends_in_one_line_and_exit_code_2(tmp_path: Path, example_repository: Path):
    layouts.save(LAYOUT, tmp_path / "layout.yaml")
    for arguments, word in (
        ((tmp_path / "none.yaml", "-m", example_repository), "none.yaml"),
        ((tmp_path / "layout.yaml", "-m", tmp_path / "no"), "does not exist"),
        (
            (tmp_path / "layout.yaml", "-m", example_repository, "--format", "nginxx"),
            "Unknown form",
        ),
    ):
        made = model_placer("export", *arguments, "-o", tmp_path / "out")
        assert made.returncode == 2
        assert word in made.stderr
        assert "Traceback" not in made.stderr
