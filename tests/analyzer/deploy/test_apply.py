"""Layouts brought onto real, running Tritons."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import echo_model
import pytest

from analyzer.deploy.apply import apply, is_up, plan, survey
from analyzer.triton import http_api, local
from analyzer.triton.own_server import OwnServer
from analyzer.triton.runtime import Binary
from placement import export
from placement.layout import Layout, PlacedDevice, Resident
from profiles.errors import InputError, LoadError
from profiles.variant import Variant

pytestmark = pytest.mark.triton
CPU = "Xeon (2 cores)"
CONFIG = "max_batch_size: 8" + echo_model.CONFIG
BODY = json.dumps(
    {"inputs": [{"name": "IN", "shape": [1, 1], "datatype": "INT32", "data": [7]}]}
).encode()


def a_resident(model: str, instances: int = 1) -> Resident:
    variant = Variant(model, instance_count=instances)
    return Resident(model, "o", uses={"memory": 4.0}, variant=variant)


def a_layout(**devices: list[Resident]) -> Layout:
    """10 of memory each; the server takes 1, a model 4."""
    return Layout(
        tuple(
            PlacedDevice(
                name, CPU, tuple(there), {"memory": 1.0 + 4.0 * len(there)}, {"memory": 10.0}
            )
            for name, there in devices.items()
        )
    )


OLD = a_layout(a=[a_resident("x"), a_resident("y")], b=[])
NEW = a_layout(a=[a_resident("y", instances=2)], b=[a_resident("x")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("apply")


@pytest.fixture(scope="module")
def models(folder: Path) -> Path:
    for name in ("x", "y"):
        echo_model.write(folder / "models", name, CONFIG)
    return folder / "models"


@pytest.fixture(scope="module")
def fleet(embedded_triton: Binary, models: Path, folder: Path) -> Iterator[dict[str, OwnServer]]:
    """Two Tritons; a runs OLD's export, b has an empty repository of its own."""
    export.export(OLD, models, folder)
    (folder / "empty").mkdir()
    with ExitStack() as stack:
        running = {
            "a": stack.enter_context(local.launch(folder / "triton" / "a", embedded_triton)),
            "b": stack.enter_context(local.launch(folder / "empty", embedded_triton)),
        }
        running["a"].load("x")
        running["a"].load("y")
        yield running


def ready(server: OwnServer) -> set[str]:
    return {model for model in ("x", "y") if is_up(server.http_url, model)}


def infer(url: str, model: str) -> int:
    connection = http.client.HTTPConnection(url, timeout=30)
    try:
        connection.request("POST", f"/v2/models/{model}/infer", BODY)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_a_load_that_fails_stops_it_half_way_and_a_repeat_goes_on(
    fleet: dict[str, OwnServer], models: Path
):
    urls = {name: server.http_url for name, server in fleet.items()}
    code = models / "x" / "1" / "model.py"
    code.write_text("raise RuntimeError('the weights have gone off')")
    seen = survey(OLD, NEW, urls, models)
    assert seen.now == OLD
    changes = plan(seen, NEW)
    with pytest.raises(LoadError, match=r"(?s)load x on b: .*the weights have gone off.*repeat"):
        apply(changes.steps, seen, NEW)
    assert "x" in ready(fleet["a"]), "no unload before its successor is up"
    assert infer(urls["a"], "x") == 200
    code.write_text(echo_model.CODE)
    seen = survey(OLD, NEW, urls, models)
    apply(plan(seen, NEW).steps, seen, NEW)
    assert (ready(fleet["a"]), ready(fleet["b"])) == ({"y"}, {"x"})
    assert http_api.config(urls["a"], "y").instance_group[0].count == 2


def test_a_layout_is_applied_under_load_without_a_failed_request(
    fleet: dict[str, OwnServer], models: Path
):
    """Callers try the next host when one no longer has the model, as the front door does.

    Back from NEW, where the test before has ended, to OLD.
    """
    urls = {name: server.http_url for name, server in fleet.items()}
    failed: list[str] = []
    served = 0
    stop = threading.Event()

    def pump(model: str) -> None:
        nonlocal served
        while not stop.is_set():
            # Twice round: a may have been asked before its load, and b after its unload.
            if not any(infer(url, model) == 200 for url in [*urls.values(), *urls.values()]):
                failed.append(model)
            served += 1

    pumps = [threading.Thread(target=pump, args=(model,)) for model in ("x", "y")]
    for one in pumps:
        one.start()
    try:
        seen = survey(NEW, OLD, urls, models)
        assert seen.now == NEW
        changes = plan(seen, OLD)
        apply(changes.steps, seen, OLD)
    finally:
        stop.set()
        for one in pumps:
            one.join()
    assert (ready(fleet["a"]), ready(fleet["b"])) == ({"x", "y"}, set())
    assert http_api.config(urls["a"], "y").instance_group[0].count == 1
    assert served > 20
    assert not failed
    assert plan(survey(NEW, OLD, urls, models), OLD).empty, "repeating it does nothing"


def test_a_triton_for_all_gpus_of_a_host_is_refused_with_the_way_out(models: Path):
    layout = a_layout(a=[a_resident("red")], b=[a_resident("blue")])
    with pytest.raises(InputError, match=r"one Triton at h:1.*restart that Triton"):
        survey(layout, layout, {"a": "h:1", "b": "h:1"}, models)


def test_every_device_needs_a_url(models: Path):
    with pytest.raises(InputError, match="--url b=HOST:PORT"):
        survey(OLD, NEW, {"a": "127.0.0.1:1"}, models)
