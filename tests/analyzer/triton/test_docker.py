"""The Docker launcher, on a real engine and an image with a real Triton."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import docker
import psutil
import pytest

from analyzer.triton import http_api
from analyzer.triton.container import OWNER_PID
from analyzer.triton.docker import connect, launch
from analyzer.triton.options import LaunchOptions
from analyzer.triton.own_server import OwnServer
from profiles import model_config
from profiles.errors import ServerError, SurroundingsError

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def engine(triton_image: str) -> Iterator[docker.DockerClient]:
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="module")
def server(triton_image: str, repository: Path) -> Iterator[OwnServer]:
    with launch(repository, LaunchOptions(image=triton_image)) as running:
        yield running


def ours(engine: docker.DockerClient, owner: int) -> list[str]:
    label = f"{OWNER_PID}={owner}"
    return [
        each.name
        for each in engine.containers.list(all=True, ignore_removed=True, filters={"label": label})
    ]


def infer(server: OwnServer, number: int) -> int:
    tensor = {"name": "IN", "datatype": "INT32", "shape": [1, 1], "data": [number]}
    answer = http_api.request(
        server.http_url, "POST", "/v2/models/echo/infer", {"inputs": [tensor]}
    )
    assert isinstance(answer, dict)
    return int(answer["outputs"][0]["data"][0])


def test_a_model_answers_and_its_process_is_gone_once_unload_returns(
    server: OwnServer,
) -> None:
    (pid,) = server.pids()
    root = psutil.Process(pid)
    assert root.name() == "tritonserver"
    server.load("echo")
    assert infer(server, 7) == 7
    assert len(root.children(recursive=True)) == 1  # the Python backend's stub
    server.unload("echo")
    assert root.children(recursive=True) == []


def test_the_description_names_the_image_by_digest(server: OwnServer, triton_image: str) -> None:
    assert triton_image in server.description
    assert "@sha256:" in server.description


def test_the_repository_is_mounted_read_only(
    server: OwnServer, engine: docker.DockerClient, repository: Path
) -> None:
    container = engine.containers.get(ours(engine, os.getpid())[0])
    status, said = container.exec_run(["touch", str(repository / "new")])
    assert status != 0
    assert b"Read-only file system" in said


def test_a_crash_is_noticed_and_a_restart_heals_it(
    triton_image: str, repository: Path, engine: docker.DockerClient, tmp_path: Path
) -> None:
    with launch(repository, LaunchOptions(image=triton_image, log_directory=tmp_path)) as server:
        mark = server.log_mark()
        server.load("echo")
        assert server.log_since(mark)
        engine.containers.get(server.runner.name).kill()
        assert server.ending() == "killed by SIGKILL"
        assert not server.alive()
        assert server.pids() == []
        with pytest.raises(ServerError, match="killed by SIGKILL"):
            server.load("echo")
        server.restart()
        server.load("echo")
        assert infer(server, 5) == 5
        names = {server.runner.name}
    assert names.isdisjoint(ours(engine, os.getpid()))
    (log,) = tmp_path.iterdir()  # kept, since something failed
    assert log.read_text().count("Started HTTPService") == 2  # of both containers


def test_limits_user_and_environment_are_the_containers(
    triton_image: str, repository: Path, engine: docker.DockerClient
) -> None:
    options = LaunchOptions(
        image=triton_image,
        shm_size="96m",
        memory="2g",
        cpu_limit=1.5,
        cpus=(0,),
        user="1234",
        environment=(("OMP_NUM_THREADS", "1"),),
    )
    with launch(repository, options) as server:
        attrs = engine.containers.get(server.runner.name).attrs
        host = attrs["HostConfig"]
        assert host["ShmSize"] == 96 * 2**20
        assert host["Memory"] == host["MemorySwap"] == 2 * 2**30
        assert host["NanoCpus"] == 1_500_000_000
        process = psutil.Process(server.pids()[0])
        assert process.cpu_affinity() == [0]
        assert process.uids().real == 1234
        assert process.environ()["OMP_NUM_THREADS"] == "1"


def test_a_container_out_of_memory_is_called_that(triton_image: str, repository: Path) -> None:
    """Triton idles in 10 MB; a model of 60 MB in the load request is too much for 24."""
    config = model_config.read(repository / "echo" / "config.pbtxt")
    options = LaunchOptions(image=triton_image, memory="24m")
    with launch(repository, options) as server:
        with pytest.raises(ServerError, match="killed by SIGKILL, out of memory"):
            server.load("echo", config, {"1/model.py": b"#" * 60_000_000})
        assert not server.alive()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gpus": None}, r"could not select device driver.*--gpus none"),
        ({"gpus": ("0",)}, r"could not select device driver.*--gpus none"),
        ({"arguments": ("--no-such-option",)}, r"exit status 1[\s\S]*no-such-option"),
    ],
    ids=["all GPUs", "one GPU", "a bad option"],
)
def test_a_container_that_does_not_start_says_why_and_is_removed(
    options: dict[str, object],
    said: str,
    triton_image: str,
    repository: Path,
    engine: docker.DockerClient,
) -> None:
    """Docker leaves a created container behind when a GPU request is refused."""
    before = ours(engine, os.getpid())
    wanted = LaunchOptions(image=triton_image, **options)  # type: ignore[arg-type]
    with pytest.raises(SurroundingsError, match=said), launch(repository, wanted):
        pytest.fail("it started")
    assert ours(engine, os.getpid()) == before


def test_an_image_without_triton_is_told_so(repository: Path, triton_image: str) -> None:
    options = LaunchOptions(image="model-placer-debian:bookworm")
    with (
        pytest.raises(SurroundingsError, match="image has no tritonserver"),
        launch(repository, options),
    ):
        pytest.fail("it started")


def test_links_that_lead_out_of_the_repository_hold_in_the_container(
    triton_image: str, repository: Path, tmp_path: Path
) -> None:
    """As in an exported repository whose files are linked, not copied."""
    exported = tmp_path / "gpu-0"
    (exported / "echo").mkdir(parents=True)
    (exported / "echo" / "1").symlink_to(repository / "echo" / "1")
    (exported / "echo" / "config.pbtxt").write_text(
        (repository / "echo" / "config.pbtxt").read_text()
    )
    with launch(exported, LaunchOptions(image=triton_image)) as server:
        server.load("echo")
        assert infer(server, 3) == 3


OWNER = """
import sys, time
from pathlib import Path
from analyzer.triton import http_api
from analyzer.triton.docker import launch
from analyzer.triton.options import LaunchOptions
with launch(Path(sys.argv[1]), LaunchOptions(image=sys.argv[2])) as server:
    print(server.description, *http_api.states(server.http_url), flush=True)
    sys.stdin.readline()
"""


def an_owner(repository: Path, image: str) -> subprocess.Popen[str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(repository), image],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline()
    return owner


def test_what_a_killed_run_left_is_removed_by_the_next_and_what_lives_is_not(
    triton_image: str, repository: Path, engine: docker.DockerClient
) -> None:
    with an_owner(repository, triton_image) as killed, an_owner(repository, triton_image) as alive:
        killed.kill()
        killed.wait()
        assert len(ours(engine, killed.pid)) == 1
        with launch(repository, LaunchOptions(image=triton_image)):
            assert ours(engine, killed.pid) == []
            assert len(ours(engine, alive.pid)) == 1
        alive.terminate()  # Python without a handler dies at once: it leaves its container, too
    with launch(repository, LaunchOptions(image=triton_image)):
        assert ours(engine, alive.pid) == []


def test_from_inside_a_container_with_the_hosts_socket_paths_are_the_hosts(
    triton_image: str, repository: Path, engine: docker.DockerClient
) -> None:
    """The repository is at /models inside; the engine has to be told where the host has it."""
    site_packages = sysconfig.get_path("purelib")
    volumes = {
        "/var/run/docker.sock": {"bind": "/var/run/docker.sock"},
        str(repository.parent): {"bind": "/models", "mode": "ro"},
        str(ROOT): {"bind": "/product", "mode": "ro"},
        site_packages: {"bind": "/packages", "mode": "ro"},
    }
    said = engine.containers.run(
        triton_image,
        ["python3", "-c", OWNER, "/models/repository", triton_image],
        volumes=volumes,
        environment={"PYTHONPATH": "/product:/packages", "PYTHONDONTWRITEBYTECODE": "1"},
        stderr=True,
        remove=True,
    )
    assert b"Triton 2." in said
    assert b"echo" in said  # Triton sees the repository's models


def test_a_repository_that_only_the_container_has_is_named(
    triton_image: str, engine: docker.DockerClient
) -> None:
    volumes = {
        "/var/run/docker.sock": {"bind": "/var/run/docker.sock"},
        str(ROOT): {"bind": "/product", "mode": "ro"},
        sysconfig.get_path("purelib"): {"bind": "/packages", "mode": "ro"},
    }
    with pytest.raises(docker.errors.ContainerError, match=r"start this one with -v /opt:/opt"):
        engine.containers.run(
            triton_image,
            ["python3", "-c", OWNER, "/opt", triton_image],
            volumes=volumes,
            environment={"PYTHONPATH": "/product:/packages", "PYTHONDONTWRITEBYTECODE": "1"},
            remove=True,
        )
