"""Runs a `tritonserver` of this machine: the one on PATH or the embedded one.

Each server is a session of its own under a guard (see kill_with_owner.py), so that Ctrl-C in the
terminal reaches Model Placer only, and a `kill -9` of Model Placer leaves no process and no shared
memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from analyzer.triton import kill_with_owner, runtime
from analyzer.triton.log import LogFile, quote
from analyzer.triton.options import LaunchOptions
from analyzer.triton.own_server import ARGUMENTS, Addresses, OwnServer, running
from analyzer.triton.runtime import Binary
from profiles.errors import InputError, ServerError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
SHM_PREFIX = "model-placer-"
PID_NAMESPACE = Path("/proc/self/ns/pid")
START_TIMEOUT_S = 60.0
KINDS = ("http", "grpc", "metrics")
PORTS_TAKEN = re.compile(r"[Aa]ddress already in use|Socket '.*' already in use|failed to bind")


@contextmanager
def launch(
    repository: Path, binary: Binary | None = None, options: LaunchOptions | None = None
) -> Iterator[OwnServer]:
    """Yield a running server with no model loaded; end it on the way out.

    `binary` is the Triton to run; by default the one on PATH, else the embedded one.

    Raises
    ------
    InputError
        A CPU is not available here.
    SurroundingsError
        There is no Triton.
    ServerError
        It does not start.
    """
    options = options or LaunchOptions()
    check_cpus(options.cpus)
    remove_leftovers()
    log = LogFile(options.log_directory or Path(tempfile.gettempdir()))
    process = LocalProcess(repository.resolve(), binary or runtime.find(), options, log)
    with running(process, log, START_TIMEOUT_S) as server:
        yield server


class LocalProcess:
    """A `tritonserver` process; see `own_server.Runner`."""

    def __init__(
        self, repository: Path, binary: Binary, options: LaunchOptions, log: LogFile
    ) -> None:
        self.repository = repository
        self.binary = binary
        self.options = options
        self.log_mark, self.log_since = log.mark, log.since
        self._log = log
        self.ports = free_ports()  # kept by a restart
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def start(self) -> None:
        prefix = f"{own_shm_name()}-"
        command = [str(self.binary.path), *self._arguments(prefix)]
        watch = [
            sys.executable,
            "-I",
            "-S",
            kill_with_owner.__file__,
            prefix,
            ",".join(map(str, self.options.cpus)),
        ]
        own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        mark = self.log_mark()
        with self._log.open() as stderr:
            self._guard = subprocess.Popen(
                [*watch, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**own, **dict(self.binary.environment), **self._environment()},
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        first = self._guard.stdout.readline()
        if not first:
            self._guard.wait()
            words = quote(self.log_since(mark))
            raise ServerError(f"Cannot start {self.binary.path}; its log {self._log.path}:{words}")
        self._pid = int(first)

    def _environment(self) -> dict[str, str]:
        gpus = self.options.gpus
        shown = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": ",".join(gpus)}
        return shown | dict(self.options.environment)

    def _arguments(self, shm_prefix: str) -> list[str]:
        arguments = [
            f"--model-repository={self.repository}",
            *ARGUMENTS,
            *(f"--{kind}-port={port}" for kind, port in zip(KINDS, self.ports, strict=True)),
            *(f"--{kind}-address=127.0.0.1" for kind in KINDS),
            f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        ]
        if self.binary.backend_directory is not None:
            arguments.append(f"--backend-directory={self.binary.backend_directory}")
        return [*arguments, *self.options.arguments]

    def addresses(self) -> Iterator[Addresses]:
        yield Addresses(*(f"127.0.0.1:{port}" for port in self.ports[:2]))

    def description(self, version: str) -> str:
        return f"Triton {version}"

    def may_start_again(self, log: str) -> bool:
        if not PORTS_TAKEN.search(log):
            return False
        self.ports = free_ports()
        return True

    def stop(self) -> None:
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.write(b"t")
            self._guard.stdin.flush()
        try:
            self._guard.wait(5.0)
        except subprocess.TimeoutExpired:
            pass
        finally:  # on Ctrl-C, too, the guard sees the end of its input and kills
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
        self._guard.wait()
        self._guard.stdout.close()
        self._guard = None
        self._pid = 0

    def ending(self) -> str:
        if self._guard is None or self._guard.poll() is None:
            return ""
        return exit_reason(self._guard.returncode)

    def pids(self) -> list[int]:
        return [self._pid] if self._guard is not None and self._guard.poll() is None else []

    def processes(self) -> set[int]:
        import psutil

        try:
            found = psutil.Process(self._pid).children(recursive=True) if self._pid else []
        except psutil.NoSuchProcess:
            found = []
        return {child.pid for child in found}


def free_ports() -> tuple[int, int, int]:
    """Three free ports, chosen by the operating system."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        first, second, third = (int(one.getsockname()[1]) for one in sockets)
    return first, second, third


def own_shm_name() -> str:
    """A new name for shared memory that says whose it is: the process, and its PID namespace."""
    return f"{SHM_PREFIX}{os.getpid()}-{PID_NAMESPACE.stat().st_ino}-{secrets.token_hex(3)}"


def remove_leftovers() -> list[str]:
    """Delete shared memory of servers whose owner and guard were killed; returns its names.

    Containers may have it in common (`docker run --ipc host`), and not see each other's processes:
    what belongs to another PID namespace is left alone.
    """
    removed = []
    here = str(PID_NAMESPACE.stat().st_ino)
    if SHARED_MEMORY.is_dir():
        for block in SHARED_MEMORY.glob(f"{SHM_PREFIX}*"):
            owner, namespace, *_ = [*block.name.removeprefix(SHM_PREFIX).split("-"), ""]
            if namespace == here and owner.isdecimal() and not Path(f"/proc/{owner}").exists():
                with contextlib.suppress(OSError):  # another user's, or gone by now
                    block.unlink()
                    removed.append(block.name)
    return removed


def check_cpus(cpus: Sequence[int]) -> None:
    """Raise InputError when a CPU is not one that this process may use."""
    usable = os.sched_getaffinity(0)
    for cpu in cpus:
        if cpu not in usable:
            raise InputError(
                f"CPU {cpu} is not available. Available: {', '.join(map(str, sorted(usable)))}."
            )


def exit_reason(code: int) -> str:
    """A shell exit status as text, such as `killed by SIGKILL`."""
    if code > 128:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(code - 128).name}"
    return f"exit status {code}"
