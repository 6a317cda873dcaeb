"""Starts Triton in the mode that the options name, or connects to a running one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from analyzer.triton import docker, local, remote
from analyzer.triton.options import LaunchOptions
from analyzer.triton.server import Server
from profiles.errors import InputError


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
    if options.mode == "docker":
        return docker.launch(repository, options, report)
    if options.mode == "local":
        return local.launch(repository, options=options)
    if options.cpus or options.arguments or options.environment:
        raise InputError(
            "A running Triton keeps its CPUs, arguments and environment: set them where it "
            "is started, or choose another launch mode"
        )
    return remote.launch(options.http_url, options.grpc_url, options.return_s)
