"""Both images, built and run on the local engine, on the CPU and on pretended GPUs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pretended_nvml import toolkit
from pretended_nvml.fleet import Fleet
from product_images.build import PYTHON_IMAGE, Images

from profiles.measurement import Measurement
from profiles.store import ProfileStore

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]  # the first test builds the images

EXAMPLES = Path(__file__).parents[1] / "examples"
MODEL = Path(__file__).parent / "pretended_nvml" / "model"
CONFIG = """
backend: "python"
max_batch_size: 2
input { name: "INPUT" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "OUTPUT" data_type: TYPE_FP32 dims: [ 4 ] }
instance_group { count: 1 kind: KIND_CPU }
parameters { key: "gpu" value { string_value: "0" } }
parameters { key: "cold_bytes" value { string_value: "1000000000" } }
parameters { key: "hot_bytes" value { string_value: "3000000000" } }
parameters { key: "utilization_percent" value { string_value: "40" } }
parameters { key: "memory_percent" value { string_value: "10" } }
parameters { key: "service_ms" value { string_value: "8" } }
"""
LOCKED = (
    *("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"),
    *("--security-opt=no-new-privileges", "--shm-size=256m"),
)
SWEEP = (
    *("--batch-sizes=2", "--concurrency=4", "--max-duration=2s", "--input-data=zero"),
    *("--store=/store/profiles.db",),
)


def docker(*arguments: str, status: int = 0) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{arguments[:2]}: {done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(params=["command", "server"])
def image(request: pytest.FixtureRequest, images: Images) -> str:
    return str(getattr(images, request.param))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One model, that holds 1 GB of a GPU when cold, 3 GB when hot, and 40 % of its time."""
    shutil.copytree(MODEL, tmp_path / "models" / "busy")
    (tmp_path / "models" / "busy" / "config.pbtxt").write_text(CONFIG)
    return tmp_path / "models"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    folder.chmod(0o777)  # the container's user is not ours
    return folder


def driver() -> Iterator[str]:
    """Options of a container that was given a pretended GPU."""
    for here, there in toolkit.mounts().items():
        yield f"--volume={here}:{there}"
    for key, value in toolkit.environment().items():
        yield f"--env={key}={value}"


def only_row(store: Path) -> Measurement:
    shutil.copy(store / "profiles.db", store.parent / "copy.db")
    with ProfileStore(store.parent / "copy.db") as found:
        (row,) = found.measurements()
    return row


def assert_it_is_the_busy_model(row: Measurement, device_type: str) -> None:
    """8 ms for a request of two inferences, one at a time: 250 inferences a second at the most."""
    assert row.status == "ok", row.reason
    assert row.device_type == device_type
    assert 60 < row.throughput <= 251
    assert row.usage is not None
    assert row.usage.memory_cold_bytes == 1_000_000_000
    assert row.usage.memory_hot_bytes == 3_000_000_000


def test_it_starts_without_rights_and_is_not_root(image: str):
    assert "profile" in docker("run", *LOCKED, "--network=none", image)
    assert docker("run", *LOCKED, "--entrypoint=id", image, "-u").strip() == "1000"


def test_bad_usage_is_the_containers_status(image: str):
    said = docker("run", *LOCKED, image, "place", "--store=/nowhere/profiles.db", status=2)
    assert "/nowhere/profiles.db" in said
    assert "Traceback" not in said
    table = f"--volume={EXAMPLES / 'founding-case' / 'profiles.csv'}:/table.csv:ro"
    said = docker("run", *LOCKED, table, image, "import", "/table.csv", status=2)
    assert "profiles.db: the store cannot be opened" in said
    assert "may this user write to it, and to its folder /work?" in said


def test_without_the_socket_or_the_right_to_use_it_the_flag_is_named(
    images: Images, repository: Path, store: Path
):
    profile = ("profile", "--model-repository=/models", "--launch-mode=docker", *SWEEP)
    volumes = (f"--volume={repository}:/models:ro", f"--volume={store}:/store")
    said = docker("run", *LOCKED, *volumes, images.command, *profile, status=3)
    assert "-v /var/run/docker.sock:/var/run/docker.sock" in said
    socket = "--volume=/var/run/docker.sock:/var/run/docker.sock"
    said = docker("run", *LOCKED, *volumes, socket, images.command, *profile, status=3)
    assert "--group-add" in said
    assert "Traceback" not in said


def test_the_commands_image_has_perf_analyzer_and_little_else(images: Images):
    """No pip, no compiler, no tests of libraries; what it adds to its base is what it imports."""
    version = docker("run", *LOCKED, "--entrypoint=perf_analyzer", images.command, "--version")
    assert "Perf Analyzer" in version
    listed = ("find", "/opt/model-placer", "-name", "pip", "-o", "-name", "tests")
    assert docker("run", *LOCKED, "--entrypoint=find", images.command, *listed[1:]) == ""
    megabytes = [
        int(docker("image", "inspect", "--format={{.Size}}", each)) / 1e6
        for each in (images.command, PYTHON_IMAGE)
    ]
    assert megabytes[0] - megabytes[1] < 350


def test_docker_mode_in_a_container_measures_a_gpu_through_the_hosts_socket(
    images: Images,
    triton_image: str,
    pretended_nvml: Fleet,
    repository: Path,
    store: Path,
    tmp_path: Path,
):
    """The host has the models elsewhere than this container; perf_analyzer sends the load."""
    pretended_nvml.add_gpu("Tesla T4", "GPU-a")
    with toolkit.installed(tmp_path) as socket:
        docker(
            "run", *LOCKED, *driver(), "--network=host", "--pid=host",
            f"--volume={socket}:/var/run/docker.sock", f"--group-add={socket.stat().st_gid}",
            f"--volume={repository}:/models:ro", f"--volume={store}:/store", images.command,
            "profile", "--model-repository=/models", "--launch-mode=docker",
            f"--triton-image={triton_image}", "--load-generator=perf_analyzer", *SWEEP,
        )  # fmt: skip
    row = only_row(store)
    assert_it_is_the_busy_model(row, "Tesla T4")
    assert triton_image in row.environment.triton
    assert row.latency is not None
    assert row.latency.max_ms == row.latency.p99_ms  # perf_analyzer tells no maximum
    owner = "label=model-placer.owner-container"
    left = docker("ps", "--all", f"--filter={owner}", "--format={{.Image}} {{.Mounts}}")
    assert str(repository) not in left


@pytest.mark.parametrize("kind", ["gpu", "mig"])
def test_local_mode_measures_the_gpu_or_slice_that_it_was_given(
    images: Images, pretended_nvml: Fleet, repository: Path, store: Path, kind: str
):
    gpu = pretended_nvml.add_gpu("NVIDIA A100", "GPU-a")
    if kind == "mig":
        pretended_nvml.add_gpu("NVIDIA A100 MIG 1g.5gb", "MIG-b", 5_000_000_000, parent=gpu)
        config = repository / "busy" / "config.pbtxt"
        text = config.read_text()
        config.write_text(text.replace('string_value: "0"', 'string_value: "1"', 1))
    docker(
        "run", *LOCKED, *driver(), "--network=none", "--env=NVIDIA_VISIBLE_DEVICES=0",
        f"--volume={repository}:/models:ro", f"--volume={store}:/store", images.server,
        "profile", "--model-repository=/models", *SWEEP,
    )  # fmt: skip
    row = only_row(store)
    assert_it_is_the_busy_model(row, "NVIDIA A100" if kind == "gpu" else "NVIDIA A100 MIG 1g.5gb")
    assert row.usage is not None
    if kind == "gpu":  # a slice has no utilization
        assert row.usage.utilization_percent == pytest.approx(40, abs=5)


def test_a_slice_that_was_given_and_cannot_be_read_is_not_replaced_by_the_cpu(
    images: Images, repository: Path, store: Path
):
    """The device plugin named a slice, and the container toolkit mounted no driver."""
    said = docker(
        "run", *LOCKED, "--network=none", "--env=NVIDIA_VISIBLE_DEVICES=MIG-b",
        f"--volume={repository}:/models:ro", f"--volume={store}:/store", images.server,
        "profile", "--model-repository=/models", *SWEEP, status=3,
    )  # fmt: skip
    assert "NVIDIA_VISIBLE_DEVICES is MIG-b, but no GPU can be read" in said
    assert "--gpus none" in said
