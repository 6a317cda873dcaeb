"""The Compose file: its text, Compose's own opinion of it, and a real start."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzer.load.inputs import make_requests
from analyzer.triton import http_api, local
from placement import export
from placement.layout import Layout, PlacedDevice, Resident

GIB = 2**30
LAYOUT = Layout(
    (
        PlacedDevice("t4 1", "Tesla T4", (Resident("file_type", "o"),), {"host_memory": 2.0 * GIB}),
        PlacedDevice("t4 2", "Tesla T4", (Resident("voice_activity", "o"),)),
        PlacedDevice("a100/a", "A100 MIG 1g.5gb", (Resident("file_type", "o"),), parent="a100"),
        PlacedDevice("a100/b", "A100 MIG 1g.5gb", (Resident("file_type", "o"),), parent="a100"),
        PlacedDevice("cpu", "Xeon (8 cores)", (Resident("file_type", "o"),), {"memory": 1.0 * GIB}),
    )
)


def services(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    return found


@pytest.fixture
def compose() -> list[str]:
    """The Compose command; docker's plugin or the program of its own."""
    docker = shutil.which("docker")
    if docker:
        plugin = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
        if plugin.returncode == 0:
            return [docker, "compose"]
    alone = shutil.which("docker-compose")
    if alone:
        return [alone]
    pytest.skip("Docker Compose is not installed")


def test_each_server_sees_its_own_device_alone(tmp_path: Path, example_repository: Path):
    """GPUs are numbered in the layout's order; slices of the third by their order on it."""
    folder = export.export(LAYOUT, example_repository, tmp_path, ["compose"])[-1]
    found = services(folder)

    def devices(name: str) -> list[str]:
        resources = found[name]["deploy"]["resources"]
        ids: list[str] = resources["reservations"]["devices"][0]["device_ids"]
        return ids

    assert devices("t4-1") == ["0"]
    assert devices("t4-2") == ["1"]
    assert devices("a100-a") == ["2:0"]
    assert devices("a100-b") == ["2:1"]
    assert "reservations" not in found["cpu"]["deploy"]["resources"]
    assert found["t4-1"]["deploy"]["resources"]["limits"]["memory"] == "2561M"
    assert set(found["front-door"]["depends_on"]) == set(found) - {"front-door"}


def test_linked_models_are_mounted_where_the_links_point(tmp_path: Path, example_repository: Path):
    folder = export.export(LAYOUT, example_repository, tmp_path, ["compose"])[-1]
    root = example_repository.resolve()
    assert f"{root}:{root}:ro" in services(folder)["cpu"]["volumes"]
    folder = export.export(LAYOUT, example_repository, tmp_path, ["compose"], copy=True)[-1]
    assert services(folder)["cpu"]["volumes"] == ["../triton/cpu:/models:ro"]


def test_compose_accepts_the_file(compose: list[str], tmp_path: Path, example_repository: Path):
    folder = export.export(LAYOUT, example_repository, tmp_path, ["compose"])[-1]
    checked = subprocess.run(
        [*compose, "-f", str(folder / "compose.yaml"), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


# What Debian's nginx needs to read the front door's routes as the official image does.
NGINX = """
FROM {base}
COPY nginx /usr/sbin/nginx
RUN mkdir -p /etc/nginx /var/log/nginx /var/lib/nginx /run && printf '%s' \\
    'worker_processes 1; events {{}} http {{ include /etc/nginx/conf.d/*.conf; }}' \\
    > /etc/nginx/nginx.conf && useradd --system www-data || true
CMD ["/usr/sbin/nginx", "-g", "daemon off;"]
"""


@pytest.mark.docker
def test_the_composed_servers_answer_through_the_front_door(
    compose: list[str],
    triton_image: str,
    need: Callable[[str], str],
    tmp_path: Path,
    example_repository: Path,
):
    """Two Tritons of their own networks and files; every model answers at the one address."""
    shutil.copy(need("nginx"), tmp_path / "nginx")
    (tmp_path / "Dockerfile").write_text(NGINX.format(base=triton_image))
    nginx_image = "model-placer-nginx:test"
    subprocess.run(
        ["docker", "build", "-q", "-t", nginx_image, str(tmp_path)],
        check=True,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )
    layout = Layout(
        (
            PlacedDevice("one", "Xeon (8 cores)", (Resident("file_type", "o"),)),
            PlacedDevice("two", "Xeon (8 cores)", (Resident("voice_activity", "o"),)),
        )
    )
    folder = export.export(
        layout, example_repository, tmp_path, ["compose"], copy=True, triton_image=triton_image
    )[-1]
    http_port, grpc_port, _ = local.free_ports()
    environment = {
        **os.environ,
        "MODEL_PLACER_HTTP_PORT": str(http_port),
        "MODEL_PLACER_GRPC_PORT": str(grpc_port),
        "MODEL_PLACER_NGINX_IMAGE": nginx_image,
        "COMPOSE_PROJECT_NAME": f"model-placer-test-{os.getpid()}",
    }
    command = [*compose, "-f", str(folder / "compose.yaml")]
    url = f"127.0.0.1:{http_port}"
    try:
        # Returns once the Tritons are healthy and the front door is started.
        up = subprocess.run(
            [*command, "up", "-d"], env=environment, capture_output=True, text=True, check=False
        )
        assert up.returncode == 0, up.stderr
        deadline = time.monotonic() + 20
        while not http_api.is_ready(url) and time.monotonic() < deadline:
            time.sleep(0.2)
        for model in ("file_type", "voice_activity"):
            request = make_requests(url, model, 1)[0]
            connection = http.client.HTTPConnection(url, timeout=30)
            connection.request("POST", request.path, request.body, dict(request.headers))
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            connection.close()
    finally:
        subprocess.run(
            [*command, "down", "-v", "-t", "5"], env=environment, capture_output=True, check=False
        )
