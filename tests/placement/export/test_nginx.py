"""The front door: real nginx in front of several real Tritons."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import echo_model
import numpy as np
import pytest

from analyzer.deploy.apply import apply, plan, survey
from analyzer.triton import http_api, local
from analyzer.triton.own_server import OwnServer
from analyzer.triton.runtime import Binary
from placement import export
from placement.export import nginx
from placement.export.nginx import Address
from placement.export.servers import servers
from placement.layout import Layout, PlacedDevice, Resident

CPU = "Xeon (2 cores)"
BODY = json.dumps(
    {"inputs": [{"name": "IN", "shape": [1], "datatype": "INT32", "data": [7]}]}
).encode()


def a_repository(path: Path) -> Path:
    for name in ("echo", "other", "state.1"):
        more = "sequence_batching { }" if name == "state.1" else ""
        echo_model.write(path, name, echo_model.CONFIG + more)
    return path


LAYOUT = Layout(
    (
        PlacedDevice("a", CPU, (Resident("echo", "o", rate=30.0), Resident("state.1", "o"))),
        PlacedDevice(
            "b",
            CPU,
            (Resident("echo", "o", rate=10.0), Resident("other", "o"), Resident("state.1", "o")),
        ),
    )
)


def test_shares_become_small_whole_weights():
    """30 to 10 is 100 to 33; a replica without a rate still gets a little."""
    assert nginx.weights([30.0, 10.0]) == [100, 33]
    assert nginx.weights([40.0, 10.0]) == [4, 1]
    assert nginx.weights([0.0, 0.0]) == [1, 1]
    assert nginx.weights([1000.0, 0.0]) == [100, 1]


def test_the_files_are_the_same_each_time(tmp_path: Path):
    models = a_repository(tmp_path / "models")
    for output in ("x", "y"):
        export.export(LAYOUT, models, tmp_path / output, ["nginx"])
    for name in ("nginx.conf", "model-placer.conf"):
        first = (tmp_path / "x" / "nginx" / name).read_text()
        assert first == (tmp_path / "y" / "nginx" / name).read_text()
    assert "server 127.0.0.1:8010 weight=1 " in first
    export.export(LAYOUT, models, tmp_path / "z", ["nginx"], urls={"b": "far:80"})
    routes = (tmp_path / "z" / "nginx" / "model-placer.conf").read_text()
    assert "server far:80 weight=1 " in routes
    assert "server far:81 weight=1 " in routes


@dataclass
class FrontDoor:
    http: str
    grpc: str
    servers: dict[str, OwnServer]
    folder: Path
    process: subprocess.Popen[bytes]

    def route(self, layout: Layout) -> None:
        """Give nginx the routes of another layout, as an operator does."""
        addresses = {n: Address(s.http_url, s.grpc_url) for n, s in self.servers.items()}
        ports = (int(self.http.rpartition(":")[2]), int(self.grpc.rpartition(":")[2]))
        made = servers(layout, self.folder / "models")
        nginx.write(made, self.folder / "nginx", addresses, ports)
        self.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)

    def post(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.http, timeout=20)
        try:
            connection.request("POST", path, BODY, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def infer(self, model: str, headers: dict[str, str] | None = None) -> int:
        status, text = self.post(f"/v2/models/{model}/infer", headers)
        assert status != 200 or json.loads(text)["outputs"][0]["data"] == [7]
        return status

    def counts(self, model: str) -> dict[str, int]:
        found = {}
        for name, server in self.servers.items():
            if http_api.states(server.http_url).get(model, ("",))[0] == "READY":
                (row,) = http_api.statistics(server.http_url, model)["model_stats"]
                found[name] = int(row["inference_count"])
        return found


@pytest.fixture(scope="module")
def front(
    embedded_triton: Binary,
    tmp_path_factory: pytest.TempPathFactory,
    need: Callable[[str], str],
) -> Iterator[FrontDoor]:
    binary = need("nginx")
    folder = tmp_path_factory.mktemp("front")
    models = a_repository(folder / "models")
    export.export(LAYOUT, models, folder)
    made = servers(LAYOUT, models)
    with ExitStack() as stack:
        running = {}
        for server in made:
            repository = folder / "triton" / server.name
            running[server.name] = stack.enter_context(local.launch(repository, embedded_triton))
            for model in server.models:
                running[server.name].load(model.name)
        addresses = {n: Address(s.http_url, s.grpc_url) for n, s in running.items()}
        first, second, _ = local.free_ports()
        nginx.write(made, folder / "nginx", addresses, (first, second))
        log = (folder / "nginx.log").open("w")
        process = subprocess.Popen(
            [binary, "-p", str(folder), "-c", str(folder / "nginx" / "nginx.conf")],
            stderr=stack.enter_context(log),
        )
        try:
            wait_for(first, process, folder / "nginx.log")
            http_url, grpc_url = f"127.0.0.1:{first}", f"127.0.0.1:{second}"
            yield FrontDoor(http_url, grpc_url, running, folder, process)
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


@pytest.mark.triton
def test_requests_go_to_the_hosts_of_a_model_by_weight(front: FrontDoor):
    """echo: 30 infer/s on a and 10 on b, so 40 requests fall 30 to 10; other is on b alone."""
    before = front.counts("echo")
    assert [front.infer("echo") for _ in range(40)] == [200] * 40
    after = front.counts("echo")
    assert abs(after["a"] - before["a"] - 30) <= 3
    assert sum(after.values()) - sum(before.values()) == 40
    assert front.infer("other") == 200


@pytest.mark.triton
def test_a_sequence_stays_on_one_server(front: FrontDoor):
    before = front.counts("state.1")
    path = "/v2/models/state.1/infer"
    start = json.loads(BODY) | {"parameters": {"sequence_id": 9, "sequence_start": True}}
    for step in range(6):
        connection = http.client.HTTPConnection(front.http, timeout=20)
        start["parameters"]["sequence_start"] = step == 0
        connection.request("POST", path, json.dumps(start), {"x-sequence-id": "9"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()
    after = front.counts("state.1")
    assert sorted(after[name] - before[name] for name in after) == [0, 6]


@pytest.mark.triton
def test_what_belongs_to_one_server_is_refused(front: FrontDoor):
    assert front.post("/v2/repository/models/echo/unload")[0] == 403
    assert front.post("/v2/models/nobody/infer")[0] == 404
    assert front.post("/v2/models/stateX1/infer")[0] == 404  # the dot of state.1 is a dot
    assert http_api.is_ready(front.http)
    assert http_api.metadata(front.http, "other")["name"] == "other"


@pytest.mark.triton
def test_grpc_is_routed_by_the_metadata_x_model(front: FrontDoor):
    import tritonclient.grpc as grpcclient

    with grpcclient.InferenceServerClient(front.grpc) as client:
        assert client.is_server_ready()
        tensor = grpcclient.InferInput("IN", [1], "INT32")
        tensor.set_data_from_numpy(np.array([7], np.int32))
        for model in ("other", "echo"):
            answer = client.infer(model, [tensor], headers={"x-model": model})
            assert answer.as_numpy("OUT").tolist() == [7]
        with pytest.raises(grpcclient.InferenceServerException, match="metadata x-model"):
            client.infer("echo", [tensor])
        with pytest.raises(grpcclient.InferenceServerException, match="knows no model"):
            client.infer("nobody", [tensor], headers={"x-model": "nobody"})
        with pytest.raises(grpcclient.InferenceServerException, match="ask the server itself"):
            client.unload_model("echo")


@pytest.mark.triton
def test_no_request_fails_while_a_server_dies_and_comes_back(front: FrontDoor):
    statuses: list[int] = []
    stop = threading.Event()

    def pump() -> None:
        while not stop.is_set():
            statuses.append(front.infer("echo"))

    pumps = [threading.Thread(target=pump) for _ in range(2)]
    for one in pumps:
        one.start()
    try:
        time.sleep(0.5)
        victim = front.servers["a"]
        os.kill(victim.pids()[0], signal.SIGKILL)
        time.sleep(1.0)
        victim.restart()  # on the same ports; up, and without the model
        time.sleep(0.5)
        for model in ("echo", "state.1"):
            victim.load(model)
        mark = len(statuses)
        deadline = time.monotonic() + 20
        while front.counts("echo").get("a", 0) < 10 and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        stop.set()
        for one in pumps:
            one.join()
    assert front.counts("echo")["a"] >= 10, "it serves again"
    assert mark > 50
    assert set(statuses) == {200}


@pytest.mark.triton
def test_no_request_fails_while_a_model_is_unloaded_where_it_has_replicas(front: FrontDoor):
    front.servers["b"].unload("echo")
    try:
        assert [front.infer("echo") for _ in range(20)] == [200] * 20
    finally:
        front.servers["b"].load("echo")


@pytest.mark.triton
def test_no_request_fails_while_a_layout_is_applied_behind_the_front_door(front: FrontDoor):
    """`other` moves from b to a: the front door learns both places, then the new one alone."""
    a, b = LAYOUT.devices
    moved = Layout(
        (
            replace(a, residents=(*a.residents, Resident("other", "o"))),
            replace(b, residents=tuple(r for r in b.residents if r.model != "other")),
        )
    )
    models = front.folder / "models"
    urls = {name: server.http_url for name, server in front.servers.items()}
    statuses: list[int] = []
    stop = threading.Event()

    def pump() -> None:
        while not stop.is_set():
            statuses.append(front.infer("other"))

    pumps = [threading.Thread(target=pump) for _ in range(2)]
    for one in pumps:
        one.start()
    try:
        front.route(nginx.both(LAYOUT, moved))
        seen = survey(LAYOUT, moved, urls, models)
        changes = plan(seen, moved)
        assert [(s.action, s.device) for s in changes.steps] == [("load", "a"), ("unload", "b")]
        apply(changes.steps, seen, moved)
        front.route(moved)
        mark = len(statuses)
        time.sleep(0.5)
    finally:
        stop.set()
        for one in pumps:
            one.join()
    assert len(statuses) > mark > 50
    assert set(statuses) == {200}
