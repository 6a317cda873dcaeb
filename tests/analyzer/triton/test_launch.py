"""What every launcher holds to: `analyzer.triton.server.Server`, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from analyzer.triton import http_api, local
from analyzer.triton.launch import launch
from analyzer.triton.options import LaunchOptions
from analyzer.triton.runtime import Binary
from analyzer.triton.server import Server
from profiles import model_config
from profiles.errors import InputError, LoadError

LAUNCHERS = [
    pytest.param("local", marks=pytest.mark.triton),
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("remote", marks=pytest.mark.triton),
]


@pytest.fixture(params=LAUNCHERS, scope="module")
def server(
    request: pytest.FixtureRequest, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    options = LaunchOptions(request.param, log_directory=tmp_path_factory.mktemp("logs"))
    with ExitStack() as stack:
        if request.param == "docker":
            image = request.getfixturevalue("triton_image")
            options = LaunchOptions("docker", image=image)
        else:
            binary: Binary = request.getfixturevalue("embedded_triton")
            if request.param == "remote":
                there = stack.enter_context(local.launch(repository, binary))
                options = LaunchOptions("remote", http_url=there.http_url)
        yield stack.enter_context(launch(repository, options))


def test_it_is_alive_and_says_what_it_is(server: Server) -> None:
    assert server.alive()
    assert server.ending() == ""
    assert server.description.startswith("Triton 2.")
    assert http_api.is_live(server.http_url)
    assert server.supports_model_control


def test_load_unload_and_load_again(server: Server, repository: Path) -> None:
    config = model_config.read(repository / "echo" / "config.pbtxt")
    config.max_batch_size = 3
    for given, size in ((None, 8), (config, 3)):
        mark = server.log_mark()
        server.load("echo", given)
        assert http_api.config(server.http_url, "echo").max_batch_size == size
        if server.pids():  # else its log is out of reach
            assert "successfully loaded 'echo'" in server.log_since(mark)
            assert "Started HTTPService" not in server.log_since(mark)
            assert len(server.log_tail(2).splitlines()) == 2
        server.unload("echo")
        assert http_api.states(server.http_url)["echo"][0] == "UNAVAILABLE"


def test_a_model_that_does_not_load_gives_its_reason_and_the_server_lives(server: Server) -> None:
    with pytest.raises(LoadError, match=r"cannot load broken: [\s\S]*the weights have gone off"):
        server.load("broken")
    assert server.alive()


def test_to_unload_what_is_not_loaded_is_no_error(server: Server) -> None:
    server.unload("slow")


@pytest.mark.triton
def test_gpus_are_shown_to_the_local_server_by_its_environment(
    embedded_triton: Binary, repository: Path
) -> None:
    import psutil

    for gpus, visible in (((), ""), (("GPU-7", "1"), "GPU-7,1")):
        with launch(repository, LaunchOptions("local", gpus=gpus)) as server:
            environment = psutil.Process(server.pids()[0]).environ()
        assert environment["CUDA_VISIBLE_DEVICES"] == visible


def test_a_running_server_cannot_be_given_cpus(repository: Path) -> None:
    with pytest.raises(InputError, match="set them where it is started"):
        launch(repository, LaunchOptions("remote", cpus=(0,)))
