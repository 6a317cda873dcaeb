"""A Triton that already runs: with model control, and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.triton import http_api, local, remote
from analyzer.triton.options import LaunchOptions
from analyzer.triton.own_server import OwnServer
from analyzer.triton.runtime import Binary
from profiles.errors import InputError, LoadError, ServerError, SurroundingsError

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def running(embedded_triton: Binary, repository: Path) -> Iterator[OwnServer]:
    with local.launch(repository, embedded_triton) as server:
        yield server


def test_with_model_control_models_are_loaded_and_on_leaving_unloaded(
    running: OwnServer,
) -> None:
    with remote.launch(f"http://{running.http_url}/") as server:
        assert server.supports_model_control
        assert server.description == running.description
        assert server.pids() == []
        server.load("echo")
        assert http_api.states(running.http_url)["echo"][0] == "READY"
    assert http_api.states(running.http_url)["echo"][0] == "UNAVAILABLE"


def test_a_load_error_points_to_the_servers_own_log(running: OwnServer) -> None:
    with (
        remote.launch(running.http_url) as server,
        pytest.raises(LoadError, match=r"failed to poll[\s\S]*server's own log"),
    ):
        server.load("no_such_model")


def test_a_restart_leaves_it_running_with_no_model_of_ours(running: OwnServer) -> None:
    with remote.launch(running.http_url) as server:
        server.load("echo")
        server.restart()
        assert http_api.states(running.http_url)["echo"][0] == "UNAVAILABLE"
        server.load("echo")
    assert running.alive()


def test_one_that_stays_away_is_given_up(embedded_triton: Binary, repository: Path) -> None:
    with (
        local.launch(repository, embedded_triton) as there,
        remote.launch(there.http_url, return_s=0.5) as server,
    ):
        there.stop()
        with pytest.raises(SurroundingsError, match=r"0\.5 s and cannot be restarted from here"):
            server.restart()


def test_without_model_control_models_stay_as_they_stand(
    embedded_triton: Binary, tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "echo").symlink_to(repository / "echo")
    with (
        local.launch(
            tmp_path,
            embedded_triton,
            options=LaunchOptions(arguments=("--model-control-mode=none",)),
        ) as there,
        remote.launch(there.http_url) as server,
    ):
        assert not server.supports_model_control
        with pytest.raises(SurroundingsError, match="echo cannot be varied"):
            server.load("echo")
        assert http_api.states(server.http_url)["echo"][0] == "READY"


def test_a_server_that_is_not_there_is_named() -> None:
    first, _, _ = local.free_ports()
    with (
        pytest.raises(ServerError, match=rf"127\.0\.0\.1:{first} does not respond.*refused"),
        remote.launch(f"127.0.0.1:{first}"),
    ):
        pytest.fail("something listens")


def test_a_server_that_ends_meanwhile_is_noticed(embedded_triton: Binary, repository: Path) -> None:
    with local.launch(repository, embedded_triton) as there, remote.launch(there.http_url) as one:
        one.load("echo")
        there.stop()
        assert not one.alive()
        assert "does not respond" in one.ending()


@pytest.mark.parametrize("address", ["", "localhost", "http://localhost/", "localhost:http"])
def test_an_address_without_host_or_port_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="localhost:8000"), remote.launch(address):
        pytest.fail("that is no address")
