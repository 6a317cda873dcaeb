"""The real parts that tests run against. Where one is missing, its tests are skipped and say why;
with MODEL_PLACER_REQUIRE_ALL=1, as on CI, they fail instead."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from missing_part import missing
from pretended_nvml import fleet
from pretended_nvml.fleet import Fleet
from product_images import build as product_images
from product_images.build import Images

from analyzer.triton import install
from analyzer.triton.docker import connect, why_unreachable
from analyzer.triton.runtime import Binary
from profiles.errors import SurroundingsError

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"
TRITON_IMAGE = "model-placer-triton:test"

# Random cases are the same at every run, as many new ones as wanted on demand; none is timed, since
# a busy machine takes its time: MODEL_PLACER_CASES=5000 pytest --timeout=0 tests/placement
CASES = int(os.environ.get("MODEL_PLACER_CASES", "0"))
settings.register_profile("tests", deadline=None, derandomize=not CASES, max_examples=CASES or 100)
settings.load_profile("tests")


for name in ("COLUMNS", "NO_COLOR"):  # tests say what they want; pytest-xdist sets the first
    os.environ.pop(name, None)

# In the background and under nohup these are ignored, and processes inherit that. What a test
# starts shall take them, though, as in a terminal; this process goes on ignoring them.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under `-n 2` a file stays with one worker, and so does all that needs the Docker engine."""
    for item in items:
        group = "docker" if item.get_closest_marker("docker") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def embedded_triton() -> Binary:
    """The embedded Triton, installed on first use; mark such tests `triton`."""
    try:
        return install.install()
    except SurroundingsError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def triton_image() -> str:
    """An image with a real Triton in it, built on first use; mark such tests `docker`."""
    import docker

    try:
        connect().close()
    except (OSError, docker.errors.DockerException) as error:
        missing("Docker: {}; {}".format(*why_unreachable(error)))
    script = Path(__file__).parent / "triton_image" / "build.sh"
    built = subprocess.run(
        ["sh", str(script), TRITON_IMAGE],
        env={**os.environ, "PYTHON": sys.executable},  # that surely has pip
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        missing(f"cannot build {TRITON_IMAGE}: {built.stderr.strip()[-500:]}")
    return TRITON_IMAGE


@pytest.fixture(scope="session")
def images(triton_image: str, tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Both images of the Dockerfile, built on first use; mark such tests `docker`."""
    try:
        return product_images.build(triton_image, tmp_path_factory.mktemp("images"))
    except subprocess.CalledProcessError as error:
        said = f"{error.stdout or ''}{error.stderr or ''}".strip()[-1000:]
        pytest.fail(f"the images cannot be built: {said}", pytrace=False)


@pytest.fixture(scope="session")
def example_repository() -> Path:
    """The repository of the five example models."""
    return EXAMPLES


@pytest.fixture(scope="session")
def pretended_driver(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A pretended NVML that nvidia-ml-py loads in this process and in those it starts."""
    try:
        library = fleet.build(Path(pytestconfig.cache.mkdir("pretended_nvml")))
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"the pretended NVML cannot be built: {error}")
    os.environ["PRETENDED_NVML_STATE"] = str(tmp_path_factory.mktemp("nvml") / "fleet")
    os.environ["PRETENDED_NVML_LIBRARY"] = str(library)
    # Loaded once under its name, it is what a later look for that name finds.
    yield Fleet(ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL))
    del os.environ["PRETENDED_NVML_STATE"], os.environ["PRETENDED_NVML_LIBRARY"]


@pytest.fixture
def pretended_nvml(pretended_driver: Fleet) -> Iterator[Fleet]:
    """A pretended fleet without a GPU yet; other tests see none of it."""
    pretended_driver.reset()
    yield pretended_driver
    pretended_driver.reset()
