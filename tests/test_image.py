"""The image with a server inside, built and run on the local engine as the chart runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from profiles.store import ProfileStore

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[1]
IMAGE = "model-placer:test"
SOURCE = ("Dockerfile", ".dockerignore", "pyproject.toml", "README.md", "LICENSE")
LOCKED = ("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--network=none")
LOCKED_MORE = ("--security-opt=no-new-privileges", "--shm-size=256m")


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:4])}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def image(triton_image: str, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory):
    """Wheels are fetched on the host: a build need not reach a package index."""
    context = tmp_path_factory.mktemp("context")
    for name in SOURCE:
        shutil.copy(ROOT / name, context / name)
    for package in ("analyzer", "placement", "profiles"):
        shutil.copytree(ROOT / package, context / package)
    wheels = context / "wheels"
    fetch = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(wheels)]
    run(*fetch, str(ROOT), "pip", "hatchling")
    for own in wheels.glob("model_placer-*"):
        own.unlink()
    (pip,) = wheels.glob("pip-*.whl")
    arguments = {
        "TRITON_IMAGE": triton_image,
        "PYTHON_IMAGE": triton_image,
        "PIP": f"python3 wheels/{pip.name}/pip",
        "PIP_OPTIONS": "--no-index --find-links wheels",
    }
    given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}  # buildx is a package of its own on Debian
    done = subprocess.run(
        ["docker", "build", "--target=server", f"--tag={IMAGE}", *given, str(context)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return IMAGE


def test_it_starts_without_rights_and_is_not_root(image: str):
    said = run("docker", "run", *LOCKED, *LOCKED_MORE, image)
    assert "profile" in said
    who = run("docker", "run", *LOCKED, "--entrypoint=id", image, "-u")
    assert who.strip() == "1000"


def test_it_profiles_places_and_exports_as_the_chart_s_job_does(
    image: str, example_repository: Path, tmp_path: Path
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
        image, "run", "--config-file=/etc/model-placer/model-placer.yaml",
    )  # fmt: skip
    shutil.copy(store / "profiles.db", tmp_path / "profiles.db")
    with ProfileStore(tmp_path / "profiles.db") as found:
        (measured,) = found.measurements()
    assert measured.status == "ok"
    assert measured.throughput > 0
    assert "ocr_orientation" in (store / "layout.yaml").read_text()
    (server,) = (path for path in (store / "deploy" / "triton").iterdir() if path.is_dir())
    assert (server / "ocr_orientation" / "config.pbtxt").is_file()
