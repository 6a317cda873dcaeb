"""The interface to a Triton server, which every launcher yields.

A launcher is a context manager that yields a running `Server` and leaves nothing behind on any
way out:

    with local.launch(repository) as server:
        server.load("bert")
        ... send requests to server.http_url ...
        server.unload("bert")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from profiles.model_config import ModelConfig


class Server(Protocol):
    """A running Triton."""

    @property
    def http_url(self) -> str:
        """Host and port, without a scheme, as tritonclient takes it; a restart may change it."""

    @property
    def grpc_url(self) -> str:
        """Host and port of gRPC."""

    @property
    def description(self) -> str:
        """Version, or image with digest: `Environment.triton`."""

    @property
    def supports_model_control(self) -> bool:
        """Whether `load` and `unload` work; if not, the models are measured as they stand."""

    def pids(self) -> list[int]:
        """Roots of the server's process tree, as this host counts them; empty when unknown."""

    def alive(self) -> bool:
        """Whether the server's process runs (remote: whether it answers)."""

    def ending(self) -> str:
        """How the server ended by itself, such as `killed by SIGKILL`; empty while it runs."""

    def log_mark(self) -> int:
        """A place in the server's log, for `log_since`."""

    def log_since(self, mark: int) -> str:
        """What the server logged since the mark; empty when its log is out of reach."""

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of the server's log; empty when it is out of reach."""

    def load(
        self,
        model: str,
        config: ModelConfig | None = None,
        files: Mapping[str, bytes] | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        """Load a model and wait until it is ready.

        Triton loads the new configuration before it unloads the old one, so both hold memory:
        for clean figures unload first.

        Parameters
        ----------
        model
            Its name.
        config
            Used in place of the repository's `config.pbtxt`.
        files
            The model's files, such as `1/model.onnx`, used in place of the repository's;
            a configuration must come with them.
        timeout_s
            How long the server may take.

        Raises
        ------
        LoadError
            The server refused or took too long; the text ends with its own words.
        ServerError
            The server died or does not answer.
        """

    def unload(self, model: str, timeout_s: float = 60.0) -> None:
        """Unload a model and wait until its processes are gone; no error when it is not loaded.

        Raises
        ------
        ServerError
            It is not gone in time, or the server died.
        """

    def restart(self) -> None:
        """End the server, however it is, and start it anew with no model loaded.

        One that is someone else's is waited for instead, and our models are unloaded.

        Raises
        ------
        ServerError
            It does not start.
        SurroundingsError
            It is someone else's, and does not come back.
        """
