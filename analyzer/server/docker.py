"""Runs Triton in a container (Docker SDK)."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docker import DockerClient

# The newest monthly release when this was written: Triton 2.73.
DEFAULT_IMAGE = "nvcr.io/nvidia/tritonserver:26.09-py3"


def connect(timeout_s: int = 60) -> DockerClient:
    """A client of the engine that DOCKER_HOST names, else of this machine's.

    Raises
    ------
    OSError
        The engine's socket is not there, not ours to use, or no one listens.
    docker.errors.DockerException
        The engine does not answer as one.
    """
    import docker

    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if host.startswith("unix://"):
        # The SDK would say the same in three nested exceptions, and leave a socket open.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(timeout_s)
            probe.connect(host.removeprefix("unix://"))
    return docker.from_env(timeout=timeout_s)


def why_unreachable(error: Exception) -> tuple[str, str]:
    """What keeps the Docker engine from answering, and the remedy."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return "no engine: its socket is not there", "install Docker (apt-get install docker.io)"
    if isinstance(error, PermissionError):
        return (
            "no permission to use its socket",
            "add yourself to the group docker: sudo usermod -aG docker $USER, then log in anew",
        )
    if isinstance(error, ConnectionRefusedError):
        return "the engine does not run", "start it: sudo systemctl start docker"
    return f"the engine does not answer: {text}", "check DOCKER_HOST and `docker info`"
