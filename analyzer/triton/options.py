"""How Triton is run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# The newest monthly release when this was written: Triton 2.73.
DEFAULT_IMAGE = "nvcr.io/nvidia/tritonserver:26.09-py3"
RETURN_S = 60.0

LaunchMode = Literal["local", "docker", "remote"]


@dataclass(frozen=True)
class LaunchOptions:
    """How Triton is run, in whichever mode."""

    mode: LaunchMode = "local"
    gpus: tuple[str, ...] | None = ()  # indices or UUIDs that it sees; None: all, (): none
    cpus: tuple[int, ...] = ()  # CPUs that it may use; (): all
    arguments: tuple[str, ...] = ()  # further arguments of tritonserver
    environment: tuple[tuple[str, str], ...] = ()  # over this process's own
    log_directory: Path | None = None  # where its log is kept when something failed; None: tmp
    image: str = DEFAULT_IMAGE  # docker mode, as are the four that follow
    shm_size: str = "1g"  # each Python instance takes about 1 MB; Docker's own default is 64 MB
    memory: str | None = None  # a limit such as "8g"
    cpu_limit: float | None = None  # in cores
    user: str | None = None
    http_url: str = "localhost:8000"  # remote mode, as are the two that follow
    grpc_url: str = ""  # default: port 8001 of the same host
    return_s: float = RETURN_S  # how long one that went away is waited for
