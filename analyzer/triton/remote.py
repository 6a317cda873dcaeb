"""Connects to a Triton that already runs, here or elsewhere.

With model control (`--model-control-mode=explicit`) its models can be varied; without, they are
measured as they stand. Its processes and log are not accessible, and it cannot be restarted from
here: one that stopped responding is waited for, and a model that hangs on it is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from analyzer.triton import http_api
from analyzer.triton.options import RETURN_S
from profiles.errors import InputError, LoadError, ServerError, SurroundingsError
from profiles.model_config import ModelConfig

POLL_S = 0.5
UNLOAD_S = 3.0  # of a model that may hang


@contextmanager
def launch(http_url: str, grpc_url: str = "", return_s: float = RETURN_S) -> Iterator[RemoteServer]:
    """Yield the running server; models that were loaded through it are unloaded on the way out.

    `grpc_url` is by default port 8001 of the same host; `return_s` is how long a server that
    stopped responding is waited for.

    Raises
    ------
    InputError
        An address is not HOST:PORT.
    ServerError
        The server does not respond.
    """
    for address in (http_url, grpc_url):
        if "@" in address:  # it would be in logs and in the store
            raise InputError(
                f"{address.rpartition('@')[2]!r}: an address takes no user and password; put a "
                "proxy that adds them before Triton."
            )
    host, _, port = _bare(http_url).rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"{http_url!r} is not HOST:PORT, e.g. localhost:8000.")
    server = RemoteServer(f"{host}:{port}", _bare(grpc_url or f"{host}:8001"), return_s)
    server.connect()
    try:
        yield server
    finally:
        server.restore()


class RemoteServer:
    """A Triton that was started elsewhere; see `analyzer.triton.server.Server`."""

    def __init__(self, http_url: str, grpc_url: str, return_s: float) -> None:
        self.http_url = http_url
        self.grpc_url = grpc_url
        self.return_s = return_s
        self.description = ""
        self.supports_model_control = False
        self._loaded: set[str] = set()  # by us
        self._stuck: set[str] = set()  # could not be unloaded

    def connect(self) -> None:
        """Check that the server answers and whether it has model control; raises ServerError."""
        version = http_api.server_metadata(self.http_url).get("version", "")
        self.description = f"Triton {version}"
        self.supports_model_control = http_api.has_model_control(self.http_url)

    def restore(self) -> None:
        """Unload what was loaded through this object, as far as the server does it at once."""
        for model in sorted(self._loaded):
            if not self.alive():
                return
            with suppress(ServerError):
                self.unload(model, UNLOAD_S)

    def alive(self) -> bool:
        return http_api.is_live(self.http_url)

    def ending(self) -> str:
        return "" if self.alive() else f"{self.http_url} does not respond"

    def pids(self) -> list[int]:
        return []

    def log_mark(self) -> int:
        return 0

    def log_since(self, mark: int) -> str:  # noqa: ARG002
        return ""

    def log_tail(self, lines: int = 20) -> str:  # noqa: ARG002
        return ""

    def load(
        self,
        model: str,
        config: ModelConfig | None = None,
        files: Mapping[str, bytes] | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        self._check_control(model)
        if model in self._stuck:
            raise LoadError(
                f"{model} hangs on Triton at {self.http_url}, which cannot be restarted from here: "
                "restart it there, then measure again with --retry-failed"
            )
        self._loaded.add(model)
        http_api.load(
            self.http_url, model, config, files, timeout_s=timeout_s, log=lambda: _LOOK_THERE
        )

    def unload(self, model: str, timeout_s: float = 60.0) -> None:
        self._check_control(model)
        if model in self._stuck:
            return
        http_api.unload(self.http_url, model, timeout_s=timeout_s, log=lambda: _LOOK_THERE)
        self._loaded.discard(model)

    def restart(self) -> None:
        """Wait until it answers again, then unload what was loaded through this object.

        A model that does not go is not loaded again. Raises SurroundingsError when the server
        stays away.
        """
        deadline_s = time.monotonic() + self.return_s
        while not self.alive():
            if time.monotonic() > deadline_s:
                raise SurroundingsError(
                    f"Triton at {self.http_url} has not responded for {self.return_s:g} s and "
                    "cannot be restarted from here: restart it there and repeat the command"
                )
            time.sleep(POLL_S)
        self.connect()  # it may be another by now
        for model in sorted(self._loaded - self._stuck):
            try:
                self.unload(model, UNLOAD_S)
            except SurroundingsError:
                self._stuck.add(model)
        self._loaded.clear()

    def _check_control(self, model: str) -> None:
        if not self.supports_model_control:
            raise SurroundingsError(
                f"Triton at {self.http_url} has no model control, so {model} cannot be varied: "
                "start it with --model-control-mode=explicit"
            )


_LOOK_THERE = "see the server's own log for the reason"


def _bare(url: str) -> str:
    return url.removeprefix("http://").removeprefix("grpc://").rstrip("/")
