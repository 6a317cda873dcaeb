"""Chooses the launcher by launch mode."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from analyzer.triton import docker, local, remote
from analyzer.triton.docker import ContainerOptions
from analyzer.triton.server import Server
from profiles.errors import InputError

LaunchMode = Literal["local", "docker", "remote"]


@dataclass(frozen=True)
class LaunchOptions:
    """How Triton is run."""

    mode: LaunchMode = "local"
    gpus: tuple[str, ...] | None = ()  # indices or UUIDs that it sees; None: all, (): none
    cpus: tuple[int, ...] = ()  # CPUs that it may use; (): all
    arguments: tuple[str, ...] = ()  # further arguments of tritonserver
    environment: tuple[tuple[str, str], ...] = ()
    log_directory: Path | None = None  # where its log is kept when something failed
    container: ContainerOptions = field(default_factory=ContainerOptions)  # docker mode
    http_url: str = "localhost:8000"  # remote mode
    grpc_url: str = ""
    metrics_url: str = ""
    return_s: float = remote.RETURN_S  # one that went away is waited for so long


def launch(
    repository: Path,
    options: LaunchOptions | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> AbstractContextManager[Server]:
    """A context that yields a running server and ends it on the way out.

    `report` gets lines about an image's pull. Raises what the launcher of the mode raises, and
    InputError when the mode cannot do what the options ask for.
    """
    options = options or LaunchOptions()
    environment = dict(options.environment)
    if options.mode == "docker":
        container = replace(
            options.container,
            gpus=options.gpus,
            cpuset=",".join(map(str, options.cpus)) or options.container.cpuset,
            environment={**options.container.environment, **environment},
            arguments=(*options.container.arguments, *options.arguments),
        )
        return docker.launch(
            repository, container, log_directory=options.log_directory, report=report
        )
    if options.mode == "remote":
        if options.cpus or options.arguments or environment:
            raise InputError(
                "A running Triton keeps its CPUs, arguments and environment: set them where it "
                "is started, or choose another launch mode"
            )
        return remote.launch(
            options.http_url,
            grpc_url=options.grpc_url,
            metrics_url=options.metrics_url,
            return_s=options.return_s,
        )
    if options.gpus is not None:
        environment.setdefault("CUDA_VISIBLE_DEVICES", ",".join(options.gpus))
    return local.launch(
        repository,
        cpus=options.cpus,
        environment=environment,
        arguments=options.arguments,
        log_directory=options.log_directory,
    )
