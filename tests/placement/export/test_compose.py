"""The Compose file: its text, Compose's own opinion of it, and a real start."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

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
