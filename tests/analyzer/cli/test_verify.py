"""`model-placer verify`, `diff` and `apply` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from analyzer.deploy import verification_file
from analyzer.triton.runtime import Binary
from placement.layout import Layout, PlacedDevice, Resident
from placement.layout import layout as layouts
from profiles.measurement import LoadPoint
from profiles.store import ProfileStore

CPU = "Xeon (2 cores)"


def model_placer(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from analyzer.cli import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def a_layout(path: Path, name: str, rate: float) -> Path:
    resident = Resident("voice_activity", "o", rate=rate, load=LoadPoint(1, 1))
    layouts.save(Layout((PlacedDevice(name, CPU, (resident,)),)), path)
    return path


@pytest.mark.triton
def test_exit_code_and_document_tell_whether_a_layout_holds(
    embedded_triton: Binary, tmp_path: Path, example_repository: Path
):
    """One infer/s is little for the voice activity model; a hundred thousand is too much."""
    for rate, code in ((1.0, 0), (1e5, 1)):
        layout = a_layout(tmp_path / "layout.yaml", "cpu-1", rate)
        kept = tmp_path / "verification.yaml"
        options = ("-m", example_repository, "--duration", "1s", "--output-format", "json")
        options += ("-o", kept)
        run = model_placer("verify", layout, *options)
        assert run.returncode == code, run.stderr
        document = json.loads(run.stdout)
        assert document["holds"] is verification_file.load(kept).result.holds is (code == 0)
        throughput = document["checks"][0]
        assert (throughput["what"], throughput["predicted"]) == ("throughput", rate)
    assert "voice_activity gets" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.triton
def test_what_models_did_to_each_other_goes_to_the_store(
    embedded_triton: Binary, tmp_path: Path, example_repository: Path
):
    """Two on one host are two rows, each with the other as its neighbour; `show` tells them."""
    residents = tuple(
        Resident(name, "o", 0.5, rate, {"utilization": 25.0}, load=LoadPoint(1, 1))
        for name, rate in (("voice_activity", 50.0), ("ocr_orientation", 20.0))
    )
    alone = Resident("file_type", "o", rate=1.0, load=LoadPoint(1, 1))
    path, store = tmp_path / "layout.yaml", tmp_path / "profiles.db"
    layouts.save(
        Layout((PlacedDevice("a", CPU, residents), PlacedDevice("b", CPU, (alone,)))), path
    )
    options = ("-m", example_repository, "--duration", "1s", "--store", store)
    run = model_placer("verify", path, *options)
    assert run.returncode in (0, 1), run.stderr
    assert "2 co-location measurements" in run.stderr
    with ProfileStore(store) as opened:
        rows = opened.colocations()
    assert len({row.run for row in rows}) == 1
    first, second = sorted(rows, key=lambda row: row.model)
    assert (first.model, first.solo_throughput, first.wanted_throughput) == (
        "ocr_orientation", 40.0, 20.0,
    )  # fmt: skip
    (neighbour,) = first.neighbours
    assert neighbour.throughput == second.throughput > 0
    assert neighbour.uses["utilization"] == pytest.approx(50.0 * second.throughput / 100.0)
    assert first.environment.triton.startswith("Triton")
    shown = model_placer("show", "--store", store, "--colocation")
    assert shown.returncode == 0
    assert "One run only" in shown.stdout
    document = json.loads(
        model_placer("show", "--store", store, "--colocation", "--output-format", "json").stdout
    )
    assert len(document["colocations"]) == 2


@pytest.mark.docker
def test_a_layout_is_verified_in_containers(
    triton_image: str, tmp_path: Path, example_repository: Path
):
    layout = a_layout(tmp_path / "layout.yaml", "cpu-1", 1.0)
    options = ("-m", example_repository, "--duration", "1s", "--launch-mode", "docker")
    run = model_placer("verify", layout, *options, "--triton-image", triton_image)
    assert run.returncode == 0, run.stderr
    assert "pass" in run.stdout


def test_a_url_of_no_device_is_bad_input(tmp_path: Path, example_repository: Path):
    layout = a_layout(tmp_path / "layout.yaml", "cpu-1", 1.0)
    run = model_placer("verify", layout, "-m", example_repository, "--url", "gpu=h:1")
    assert run.returncode == 2
    assert "Unknown device in --url gpu. Devices of the layout: cpu-1" in run.stderr
    run = model_placer("verify", layout, "-m", example_repository, "--url", "nowhere")
    assert run.returncode == 2


def test_diff_tells_the_steps(tmp_path: Path):
    old, new = (a_layout(tmp_path / f"{name}.yaml", name, 1.0) for name in ("a", "b"))
    run = model_placer("diff", old, new)
    assert run.returncode == 0
    assert "voice_activity moves from a to b" in run.stdout
    steps = json.loads(model_placer("diff", old, new, "--output-format", "json").stdout)["steps"]
    assert [(step["action"], step["device"]) for step in steps] == [("load", "b"), ("unload", "a")]


def test_apply_says_which_server_does_not_answer(tmp_path: Path, example_repository: Path):
    old, new = (a_layout(tmp_path / f"{name}.yaml", name, 1.0) for name in ("a", "b"))
    urls = ("--url", "a=127.0.0.1:1", "--url", "b=127.0.0.1:2")
    run = model_placer("apply", new, "--from", old, "-m", example_repository, *urls, "--dry-run")
    assert run.returncode == 3
    assert "127.0.0.1:1 does not respond" in run.stderr
