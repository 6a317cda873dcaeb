"""Who owns a container, and which path the host has for a file."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from profiles.errors import InputError

if TYPE_CHECKING:
    from docker import DockerClient

OWNER_PID = "model-placer.owner-pid"
OWNER_START = "model-placer.owner-start"  # clock ticks after boot: a process id may come again
OWNER_BOOT = "model-placer.owner-boot"  # the kernel's boot id, the same in all its containers
OWNER_NAMESPACE = "model-placer.owner-pid-namespace"
OWNER_CONTAINER = "model-placer.owner-container"


def owner_labels(own_container: str | None) -> dict[str, str]:
    """Labels that tell a later run whether the owner of a container still lives."""
    return {
        OWNER_PID: str(os.getpid()),
        OWNER_START: _start_time(os.getpid()) or "",
        OWNER_BOOT: _boot_id(),
        OWNER_NAMESPACE: _pid_namespace(),
        OWNER_CONTAINER: own_container or "",
    }


def remove_leftovers(client: DockerClient) -> list[str]:
    """Remove the containers whose owner was killed; returns their names."""
    import docker

    removed = []
    for container in client.containers.list(
        all=True, filters={"label": OWNER_PID}, ignore_removed=True
    ):
        if _is_orphan(client, container.labels):
            with contextlib.suppress(docker.errors.APIError):  # another run may be quicker
                container.remove(force=True, v=True)
                removed.append(str(container.name))
    return removed


def _is_orphan(client: DockerClient, labels: Mapping[str, str]) -> bool:
    """Whether the owner is known to be dead; containers of invisible owners are kept."""
    if labels.get(OWNER_BOOT) == _boot_id() and labels.get(OWNER_NAMESPACE) == _pid_namespace():
        pid = labels[OWNER_PID]
        return not pid.isdecimal() or _start_time(int(pid)) != labels.get(OWNER_START)
    owner = labels.get(OWNER_CONTAINER)
    if owner:
        import docker

        try:
            return bool(client.containers.get(owner).status != "running")
        except docker.errors.NotFound:
            return True
        except docker.errors.APIError:
            return False
    return False


def own_container(client: DockerClient) -> str | None:
    """The id of the container that this process runs in, if this engine runs it."""
    import docker

    # Docker binds these three files of each container from a directory named by its id.
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    found = re.search(r"/containers/([0-9a-f]{64})/(?:hostname|hosts|resolv\.conf) ", mounts)
    if found is None:
        return None
    try:
        return str(client.containers.get(found.group(1)).id)
    except docker.errors.APIError:
        return None  # an engine of our own inside the container


@dataclass(frozen=True)
class HostPaths:
    """Translates paths to those of the engine's host."""

    mounts: tuple[tuple[str, str], ...] | None  # (here, on the host); None: this is the host

    def __call__(self, path: Path) -> str:
        """The host's path of `path`; raises InputError when it exists in this container only."""
        if self.mounts is None:
            return str(path)
        inside = PurePosixPath(path)
        for here, there in sorted(self.mounts, key=lambda mount: -len(mount[0])):
            if inside.is_relative_to(here):
                return str(PurePosixPath(there) / inside.relative_to(here))
        raise InputError(
            f"{path} exists in this container only, so a sibling container cannot mount it: "
            f"start this one with -v {path}:{path}"
        )


def host_paths(client: DockerClient, container: str | None) -> HostPaths:
    """The translation for a process in `container`, or on the host."""
    if container is None:
        return HostPaths(None)
    mounts: list[dict[str, Any]] = client.containers.get(container).attrs["Mounts"]
    return HostPaths(tuple((mount["Destination"], mount["Source"]) for mount in mounts))


def links_out_of(repository: Path) -> Iterator[Path]:
    """Targets outside a repository of links in it, which an export without --copy has."""
    seen: set[Path] = set()
    for directory, directories, files in os.walk(repository):
        for name in (*directories, *files):
            path = Path(directory, name)
            if path.is_symlink():
                # Each step of a chain has to be there under its own name.
                target = Path(os.path.normpath(path.parent / path.readlink()))
                if not target.is_relative_to(repository) and target.exists() and target not in seen:
                    seen.add(target)
                    yield target


def pid_here(container_id: str, pid: int) -> int | None:
    """The container's first process, when this process can see it under the engine's number."""
    if pid <= 0:
        return None
    try:
        cgroup = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return None
    # In a process namespace of our own the number may be anyone's.
    return pid if container_id in cgroup else None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]
