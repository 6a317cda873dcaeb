"""Metrics and dashboard, tried on Debian's Prometheus that scrapes a real Triton."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import echo_model
import pytest
import yaml
from some_rows import a_measurement

from analyzer.triton.runtime import Binary
from placement import export
from placement.export import prometheus
from placement.layout import Layout, PlacedDevice, Resident
from profiles.errors import InputError

CPU = "Xeon (2 cores)"
UNITS = {"memory": "bytes", "utilization": "%"}
RESIDENT = Resident(
    "echo", "as configured b1 c1", rate=30.0, uses={"utilization": 12.5}, latency_ms=8.0
)
LAYOUT = Layout(
    (
        PlacedDevice(
            "a",
            CPU,
            (RESIDENT,),
            uses={"memory": 4e8, "utilization": 12.5},
            capacity={"memory": 8e9, "utilization": 100.0},
        ),
    ),
    units=UNITS,
)


def a_repository(path: Path) -> Path:
    echo_model.write(path, "echo", echo_model.CONFIG)
    return path


def exported(tmp_path: Path, **options: object) -> Path:
    models = a_repository(tmp_path / "models")
    (folder,) = export.export(LAYOUT, models, tmp_path / "deploy", ("prometheus",), **options)
    return folder


def test_prometheus_takes_rules_configuration_and_metrics(
    tmp_path: Path, need: Callable[[str], str]
):
    folder = exported(tmp_path, measurements=[a_measurement()])
    promtool = need("promtool")
    for what in (["check", "rules", "rules.yml"], ["check", "config", "prometheus.yml"]):
        done = subprocess.run(
            [promtool, *what], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
    text = (folder / "model-placer.prom").read_text()
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_layout_and_profiles_are_metrics(tmp_path: Path):
    """Latency in seconds, as Prometheus has it; memory and rates as they are."""
    lines = (exported(tmp_path, measurements=[a_measurement()]) / "model-placer.prom").read_text()
    for line in (
        'model_placer_predicted_use{device="a",device_type="Xeon (2 cores)",'
        'resource="utilization",unit="%"} 12.5',
        'model_placer_capacity{device="a",device_type="Xeon (2 cores)",'
        'resource="memory",unit="bytes"} 8000000000.0',
        'model_placer_replica_rate{device="a",device_type="Xeon (2 cores)",model="echo",'
        'option="as configured b1 c1"} 30.0',
        'model="echo",option="as configured b1 c1",percentile="99"} 0.008',
        'model_placer_profile_throughput{model="bert",',
    ):
        assert line in lines


def test_quotes_in_names_are_escaped():
    metric = prometheus.Metric("model_placer_predicted_use", {"device": 'a"\\\n'}, 1.0)
    assert 'device="a\\"\\\\\\n"' in prometheus.exposition([metric])


def test_tritons_are_scraped_under_the_names_of_their_devices(tmp_path: Path):
    """Metrics are on the next port but one after HTTP's."""
    folder = exported(tmp_path, urls={"a": "10.0.0.5:9000"})
    document = yaml.safe_load((folder / "prometheus.yml").read_text())
    (target,) = document["scrape_configs"][0]["static_configs"]
    assert target["targets"] == ["10.0.0.5:9002"]
    assert target["labels"]["device"] == "a"


def test_an_unknown_device_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="--url"):
        exported(tmp_path, urls={"b": "10.0.0.5:9000"})


def free_port(span: int = 1) -> int:
    """The first of so many ports in a row that are free now."""
    for start in range(20_000, 60_000, 10):
        try:
            for port in range(start, start + span):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return start
    pytest.fail("no free ports")


@contextmanager
def started(command: list[str], **environment: str) -> Iterator[None]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def eventually(check: Callable[[], bool], what: str, timeout_s: float = 90.0) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if check():
                return
        except OSError:
            pass
        time.sleep(0.5)
    pytest.fail(f"{what} did not happen within {timeout_s:g} s")


@pytest.mark.triton
@pytest.mark.slow
def test_every_query_of_the_dashboard_answers_on_a_real_prometheus(
    tmp_path: Path, need: Callable[[str], str], embedded_triton: Binary
):
    """All but the GPU's, which a CPU host has not; these must be valid."""
    port, web = free_port(3), free_port(1) + 7
    folder = exported(tmp_path, urls={"a": f"127.0.0.1:{port}"})
    triton = [
        str(embedded_triton.path),
        f"--model-repository={tmp_path / 'models'}",
        *(f"--{kind}-port={port + n}" for n, kind in enumerate(("http", "grpc", "metrics"))),
        "--allow-gpu-metrics=false",
    ]
    if embedded_triton.backend_directory is not None:
        triton.append(f"--backend-directory={embedded_triton.backend_directory}")
    scraper = [
        need("prometheus"),
        "--config.file=prometheus.yml",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{web}",
    ]
    scraper[1] = f"--config.file={folder / 'prometheus.yml'}"
    api = f"http://127.0.0.1:{web}/api/v1"

    def ask(expr: str) -> list[dict[str, object]]:
        answer = json.loads(get(f"{api}/query?query={urllib.parse.quote(expr)}"))
        assert answer["status"] == "success", answer
        result: list[dict[str, object]] = answer["data"]["result"]
        return result

    def infer() -> bool:
        body = {"inputs": [{"name": "IN", "shape": [1], "datatype": "INT32", "data": [7]}]}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v2/models/echo/infer", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)

    with started(triton, **dict(embedded_triton.environment)), started(scraper):
        eventually(infer, "an answer of Triton")
        eventually(lambda: infer() and bool(ask("rate(nv_inference_count[1m]) > 0")), "a scrape")
        for _, _, queries in prometheus.PANELS:
            for expr, _ in queries:
                found = ask(expr)
                on_cpu = "nv_gpu" not in expr and "limit" not in expr
                assert bool(found) == on_cpu, expr
        (live,) = ask("100 * avg by (device) (nv_cpu_utilization)")
        (predicted,) = ask('model_placer_predicted_use{resource="utilization"}')
        assert live["metric"]["device"] == predicted["metric"]["device"] == "a"
        assert float(predicted["value"][1]) == 12.5
