"""Kubernetes manifests, against Kubernetes' own schemas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from placement import export
from placement.export import kubernetes
from placement.layout import Layout, PlacedDevice, Resident

NEWEST = ("1.35", "1.36", "1.37")
GIB = 2**30
LAYOUT = Layout(
    (
        PlacedDevice(
            "t4/1",
            "Tesla T4",
            (Resident("file_type", "o"), Resident("voice_activity", "o")),
            uses={"host_memory": 2.0 * GIB, "cpu": 1.5},
            host="node-a",
        ),
        PlacedDevice(
            "a100/1g.5gb-1",
            "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
            (Resident("file_type", "o"),),
            parent="a100",
        ),
        PlacedDevice("cpu", "Xeon (8 cores)", (Resident("file_type", "o"),), {"memory": 1.0 * GIB}),
    )
)


@pytest.fixture
def written(tmp_path: Path, example_repository: Path) -> Path:
    (folder,) = export.export(LAYOUT, example_repository, tmp_path, ["kubernetes"])
    return folder


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


@pytest.mark.parametrize("version", NEWEST)
def test_every_manifest_is_valid(written: Path, version: str):
    resources = read(written / "kustomization.yaml")["resources"]
    assert len(resources) == 3 + 2  # three servers, two models
    for name in resources:
        kubernetes_validate.validate(read(written / name), version, strict=True)
    there = {path.name for path in written.glob("*.yaml")}
    assert there == {*resources, "kustomization.yaml", "values.yaml"}


def test_a_service_selects_just_the_pods_that_host_its_model(written: Path):
    selector = read(written / f"service-{kubernetes.label('voice_activity')}.yaml")["spec"]
    hosting = set()
    for path in written.glob("deployment-*.yaml"):
        labels = read(path)["spec"]["template"]["metadata"]["labels"]
        if selector["selector"].items() <= labels.items():
            hosting.add(path.stem)
    assert hosting == {"deployment-t4-1"}


def test_each_server_asks_for_its_device(written: Path):
    """Memory: the predicted 2 GiB is requested, a quarter more is the limit."""

    def pod(name: str) -> Any:
        return read(written / f"deployment-{name}.yaml")["spec"]["template"]["spec"]

    t4 = pod("t4-1")
    resources = t4["containers"][0]["resources"]
    assert resources["limits"] == {"memory": "2561Mi", "nvidia.com/gpu": 1}
    assert resources["requests"] == {"memory": "2049Mi", "cpu": "1.5"}
    assert t4["nodeSelector"] == {
        "kubernetes.io/hostname": "node-a",
        "nvidia.com/gpu.product": "Tesla-T4",
    }
    slice_ = pod("a100-1g-5gb-1")["containers"][0]["resources"]
    assert slice_["limits"] == {"nvidia.com/mig-1g.5gb": 1}
    assert not any("nvidia" in key for key in pod("cpu")["containers"][0]["resources"]["limits"])


def test_any_model_name_becomes_a_name_that_kubernetes_takes():
    names = ["bert", "Bert", "b_e_rt", "b.e.rt", "x" * 200, "_", "ocr_detection"]
    labels = [kubernetes.label(name) for name in names]
    assert len(set(labels)) == len(names)
    for text in labels:
        # "model-" before it must stay a DNS label and a label's name: 63 characters.
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", f"model-{text}")
        assert len(f"model-{text}") <= 63
