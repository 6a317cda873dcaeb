"""A Docker Compose file: a Triton per server of the layout, and the front door before them.

Only the front door's ports are published. The Tritons read the repositories of the `triton` export
beside it; where these are links, the models' own repository is mounted at the path they point to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from placement.export import folder, nginx
from placement.export.nginx import Address
from placement.export.servers import Server, memory_use_bytes
from profiles.errors import InputError

TRITON_IMAGE = "nvcr.io/nvidia/tritonserver:26.09-py3"
NGINX_IMAGE = "nginx:1.28-alpine"
PORTS = (8000, 8001)  # HTTP and gRPC of the front door, on the host and in its container
HEADROOM = 1.25  # memory limit over predicted use: a limit that is met kills the server
STOP_GRACE_S = 35  # Triton waits up to 30 s for connections that are open


def write(
    servers: Sequence[Server],
    target: Path,
    models: Path,
    *,
    copy: bool,
    triton_image: str = TRITON_IMAGE,
    repositories: str = "../triton",
) -> None:
    """Write `compose.yaml` and the front door's routes."""
    document = compose(servers, models, copy=copy, image=triton_image, repositories=repositories)
    text = yaml.safe_dump(document, sort_keys=False, width=100)
    folder.write(
        target / "compose.yaml",
        "# Written by Model Placer. Start it with: docker compose up --wait\n"
        "# MODEL_PLACER_HTTP_PORT, MODEL_PLACER_GRPC_PORT and MODEL_PLACER_NGINX_IMAGE in the\n"
        "# environment change the front door's.\n" + text,
    )
    # Inside its network each service has its name for an address, and Triton's own ports.
    addresses = {s.name: Address(f"{s.name}:8000", f"{s.name}:8001") for s in servers}
    folder.write(target / "nginx" / "default.conf", nginx.routes(servers, addresses, PORTS))


def compose(
    servers: Sequence[Server], models: Path, *, copy: bool, image: str, repositories: str
) -> dict[str, Any]:
    """The Compose file as plain data."""
    linked = _mounts(servers, models, copy=copy)
    services: dict[str, Any] = {
        server.name: _triton(server, image, repositories, linked) for server in servers
    }
    services["front-door"] = {
        "image": f"${{MODEL_PLACER_NGINX_IMAGE:-{NGINX_IMAGE}}}",
        "ports": [
            f"${{MODEL_PLACER_{protocol}_PORT:-{port}}}:{port}"
            for protocol, port in zip(("HTTP", "GRPC"), PORTS, strict=True)
        ],
        "volumes": ["./nginx:/etc/nginx/conf.d:ro"],
        "depends_on": {server.name: {"condition": "service_healthy"} for server in servers},
        "healthcheck": _health(f"wget -q -O /dev/null http://127.0.0.1:{PORTS[0]}/v2/health/ready"),
        "restart": "unless-stopped",
    }
    return {"services": services}  # Compose 1.29 and newer: no `version`, no `name`


def _triton(
    server: Server, image: str, repositories: str, linked: Sequence[str]
) -> Mapping[str, Any]:
    service: dict[str, Any] = {
        "image": _literal(image),
        "command": ["tritonserver", *map(_literal, server.arguments("/models"))],
        "volumes": [f"{repositories}/{server.name}:/models:ro", *linked],
        "shm_size": f"{server.shared_memory_mib}m",
        "stop_grace_period": f"{STOP_GRACE_S}s",
        "healthcheck": _health(
            "curl -fsS -o /dev/null http://127.0.0.1:8000/v2/health/ready "
            # An image without curl has Python wherever the Python backend runs.
            '|| python3 -c "import urllib.request as u; '
            "u.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=3)\""
        ),
        "restart": "unless-stopped",
    }
    resources: dict[str, Any] = {}
    memory = memory_use_bytes(server)
    if memory is not None:
        resources["limits"] = {"memory": f"{int(memory * HEADROOM / 2**20) + 1}M"}
    if server.device_ids:
        resources["reservations"] = {
            "devices": [
                {
                    "driver": "nvidia",
                    "device_ids": list(server.device_ids),
                    "capabilities": ["gpu"],
                }
            ]
        }
    if resources:
        service["deploy"] = {"resources": resources}
    return service


def _health(command: str) -> dict[str, Any]:
    return {
        "test": ["CMD-SHELL", command],
        "interval": "5s",
        "timeout": "4s",
        "retries": 3,
        "start_period": "300s",  # models load before Triton opens its port
    }


def _mounts(servers: Sequence[Server], models: Path, *, copy: bool) -> tuple[str, ...]:
    """The folders that linked models point into, and what parameters name, each at its own path."""
    root = models.resolve()
    used = [model for server in servers for model in server.models]
    targets = {path for model in used for path in model.uses.mounted}
    if not copy:
        targets.add(root)
        for path in {path for m in used for path in (m.source.path, *m.uses.beside)}:
            targets |= _linked(path)
    outside = sorted(t for t in targets if t == root or not t.is_relative_to(root))
    for path in outside:
        if ":" in str(path):
            raise InputError(f"{path}: Docker mounts no path with a colon in it; use --copy.")
    return tuple(_literal(f"{path}:{path}:ro") for path in outside)


def _literal(text: str) -> str:
    """A text as it stands, in which Compose puts no variables."""
    return text.replace("$", "$$")


def _linked(path: Path) -> set[Path]:
    """The folders that a file or directory lies in, links on the way and within it followed."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        one = waiting.pop()
        if one.is_symlink():
            real = one.resolve()
            if real.parent in found:
                continue
            found.add(real.parent)
            one = real
        if one.is_dir():
            waiting += one.iterdir()
    return found
