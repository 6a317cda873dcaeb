"""Detects a server or a model that stops responding under load."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from analyzer.devices.background import Background
from analyzer.triton import http_api
from profiles.errors import ServerError, SurroundingsError

PERIOD_S = 1.0


@dataclass(frozen=True)
class Patience:
    """Timeouts after which a server, model, load or device counts as hung or lost."""

    server_s: float = http_api.SILENCE_S  # Triton: without an answer to a question about itself
    model_s: float = 60.0  # a model under load: without an answer to any request
    load_s: float = 120.0  # a model: to be loaded
    device_s: float = 10.0  # a GPU that NVML calls lost: to come back


class ModelHangsError(SurroundingsError):
    """A model does not respond, although its server does."""


class Watchdog(Background):
    """Polls a model's request counts from a thread until its `with` block ends.

    The server counts completions itself, so this works with any load generator. It does not count
    the responses of a stream while it lasts: of these `answered` tells, when the last one came.
    """

    def __init__(
        self, url: str, model: str, patience: Patience, answered: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.url, self.model, self.patience, self._answered = url, model, patience, answered
        super().__init__("watchdog")
        self._error: SurroundingsError | None = None

    def check(self) -> bool:
        """Return False while all is well, so that the load goes on.

        Raises
        ------
        ServerError
            The server hangs.
        ModelHangsError
            The server answers, the model does not.
        """
        if self._error is not None:
            raise self._error
        return False

    def _run(self) -> None:
        patience, count = self.patience, -1
        heard_s = moved_s = time.monotonic()
        while not self._stop.wait(min(PERIOD_S, patience.server_s / 4, patience.model_s / 4)):
            asked_s = time.monotonic()
            try:
                now = self._count()
            except OSError:
                if time.monotonic() - heard_s > patience.server_s:
                    self._error = ServerError(
                        f"Triton hangs: no response for {patience.server_s:g} s"
                    )
                    return
                continue
            heard_s = time.monotonic()
            if now != count:
                count, moved_s = now, asked_s
            elif asked_s - max(moved_s, self._answered()) > patience.model_s:
                self._error = ModelHangsError(
                    f"{self.model} hangs: no request completed for {patience.model_s:g} s; "
                    "--answer-timeout waits longer"
                )
                return

    def _count(self) -> int:
        """Completed requests of the model; raises OSError when the server does not respond."""
        path = f"/v2/models/{self.model}/stats"
        try:
            # Short, so that leaving the `with` block does not wait long for a silent server.
            document = http_api.request(self.url, "GET", path, timeout_s=PERIOD_S)
        except http_api.RefusedError:
            return -1  # an answer all the same
        entries = document["model_stats"] if isinstance(document, dict) else []
        return sum(
            int(entry.get("inference_stats", {}).get(kind, {}).get("count", 0))
            for entry in entries
            for kind in ("success", "fail")
        )
