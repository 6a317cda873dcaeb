"""`model-placer export` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from python_models import add_model

from analyzer.triton.runtime import Binary
from placement.layout import Layout, PlacedDevice, Resident
from placement.layout import layout as layouts

CALLER = """
tensor = pb_utils.get_input_tensor_by_name(request, "IN")
call = pb_utils.InferenceRequest(
    model_name="open", inputs=[tensor], requested_output_names=["OUT"]
)
answer = call.exec()
if answer.has_error():
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(answer.error().message()))
return pb_utils.InferenceResponse(answer.output_tensors())
"""
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


@pytest.mark.triton
def test_what_is_exported_is_checked_by_a_real_triton(tmp_path: Path, embedded_triton: Binary):
    """A model with an open dim, one that calls it from its code, and one that fails."""
    models = tmp_path / "models"
    tensors = 'input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }'
    output = 'output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }'
    add_model(models, "open", config=f"{tensors}\n{output}")
    add_model(models, "caller", CALLER)
    placed = (Resident("caller", "o"),)
    layouts.save(Layout((PlacedDevice("host", "CPU (2 cores)", placed),)), tmp_path / "l.yaml")
    told = ("export", tmp_path / "l.yaml", "-m", models, "-o", tmp_path / "out", "--check")
    made = model_placer(*told, "--dynamic-shape", "4", "--output-format", "json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["first_response_ms"]["host"].keys() == {"caller", "open"}
    assert "--with-models caller=open" in made.stderr

    code = models / "open" / "1" / "model.py"
    code.write_text(code.read_text().replace("return pb_utils", "raise ValueError('gone off')\n#"))
    made = model_placer(*told, "--with-models", "caller=open", "--dynamic-shape", "4")
    assert made.returncode == 1
    assert "gone off" in made.stderr
    assert "--with-models" not in made.stderr
