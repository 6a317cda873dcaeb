"""Kubernetes manifests: a Deployment per server, a Service per model, under Kustomize.

The Tritons read the folder `triton` of the export on the volume that the claim
`model-placer-models` names; the Helm chart's Job writes it there (`serving.enabled`). A model's
Service selects the pods that host it and spreads connections evenly over them: Kubernetes knows no
weights; the front door (`--format nginx`) does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from placement.export import folder
from placement.export.compose import HEADROOM, STOP_GRACE_S, TRITON_IMAGE
from placement.export.servers import Server, cpu_use, hosts_of, memory_use_bytes, slug
from profiles.errors import InputError

CLAIM = "model-placer-models"
HEADER = "# Written by Model Placer.\n"


def write(servers: Sequence[Server], target: Path, *, triton_image: str = TRITON_IMAGE) -> None:
    """Write the manifests, `kustomization.yaml` and `values.yaml`."""
    names = []
    for server in servers:
        names.append(f"deployment-{server.name}.yaml")
        _write(target / names[-1], deployment(server, triton_image))
    for model in hosts_of(servers):
        names.append(f"service-{label(model)}.yaml")
        _write(target / names[-1], service(model))
    _write(
        target / "kustomization.yaml",
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": names,
        },
        note=f"# The volume claim {CLAIM} must hold the folder `triton` of the export (--copy).\n",
    )
    _write(target / "values.yaml", values(servers, triton_image), note="# Values for Helm.\n")


def deployment(server: Server, image: str) -> dict[str, Any]:
    """One Triton on its device, with all models of its repository."""
    own = {"app.kubernetes.io/name": "model-placer-triton", "model-placer/server": server.name}
    hosted = {_hosts(model.name): "true" for model in server.models}
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": STOP_GRACE_S,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,  # `triton-server` in NVIDIA's image
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "triton",
                "image": image,
                "args": ["tritonserver", *map(_literal, server.arguments("/models"))],
                "ports": [
                    {"name": "http", "containerPort": 8000},
                    {"name": "grpc", "containerPort": 8001},
                    {"name": "metrics", "containerPort": 8002},
                ],
                # Models load before Triton opens its port: up to half an hour.
                "startupProbe": _probe("ready", periodSeconds=5, failureThreshold=360),
                "readinessProbe": _probe("ready", periodSeconds=5, failureThreshold=2),
                "livenessProbe": _probe("live", periodSeconds=10, failureThreshold=3),
                "resources": _resources(server),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {
                        "name": "models",
                        "mountPath": "/models",
                        "subPath": f"triton/{server.name}",  # where `export -o VOLUME` writes
                        "readOnly": True,
                    },
                    {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
                ],
            }
        ],
        "volumes": [
            {
                "name": "models",
                "persistentVolumeClaim": {"claimName": CLAIM, "readOnly": True},
            },
            {
                "name": "shared-memory",
                "emptyDir": {"medium": "Memory", "sizeLimit": f"{server.shared_memory_mib}Mi"},
            },
        ],
    }
    selector = _node(server)
    if selector:
        pod["nodeSelector"] = selector
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": server.name, "labels": own},
        "spec": {
            "replicas": 1,
            # The device is held until the old pod is gone: a rolling update would wait for ever.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": own},
            "template": {"metadata": {"labels": {**own, **hosted}}, "spec": pod},
        },
    }


def service(model: str) -> dict[str, Any]:
    """One address for a model, wherever it is hosted."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"model-{label(model)}",
            "annotations": {"model-placer/model": model},
        },
        "spec": {
            "selector": {
                "app.kubernetes.io/name": "model-placer-triton",
                _hosts(model): "true",
            },
            "ports": [
                {"name": "http", "port": 8000, "targetPort": "http"},
                {"name": "grpc", "port": 8001, "targetPort": "grpc"},
            ],
        },
    }


def values(servers: Sequence[Server], image: str) -> dict[str, Any]:
    """What differs between the servers, for a chart that makes the same objects."""
    return {
        "image": image,
        "modelsClaim": CLAIM,
        "servers": [
            {
                "name": server.name,
                "models": [model.name for model in server.models],
                "arguments": list(map(_literal, server.arguments("/models"))),
                "resources": _resources(server),
                "nodeSelector": _node(server),
                "sharedMemoryMiB": server.shared_memory_mib,
            }
            for server in servers
        ],
    }


def label(model: str) -> str:
    """A model's name as Kubernetes takes it; a short digest tells apart what it would merge."""
    plain = slug(model)
    if plain == model:
        return plain
    return f"{plain[:40].strip('-')}-{hashlib.sha256(model.encode()).hexdigest()[:6]}"


def _hosts(model: str) -> str:
    return f"model-placer/model-{label(model)}"


def _resources(server: Server) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    requests: dict[str, Any] = {}
    memory = memory_use_bytes(server)
    if memory is not None:
        limits["memory"] = f"{int(memory * HEADROOM / 2**20) + 1}Mi"
        requests["memory"] = f"{int(memory / 2**20) + 1}Mi"
    cores = cpu_use(server)
    if cores is not None:
        requests["cpu"] = f"{cores:g}"
    if server.kind == "gpu":
        limits["nvidia.com/gpu"] = len(server.device_ids)
    elif server.kind == "mig":
        limits[f"nvidia.com/mig-{_profile(server)}"] = 1
    return {key: part for key, part in (("requests", requests), ("limits", limits)) if part}


def _profile(server: Server) -> str:
    """The slice's profile, the end of its type's name: `NVIDIA A100-SXM4-40GB MIG 1g.5gb`."""
    return server.devices[0].device_type.split()[-1].replace("+", ".")


def _literal(argument: str) -> str:
    """An argument as it stands, in which Kubernetes puts no variables."""
    return argument.replace("$(", "$$(")


def _node(server: Server) -> Mapping[str, str]:
    found = {}
    if server.host is not None:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", server.host):
            raise InputError(
                f"host {server.host!r} cannot be the name of a Kubernetes node: use letters, "
                "digits, dots and dashes, 63 at most."
            )
        found["kubernetes.io/hostname"] = server.host
    if server.kind == "gpu":
        # As NVIDIA's GPU feature discovery labels nodes: the name, with dashes for spaces.
        product = re.sub(r"[^A-Za-z0-9._-]+", "-", server.devices[0].device_type)
        found["nvidia.com/gpu.product"] = product
    return found


def _probe(path: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": f"/v2/health/{path}", "port": "http"}, "timeoutSeconds": 3} | timing


def _write(path: Path, document: Mapping[str, Any], note: str = "") -> None:
    text = yaml.safe_dump(dict(document), sort_keys=False, width=100)
    folder.write(path, HEADER + note + text)
