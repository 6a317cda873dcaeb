"""Runs Triton in a container (Docker SDK).

The container is removed on every way out. It carries labels that name its owner, so that the next
run finds and removes what a killed one left behind.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.triton.container import (
    HostPaths,
    host_paths,
    links_out_of,
    own_container,
    owner_labels,
    pid_here,
    remove_leftovers,
)
from analyzer.triton.local import exit_reason
from analyzer.triton.log import LogFile
from analyzer.triton.options import LaunchOptions
from analyzer.triton.own_server import ARGUMENTS, Addresses, OwnServer, running
from analyzer.triton.pull import ensure_image
from profiles.errors import SurroundingsError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

PORTS = (8000, 8001)  # Triton's own, inside the container: HTTP, gRPC
START_TIMEOUT_S = 120.0


@contextmanager
def launch(
    repository: Path, options: LaunchOptions, report: Callable[[str], None] = lambda _: None
) -> Iterator[OwnServer]:
    """Yield a server in a container of its own, with no model loaded; remove it on the way out.

    The repository is mounted read-only, at the same path. `report` gets lines about the image's
    pull.

    Raises
    ------
    SurroundingsError
        There is no engine, no image, or the engine refuses the container.
    ServerError
        Triton does not start.
    """
    import docker

    try:
        client = connect()
    except (OSError, docker.errors.DockerException) as error:
        detail, remedy = why_unreachable(error)
        raise SurroundingsError(f"Docker: {detail}; {remedy}") from None
    with contextlib.closing(client):
        remove_leftovers(client)
        ensure_image(client, options.image, report)
        log = LogFile(options.log_directory or Path(tempfile.gettempdir()))
        container = TritonContainer(client, repository.resolve(), options, log)
        with running(container, log, START_TIMEOUT_S) as server:
            yield server


class TritonContainer:
    """Triton in a container; see `own_server.Runner`."""

    def __init__(
        self, client: DockerClient, repository: Path, options: LaunchOptions, log: LogFile
    ) -> None:
        self.repository = repository
        self.options = options
        self.name = ""
        self._log = log  # logs of containers that were removed
        self._client = client
        self._own = own_container(client)
        self._paths: HostPaths = host_paths(client, self._own)
        self._container: Container | None = None

    def start(self) -> None:
        import docker

        # Named before it is made: an interrupt may come before the engine's answer does.
        self.name = f"model-placer-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            self._container = self._client.containers.create(
                self.options.image, name=self.name, **self._settings()
            )
            self._container.start()
        except docker.errors.APIError as error:
            raise SurroundingsError(_refusal(error)) from None

    def _settings(self) -> dict[str, Any]:
        import docker

        gpus = self.options.gpus
        requests = []
        if gpus is None or gpus:
            which = {"count": -1} if gpus is None else {"device_ids": list(gpus)}
            requests.append(docker.types.DeviceRequest(capabilities=[["gpu"]], **which))
        # The same paths inside as outside: links hold, and Triton's messages name real files.
        paths = [self.repository, *links_out_of(self.repository)]
        return {
            "command": [
                "tritonserver",
                f"--model-repository={self.repository}",
                *ARGUMENTS,
                *self.options.arguments,
            ],
            "mounts": [
                docker.types.Mount(str(path), self._paths(path), type="bind", read_only=True)
                for path in paths
            ],
            "ports": dict.fromkeys(PORTS, ("127.0.0.1", None)),  # free ones
            "network": self._own_network(),
            "device_requests": requests,
            "shm_size": self.options.shm_size,
            "mem_limit": self.options.memory,
            "memswap_limit": self.options.memory,  # equal: no swap on top
            "nano_cpus": int(self.options.cpu_limit * 1e9) if self.options.cpu_limit else None,
            "cpuset_cpus": ",".join(map(str, self.options.cpus)),
            "user": self.options.user,
            # Model repositories stay as they are, read-only or not.
            "environment": {"PYTHONDONTWRITEBYTECODE": "1", **dict(self.options.environment)},
            "labels": owner_labels(self._own),
            "log_config": docker.types.LogConfig(type="json-file"),  # one that can be read back
        }

    def _own_network(self) -> str | None:
        """From inside a container Triton is reached through a network of that container."""
        if self._own is None:
            return None
        networks = self._client.containers.get(self._own).attrs["NetworkSettings"]["Networks"]
        return next((name for name in networks if name not in {"host", "none"}), None)

    def addresses(self) -> Iterator[Addresses]:
        """Where Triton may be reached, the best way first.

        A published port goes through Docker's proxy process, which would be measured with Triton:
        the container's own address comes first, where the engine's network lets us reach it.
        """
        if self._container is None:
            return
        settings = self._container.attrs["NetworkSettings"]
        for network in settings["Networks"].values():
            if network.get("IPAddress"):
                yield Addresses(*(f"{network['IPAddress']}:{port}" for port in PORTS))
        published = settings.get("Ports") or {}
        bound = [published.get(f"{port}/tcp") or [] for port in PORTS]
        if all(bound):
            yield Addresses(*(f"127.0.0.1:{entry[0]['HostPort']}" for entry in bound))

    def description(self, version: str) -> str:
        assert self._container is not None
        image = self._container.image
        assert image is not None
        digests = image.attrs.get("RepoDigests")
        built = f"{self._container.attrs['Config']['Image']}@{image.id}"
        return f"Triton {version} ({digests[0] if digests else built})"

    def may_start_again(self, log: str) -> bool:  # noqa: ARG002
        return False

    def stop(self) -> None:
        import docker

        if not self.name:
            return
        try:
            with contextlib.suppress(docker.errors.NotFound):
                container = self._client.containers.get(self.name)
                try:
                    container.stop(timeout=5)
                finally:
                    with contextlib.suppress(docker.errors.APIError), self._log.open() as file:
                        file.write(container.logs())
                    container.remove(force=True, v=True)
        except docker.errors.APIError as error:
            if "is already in progress" not in str(error):
                raise SurroundingsError(
                    f"Docker cannot remove the container {self.name}: {error.explanation}"
                ) from None
        self.name = ""
        self._container = None

    def ending(self) -> str:
        state = self._state()
        if not state or state.get("Status") in {"created", "running", "restarting"}:
            return ""
        reason = str(state.get("Error") or exit_reason(int(state.get("ExitCode", 0))))
        return f"{reason}, out of memory" if state.get("OOMKilled") else reason

    def _state(self) -> dict[str, Any]:
        import docker

        if self._container is None:
            return {}
        try:
            self._container.reload()
        except docker.errors.NotFound:
            return {"Status": "removed", "Error": "the container was removed"}
        except (docker.errors.APIError, OSError) as error:
            return {"Status": "unknown", "Error": f"the engine does not respond: {error}"}
        state: dict[str, Any] = self._container.attrs["State"]
        return state

    def pids(self) -> list[int]:
        state = self._state()
        if self._container is None or not state.get("Running"):
            return []
        pid = pid_here(str(self._container.id), int(state.get("Pid", 0)))
        return [] if pid is None else [pid]

    def processes(self) -> set[int]:
        import docker

        if self._container is None:
            return set()
        try:
            table = self._container.top(ps_args="-eo pid")
        except docker.errors.APIError:
            return set()  # it has ended
        return {int(row[0]) for row in table["Processes"]}

    def log_mark(self) -> int:
        return len(self._logs())

    def log_since(self, mark: int) -> str:
        for _ in range(10):
            text = self._logs()[mark:]
            if text:
                break
            time.sleep(0.02)  # the engine copies the log a little later
        return text.decode(errors="replace")

    def _logs(self) -> bytes:
        import docker

        earlier = self._log.since(0).encode()
        if self._container is None:
            return earlier
        try:
            return earlier + bytes(self._container.logs())
        except (docker.errors.APIError, OSError):
            return earlier


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
    """Why the Docker engine does not respond, and the remedy."""
    text = str(error)
    contained = Path("/.dockerenv").exists()  # the engine makes it in each of its containers
    if isinstance(error, FileNotFoundError) and contained:
        return (
            "no engine: its socket is not mounted in this container",
            "start it with -v /var/run/docker.sock:/var/run/docker.sock",
        )
    if isinstance(error, PermissionError) and contained:
        return (
            "no permission to use its socket",
            'start this container with --group-add "$(stat -c %g /var/run/docker.sock)"',
        )
    if isinstance(error, FileNotFoundError):
        return "no engine: its socket is not there", "install Docker (apt-get install docker.io)"
    if isinstance(error, PermissionError):
        return (
            "no permission to use its socket",
            "add yourself to the group docker: sudo usermod -aG docker $USER, then log in again",
        )
    if isinstance(error, ConnectionRefusedError):
        return "the engine is not running", "start it: sudo systemctl start docker"
    return f"the engine does not respond: {text}", "check DOCKER_HOST and `docker info`"


def _refusal(error: Any) -> str:
    """The engine's reason for refusing a container, and the remedy."""
    said = str(error.explanation or error)
    if "could not select device driver" in said or "nvidia" in said.lower():
        remedy = (
            "install nvidia-container-toolkit on Docker's host, or measure on CPU (--gpus none)"
        )
    elif "executable file not found" in said:
        remedy = "the image has no tritonserver: choose a Triton image with --triton-image"
    elif "bind source path does not exist" in said:
        remedy = "the engine's host has no such path; does DOCKER_HOST name another machine?"
    else:
        remedy = "see `docker info` and the engine's log"
    return f"Docker refused the Triton container: {said.strip()}; {remedy}"
