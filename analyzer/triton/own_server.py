"""A Triton that this program starts: what a process and a container of it have in common."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from analyzer.triton import http_api
from analyzer.triton.log import LogFile, quote
from profiles.errors import LoadError, ServerError
from profiles.model_config import ModelConfig

MOST_STARTS = 5  # when another program was quicker to take the ports
ARGUMENTS = (  # of tritonserver in every launch mode
    "--model-control-mode=explicit",
    "--exit-timeout-secs=3",
    # NVML and /proc are read by Model Placer itself: two readers would disturb more.
    "--allow-gpu-metrics=false",
    "--allow-cpu-metrics=false",
)


@dataclass(frozen=True)
class Addresses:
    """Host and port of a Triton's HTTP and gRPC."""

    http: str = ""
    grpc: str = ""


class Runner(Protocol):
    """What runs a `tritonserver`: a process of this machine, or a container."""

    def start(self) -> None:
        """Start it; raises ServerError or SurroundingsError."""

    def addresses(self) -> Iterator[Addresses]:
        """Where it may be reached, the best way first."""

    def description(self, version: str) -> str:
        """What runs, for `Environment.triton`."""

    def may_start_again(self, log: str) -> bool:
        """Whether another start may succeed, by what was logged in this one."""

    def stop(self) -> None:
        """End it: asked first, killed after five seconds; no error when it has ended."""

    def ending(self) -> str:
        """How it ended by itself; empty while it runs, and before its start."""

    def pids(self) -> list[int]:
        """Roots of its process tree, as this process counts them; empty when out of sight."""

    def processes(self) -> set[int]:
        """All its processes, however they are counted."""

    def log_mark(self) -> int:
        """The length of everything that was logged, by earlier starts as well."""

    def log_since(self, mark: int) -> str:
        """What was logged since the mark."""


class OwnServer:
    """A server that `runner` runs; see `analyzer.triton.server.Server`."""

    supports_model_control = True

    def __init__(self, runner: Runner, log: LogFile, start_timeout_s: float) -> None:
        self.runner = runner
        self.log = log
        self.start_timeout_s = start_timeout_s
        self.description = ""
        self.failed = False  # something went wrong: the log is worth keeping
        self._addresses = Addresses()
        self._started = 0  # the log's mark at the last start
        self._came_with: dict[str, set[int]] = {}  # processes, by the model that brought them

    @property
    def http_url(self) -> str:
        return self._addresses.http

    @property
    def grpc_url(self) -> str:
        return self._addresses.grpc

    def start(self) -> None:
        """Start Triton and wait until it is ready; raises ServerError or SurroundingsError."""
        for attempt in itertools.count(1):
            self._started = self.log_mark()
            try:
                self.runner.start()
                self._wait_until_ready()
            except BaseException as error:
                said = self.log_since(self._started) if isinstance(error, ServerError) else ""
                self.stop()
                if said and attempt < MOST_STARTS and self.runner.may_start_again(said):
                    continue
                raise
            return

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + self.start_timeout_s
        while True:
            problem = self.ending() and f"Triton ended while it started ({self.ending()})"
            for addresses in () if problem else self.runner.addresses():
                if http_api.is_ready(addresses.http, timeout_s=1.0):
                    self._addresses = addresses
                    version = http_api.server_metadata(addresses.http).get("version", "")
                    self.description = self.runner.description(str(version))
                    return
            if not problem and time.monotonic() > deadline_s:
                problem = f"Triton was not ready after {self.start_timeout_s:g} s"
            if problem:
                words = quote(self.log_since(self._started))
                raise ServerError(f"{problem}; its log is kept in {self.log.path}:{words}")
            time.sleep(http_api.POLL_S)

    def stop(self) -> None:
        """End Triton, and every model with it."""
        self.runner.stop()
        self._addresses = Addresses()
        self._came_with.clear()

    def restart(self) -> None:
        self.failed = self.failed or bool(self.ending())
        self.stop()
        self.start()

    def ending(self) -> str:
        return self.runner.ending()

    def pids(self) -> list[int]:
        return self.runner.pids()

    def alive(self) -> bool:
        return bool(self._addresses.http) and not self.ending()

    def log_mark(self) -> int:
        return self.runner.log_mark()

    def log_since(self, mark: int) -> str:
        return self.runner.log_since(mark)

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log_since(0).splitlines()[-lines:])

    def load(
        self,
        model: str,
        config: ModelConfig | None = None,
        files: Mapping[str, bytes] | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        mark, before = self.log_mark(), self.runner.processes()
        with self._noting_failure():
            http_api.load(
                self.http_url,
                model,
                config,
                files,
                timeout_s=timeout_s,
                log=lambda: self.log_since(mark),
                ending=self.ending,
            )
        self._came_with.setdefault(model, set()).update(self.runner.processes() - before)

    def unload(self, model: str, timeout_s: float = 60.0) -> None:
        """Unload a model and wait until its processes are gone; raises ServerError.

        Triton's index calls a model unavailable before its memory is given back.
        """
        mark, deadline_s = self.log_mark(), time.monotonic() + timeout_s
        with self._noting_failure():
            http_api.unload(
                self.http_url,
                model,
                timeout_s=timeout_s,
                log=lambda: self.log_since(mark),
                ending=self.ending,
            )
            came = self._came_with.pop(model, set())
            while came & self.runner.processes():
                if time.monotonic() > deadline_s:
                    raise ServerError(
                        f"A process of {model} is left {timeout_s:g} s after its unload"
                    )
                time.sleep(http_api.POLL_S)

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        try:
            yield
        except (LoadError, ServerError):
            self.failed = True
            raise


@contextmanager
def running(runner: Runner, log: LogFile, start_timeout_s: float) -> Iterator[OwnServer]:
    """Yield the server, running with no model loaded; end it on the way out.

    Its log is kept when something failed, an interrupt excepted. Raises as `OwnServer.start`.
    """
    server = OwnServer(runner, log, start_timeout_s)
    failed = False
    try:
        server.start()
        yield server
    except Exception:
        failed = True
        raise
    finally:
        failed = failed or server.failed or bool(server.ending())
        server.stop()
        log.close(keep=failed)
