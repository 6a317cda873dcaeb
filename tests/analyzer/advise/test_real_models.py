"""Real models with a fault on a real Triton: found, tried, and not found in their mended twins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import run
from tritonclient.http import InferenceServerClient, InferInput

from analyzer.advise.advise import advise
from analyzer.advise.finding import Evidence
from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from analyzer.triton import http_api, local
from analyzer.triton.runtime import Binary
from profiles.repository import read_repository
from profiles.store import ProfileStore

pytestmark = [pytest.mark.triton, pytest.mark.slow]

RESTER = Path(__file__).parents[1] / "swept_models" / "rester"  # rests, however large the batch
ONE = "instance_group { count: 1 kind: KIND_CPU }"
MODELS = {
    "rester": ONE,
    "mended": "instance_group { count: 4 kind: KIND_CPU } dynamic_batching { }",
    "delayed": f"{ONE} dynamic_batching {{ max_queue_delay_microseconds: 30000 }}",
    "hasty": f"{ONE} dynamic_batching {{ }}",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, embedded_triton: Binary) -> Path:
    """A repository of these models, and a store with a point or two of each."""
    folder = tmp_path_factory.mktemp("advise")
    for name, extra in MODELS.items():
        shutil.copytree(RESTER, folder / "models" / name)
        text = (RESTER / "config.pbtxt").read_text()
        text = text.replace('"rester"', f'"{name}"').replace(ONE, extra)
        (folder / "models" / name / "config.pbtxt").write_text(text)
        model = folder / "models" / name / "1" / "model.py"
        model.write_text(
            model.read_text().replace("0.02", "0.05")
        )  # long beside a busy host's jitter
    at_load, alone = Sweep((1, 4), (4,)), Sweep((1,), (1,))
    profile.run(
        Options(
            folder / "models",
            folder / "profiles.db",
            sweep=at_load,
            sweep_by_model={"delayed": alone, "hasty": alone},
            gpus="none",
            rule=SteadyStateRule(relative_half_width=0.1, max_duration_s=8),
        ),
        lambda _: None,
    )
    return folder


def kinds(folder: Path, model: str) -> set[str]:
    with ProfileStore(folder / "profiles.db", read_only=True) as store:
        evidence = Evidence(tuple(store.measurements()), read_repository(folder / "models"))
    return {found.kind for found in advise(evidence) if found.model == model}


def test_faults_are_found_and_mended_twins_are_not_accused(folder: Path):
    assert {"more-instances", "dynamic-batching"} <= kinds(folder, "rester")
    assert not {"more-instances", "dynamic-batching"} & kinds(folder, "mended")
    assert "queue-delay-for-nothing" in kinds(folder, "delayed")
    assert "queue-delay-for-nothing" not in kinds(folder, "hasty")


def test_what_is_tried_gains_what_was_said(folder: Path):
    """Two instances serve twice as much, batches up to four times as much."""
    done = run(
        *("advise", "-m", "models", "--models", "rester", "--try", "--gpus", "none"),
        *("--max-duration", "3s", "--output-format", "json"),
        cwd=folder,
        timeout_s=240,
    )
    assert done.returncode == 0, done.stderr
    trials = {trial["kind"]: trial for trial in json.loads(done.stdout)["trials"]}
    for kind in ("more-instances", "dynamic-batching"):
        assert trials[kind]["held"], trials[kind]
    assert trials["more-instances"]["throughput"] == pytest.approx(1.0, abs=0.35)


def test_a_running_triton_tells_what_nothing_calls(folder: Path):
    """Version 2 of one model is called, its version 1 and another model never."""
    repository = folder / "two"
    for name, extra in (("rester", "version_policy { all { } }"), ("idle", "")):
        shutil.copytree(RESTER, repository / name)
        text = (RESTER / "config.pbtxt").read_text().replace('"rester"', f'"{name}"')
        (repository / name / "config.pbtxt").write_text(f"{text}\n{extra}\n")
    shutil.copytree(repository / "rester" / "1", repository / "rester" / "2")
    with local.launch(repository) as server:
        for name in ("rester", "idle"):
            server.load(name)
        tensor = InferInput("IN", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.zeros([1, 4], dtype=np.float32))
        client = InferenceServerClient(server.http_url)
        client.infer("rester", [tensor], model_version="2")
        client.close()
        statistics = http_api.every_statistics(server.http_url)
    found = {f.kind: f for f in advise(Evidence(statistics=statistics))}
    assert found["never-called"].model == "idle"
    assert found["version-never-used"].evidence == (
        "Triton's statistics: 0 inferences of version 1; 2: 1",
    )
