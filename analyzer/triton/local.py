"""Runs a `tritonserver` of this machine: the one on PATH or the embedded one.

Each server is a session of its own under a guard (see guard.py), so that Ctrl-C in the terminal
reaches Model Placer only, and a `kill -9` of Model Placer leaves no process and no shared memory.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from analyzer.triton import guard, http_api, runtime
from analyzer.triton.log import LogFile, quote
from analyzer.triton.model_control import ModelControl
from analyzer.triton.runtime import Binary
from profiles.errors import InputError, ServerError
from profiles.model_config import ModelConfig

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
SHM_PREFIX = "model-placer-"
PORTS_TAKEN = re.compile(r"[Aa]ddress already in use|Socket '.*' already in use|failed to bind")


@contextmanager
def launch(
    repository: Path,
    binary: Binary | None = None,
    *,
    cpus: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    log_directory: Path | None = None,
    start_timeout_s: float = 60.0,
) -> Iterator[LocalServer]:
    """Yield a running server with no model loaded; end it on the way out.

    Parameters
    ----------
    repository
        The model repository.
    binary
        The Triton to run; by default the one on PATH, else the embedded one.
    cpus
        The CPUs that the server may use; all by default.
    environment
        Set over this process's own, such as `CUDA_VISIBLE_DEVICES`.
    arguments
        Further arguments of `tritonserver`.
    log_directory
        Where its log is written. It is kept there when something failed, else deleted;
        by default it lies in the system's directory for temporary files.
    start_timeout_s
        How long it may take to get ready.

    Raises
    ------
    InputError
        A CPU is not usable here.
    SurroundingsError
        There is no Triton.
    ServerError
        It does not start.
    """
    check_cpus(cpus)
    remove_leftovers()
    server = LocalServer(
        repository,
        binary or runtime.find(),
        cpus=cpus,
        environment=environment or {},
        arguments=arguments,
        log=LogFile(log_directory or Path(tempfile.gettempdir())),
        start_timeout_s=start_timeout_s,
    )
    failed = False
    try:
        server.start()
        yield server
    except Exception:  # an interrupt is no failure
        failed = True
        raise
    finally:
        failed = failed or server.failed or bool(server.ending())
        server.stop()
        server.log.close(keep=failed)


class LocalServer:
    """A `tritonserver` process; see `analyzer.server.server.Server`."""

    supports_model_control = True

    def __init__(
        self,
        repository: Path,
        binary: Binary,
        *,
        cpus: Sequence[int],
        environment: Mapping[str, str],
        arguments: Sequence[str],
        log: LogFile,
        start_timeout_s: float,
    ) -> None:
        self.repository = repository.resolve()
        self.binary = binary
        self.cpus = tuple(cpus)
        self.environment = dict(environment)
        self.arguments = tuple(arguments)
        self.log = log
        self.start_timeout_s = start_timeout_s
        self.description = ""
        self._ports: tuple[int, int, int] = (0, 0, 0)
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._started = 0  # the log's mark at the last start
        self._control = ModelControl(self._children, self.log_since, self.ending)

    @property
    def http_url(self) -> str:
        """Host and port of HTTP."""
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def grpc_url(self) -> str:
        """Host and port of gRPC."""
        return f"127.0.0.1:{self._ports[1]}"

    @property
    def metrics_url(self) -> str:
        """The URL of the metrics page."""
        return f"http://127.0.0.1:{self._ports[2]}/metrics"

    def start(self) -> None:
        """Start the process and wait until it is ready; raises ServerError."""
        for attempt in itertools.count(1):
            if attempt > 1 or not all(self._ports):
                self._ports = free_ports()
            try:
                self._start_once()
            except ServerError:
                taken = PORTS_TAKEN.search(self.log_since(self._started))
                self.stop()
                if taken and attempt < 5:
                    continue  # another program was quicker: take other ports
                self._control.failed = True
                raise
            except BaseException:
                self.stop()
                raise
            return

    def _start_once(self) -> None:
        self._started = self.log_mark()
        prefix = f"{SHM_PREFIX}{os.getpid()}-{secrets.token_hex(3)}-"
        command = [str(self.binary.path), *self._options(prefix)]
        watch = [sys.executable, "-I", "-S", guard.__file__, prefix, ",".join(map(str, self.cpus))]
        own = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        with self.log.open() as stderr:
            self._guard = subprocess.Popen(
                [*watch, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**own, **dict(self.binary.environment), **self.environment},
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        first = self._guard.stdout.readline()
        if not first:
            self._guard.wait()
            raise ServerError(f"Cannot start {self.binary.path}{self._words()}")
        self._pid = int(first)
        deadline = time.monotonic() + self.start_timeout_s
        while not http_api.is_ready(self.http_url):
            if not self.alive():
                raise ServerError(f"Triton ended while it started ({self.ending()}){self._words()}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"Triton was not ready after {self.start_timeout_s:g} s{self._words()}"
                )
            time.sleep(http_api.POLL_S)
        version = http_api.server_metadata(self.http_url).get("version", "")
        self.description = f"Triton {version}"

    def _options(self, shm_prefix: str) -> list[str]:
        options = [
            f"--model-repository={self.repository}",
            "--model-control-mode=explicit",
            f"--http-port={self._ports[0]}",
            f"--grpc-port={self._ports[1]}",
            f"--metrics-port={self._ports[2]}",
            *(f"--{kind}-address=127.0.0.1" for kind in ("http", "grpc", "metrics")),
            "--exit-timeout-secs=3",
            # NVML and /proc are read by Model Placer itself: two readers would disturb more.
            "--allow-gpu-metrics=false",
            "--allow-cpu-metrics=false",
            f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        ]
        if self.binary.backend_directory is not None:
            options.append(f"--backend-directory={self.binary.backend_directory}")
        return [*options, *self.arguments]

    def stop(self) -> None:
        """End the process: asked first, killed after five seconds."""
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
        self._control.forget()

    def restart(self) -> None:
        """End the process, if it still runs; start it anew, on the same ports if they are free."""
        if self.ending():
            self._control.failed = True
        self.stop()
        self.start()

    @property
    def failed(self) -> bool:
        """Whether anything went wrong, so that the log is worth keeping."""
        return self._control.failed

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._guard is not None and self._guard.poll() is None

    def ending(self) -> str:
        """How the process ended, such as `killed by SIGSEGV`; empty while it runs."""
        if self._guard is None or self._guard.poll() is None:
            return ""
        return exit_reason(self._guard.returncode)

    def pids(self) -> list[int]:
        """The process id of `tritonserver`."""
        return [self._pid] if self.alive() else []

    def log_mark(self) -> int:
        """The length of the log."""
        return self.log.mark()

    def log_since(self, mark: int) -> str:
        """What was logged since the mark."""
        return self.log.since(mark)

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        return self.log.tail(lines)

    def load(
        self,
        model: str,
        config: ModelConfig | None = None,
        files: Mapping[str, bytes] | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        """Load a model; raises LoadError or ServerError."""
        self._control.load(
            self.http_url, model, config, files, timeout_s=timeout_s, mark=self.log_mark()
        )

    def unload(self, model: str, timeout_s: float = 60.0) -> None:
        """Unload a model and wait until its processes are gone; raises ServerError."""
        self._control.unload(self.http_url, model, timeout_s=timeout_s, mark=self.log_mark())

    def _children(self) -> set[int]:
        import psutil

        try:
            found = psutil.Process(self._pid).children(recursive=True) if self._pid else []
        except psutil.NoSuchProcess:
            found = []
        return {child.pid for child in found}

    def _words(self) -> str:
        """What it logged since its start, under the name of its log."""
        return f"; its log {self.log.path} says:{quote(self.log_since(self._started))}"


def free_ports() -> tuple[int, int, int]:
    """Three ports that no one listens on now, from the operating system."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        first, second, third = (int(one.getsockname()[1]) for one in sockets)
    return first, second, third


def remove_leftovers() -> list[str]:
    """Delete shared memory of servers whose owner and guard were killed; returns its names."""
    removed = []
    if SHARED_MEMORY.is_dir():
        for block in SHARED_MEMORY.glob(f"{SHM_PREFIX}*"):
            owner = block.name.removeprefix(SHM_PREFIX).partition("-")[0]
            if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
                with contextlib.suppress(OSError):  # another user's, or gone by now
                    block.unlink()
                    removed.append(block.name)
    return removed


def check_cpus(cpus: Sequence[int]) -> None:
    """Raise InputError when a CPU is not one that this process may use."""
    usable = os.sched_getaffinity(0)
    for cpu in cpus:
        if cpu not in usable:
            raise InputError(f"CPU {cpu} is not usable here; usable are {sorted(usable)}")


def exit_reason(code: int) -> str:
    """An exit status of the shell's kind in words."""
    if code > 128:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(code - 128).name}"
    return f"exit status {code}"
