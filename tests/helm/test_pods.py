"""The chart's pods as containers on the local engine: same image, arguments, restrictions."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from product_images.build import Images

from profiles.store import ProfileStore

pytestmark = pytest.mark.docker

LOCKED = ("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--network=none")
LOCKED_MORE = ("--security-opt=no-new-privileges", "--shm-size=256m")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:4])}: {done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_profiles_places_and_exports_as_the_chart_s_job_does(
    images: Images, example_repository: Path, tmp_path: Path
):
    """Read-only root, no capabilities, no network: the Triton inside measures a real model."""
    store = tmp_path / "store"
    store.mkdir()
    store.chmod(0o777)  # the container's user is not ours
    config = tmp_path / "model-placer.yaml"
    config.write_text(
        "store: /store/profiles.db\nmodel_repository: /models\nlayout: /store/layout.yaml\n"
        "profile: {models: [ocr_orientation], batch_sizes: [1], concurrency: [1], gpus: none,"
        " max_duration: 1s}\n"
        "place: {output: /store/layout.yaml}\n"
        "export: {output: /store/deploy, format: [triton, kubernetes], copy: true}\n"
    )
    volumes = (
        f"--volume={example_repository}:/models:ro",
        f"--volume={store}:/store",
        f"--volume={config}:/etc/model-placer/model-placer.yaml:ro",
    )
    run(
        "docker", "run", *LOCKED, *LOCKED_MORE, *volumes,
        images.server, "run", "--config-file=/etc/model-placer/model-placer.yaml",
    )  # fmt: skip
    shutil.copy(store / "profiles.db", tmp_path / "profiles.db")
    with ProfileStore(tmp_path / "profiles.db") as found:
        (measured,) = found.measurements()
    assert measured.status == "ok"
    assert measured.throughput > 0
    assert "ocr_orientation" in (store / "layout.yaml").read_text()
    (server,) = (path for path in (store / "deploy" / "triton").iterdir() if path.is_dir())
    assert (server / "ocr_orientation" / "config.pbtxt").is_file()


def test_shards_in_containers_side_by_side_are_merged_after_one_was_killed(
    images: Images, example_repository: Path, tmp_path: Path
):
    """As the Indexed Job and its last step: index 0 is killed after its first point."""
    tmp_path.chmod(0o777)
    volumes = (f"--volume={example_repository}:/models:ro", f"--volume={tmp_path}:/store")
    models = "--models=file_type,ocr_orientation"
    sweep = ("--batch-sizes=1", "--concurrency=1,2", "--max-duration=1s", "--gpus=none")

    def start(name: str, *arguments: str) -> subprocess.Popen[str]:
        command = [
            "docker",
            "run",
            f"--name={name}",
            *LOCKED,
            *LOCKED_MORE,
            *volumes,
            images.server,
        ]
        return subprocess.Popen(
            [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def shard(index: int, name: str) -> subprocess.Popen[str]:
        return start(
            name, "profile", "--model-repository=/models", models, *sweep,
            f"--shard={index}/2", f"--store=/store/{index}.db", f"--done=/store/{index}.done",
        )  # fmt: skip

    ours = f"model-placer-{os.getpid()}"
    first, second = shard(0, f"{ours}-0"), shard(1, f"{ours}-1")
    assert first.stdout is not None
    said: list[str] = []
    for line in first.stdout:
        said.append(line)
        if line.startswith("[1/2]"):
            break
    run("docker", "kill", f"{ours}-0")
    assert first.wait(60) == 137, said
    first.stdout.close()
    marks = [f"--wait-for=/store/{index}.done" for index in range(2)]
    merging = start(
        f"{ours}-m", "merge", "/store/0.db", "/store/1.db", "-o", "/store/all.db", *marks
    )
    again = shard(0, f"{ours}-0-again")
    for process in (again, second, merging):
        told, _ = process.communicate(timeout=120)
        assert process.returncode == 0, told
    shutil.copy(tmp_path / "all.db", tmp_path / "copy.db")
    with ProfileStore(tmp_path / "copy.db") as found:
        points = sorted((m.model, m.load.concurrency) for m in found.measurements())
        rows = len(found.history())
    both = ("file_type", "ocr_orientation")
    assert points == [(model, concurrency) for model in both for concurrency in (1, 2)]
    assert rows == 4  # nothing was measured twice
