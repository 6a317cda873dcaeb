"""Uses a Triton that already runs, here or elsewhere.

With model control (`--model-control-mode=explicit`) its models can be varied; without, they are
measured as they stand. Its processes and its log are out of reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from analyzer.server import http_api
from profiles.errors import InputError, SurroundingsError
from profiles.model_config import ModelConfig


@contextmanager
def launch(http_url: str, *, grpc_url: str = "", metrics_url: str = "") -> Iterator[RemoteServer]:
    """Yield the running server; models that were loaded through it are unloaded on the way out.

    Parameters
    ----------
    http_url
        Host and port of HTTP.
    grpc_url, metrics_url
        Host and port of gRPC, URL of the metrics page; by default Triton's own ports on the
        same host.

    Raises
    ------
    InputError
        An address is not one.
    ServerError
        The server does not answer.
    """
    host, _, port = _bare(http_url).rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"{http_url!r} is no address: host and port are needed, localhost:8000")
    server = RemoteServer(
        f"{host}:{port}",
        _bare(grpc_url or f"{host}:8001"),
        metrics_url or f"http://{host}:8002/metrics",
    )
    server.connect()
    try:
        yield server
    finally:
        server.restore()


class RemoteServer:
    """A Triton that someone else runs; see `analyzer.server.server.Server`."""

    def __init__(self, http_url: str, grpc_url: str, metrics_url: str) -> None:
        self.http_url = http_url
        self.grpc_url = grpc_url
        self.metrics_url = metrics_url
        self.description = ""
        self.supports_model_control = False
        self._loaded: set[str] = set()  # by us

    def connect(self) -> None:
        """Check that the server answers and whether it has model control; raises ServerError."""
        version = http_api.server_metadata(self.http_url).get("version", "")
        self.description = f"Triton {version}"
        self.supports_model_control = http_api.has_model_control(self.http_url)

    def restore(self) -> None:
        """Unload what was loaded through this object; a server that is gone has nothing loaded."""
        for model in sorted(self._loaded):
            if self.alive():
                self.unload(model)

    def alive(self) -> bool:
        """Whether the server answers."""
        return http_api.is_live(self.http_url)

    def ending(self) -> str:
        """Empty while it answers."""
        return "" if self.alive() else f"{self.http_url} does not answer"

    def pids(self) -> list[int]:
        """None: its processes are someone else's."""
        return []

    def log_mark(self) -> int:
        """Zero: its log is out of reach."""
        return 0

    def log_since(self, mark: int) -> str:  # noqa: ARG002
        """Empty: its log is out of reach."""
        return ""

    def log_tail(self, lines: int = 20) -> str:  # noqa: ARG002
        """Empty: its log is out of reach."""
        return ""

    def load(
        self,
        model: str,
        config: ModelConfig | None = None,
        files: Mapping[str, bytes] | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        """Load a model; raises LoadError, ServerError, or SurroundingsError without control."""
        self._check_control(model)
        http_api.load(
            self.http_url, model, config, files, timeout_s=timeout_s, log=lambda: _LOOK_THERE
        )
        self._loaded.add(model)

    def unload(self, model: str, timeout_s: float = 60.0) -> None:
        """Unload a model; raises ServerError, or SurroundingsError without model control."""
        self._check_control(model)
        http_api.unload(self.http_url, model, timeout_s=timeout_s, log=lambda: _LOOK_THERE)
        self._loaded.discard(model)

    def restart(self) -> None:
        """Raises SurroundingsError: it is someone else's."""
        raise SurroundingsError(
            f"Triton at {self.http_url} was not started here and cannot be restarted from here"
        )

    def _check_control(self, model: str) -> None:
        if not self.supports_model_control:
            raise SurroundingsError(
                f"Triton at {self.http_url} has no model control, so {model} stays as it stands; "
                "start it with --model-control-mode=explicit to vary it"
            )


_LOOK_THERE = "the reason may stand in the server's own log, which is out of reach from here"


def _bare(url: str) -> str:
    return url.removeprefix("http://").removeprefix("grpc://").rstrip("/")
