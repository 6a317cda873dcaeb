"""Loads and unloads models, and knows which processes came with each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from analyzer.triton import http_api
from profiles.errors import LoadError, ServerError
from profiles.model_config import ModelConfig


class ModelControl:
    """Model control of one server.

    Triton's index calls a model unavailable before its memory is given back: an unload ends when
    the processes that came with the model are gone.
    """

    def __init__(
        self,
        processes: Callable[[], set[int]],
        log_since: Callable[[int], str],
        ending: Callable[[], str],
    ) -> None:
        self._processes = processes  # the server's descendants, however they are counted
        self._log_since = log_since
        self._ending = ending
        self._came_with: dict[str, set[int]] = {}
        self.failed = False  # something went wrong: the log is worth keeping

    def load(
        self,
        url: str,
        model: str,
        config: ModelConfig | None,
        files: Mapping[str, bytes] | None,
        *,
        timeout_s: float,
        mark: int,
    ) -> None:
        """Load a model; raises LoadError or ServerError."""
        before = self._processes()
        try:
            http_api.load(
                url,
                model,
                config,
                files,
                timeout_s=timeout_s,
                log=lambda: self._log_since(mark),
                ending=self._ending,
            )
        except (LoadError, ServerError):
            self.failed = True
            raise
        came = self._processes() - before
        self._came_with[model] = self._came_with.get(model, set()) | came

    def unload(self, url: str, model: str, *, timeout_s: float, mark: int) -> None:
        """Unload a model and wait until its processes are gone; raises ServerError."""
        deadline = time.monotonic() + timeout_s
        try:
            http_api.unload(
                url,
                model,
                timeout_s=timeout_s,
                log=lambda: self._log_since(mark),
                ending=self._ending,
            )
            came = self._came_with.pop(model, set())
            while came & self._processes():
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"A process of {model} is left {timeout_s:g} s after its unload"
                    )
                time.sleep(http_api.POLL_S)
        except ServerError:
            self.failed = True
            raise

    def forget(self) -> None:
        """The server has ended, and every model with it."""
        self._came_with.clear()
