"""Triton's HTTP endpoints for its own state: readiness, models, load and unload.

Each call opens and closes its own connection: an idle keep-alive connection makes Triton's
shutdown take 31 s. Requests for inference are the load generators' business.
"""

from __future__ import annotations

import base64
import http.client
import json
import select
import time
from collections.abc import Callable, Mapping
from typing import Any

from analyzer.triton.log import quote, telling_first
from profiles import model_config
from profiles.errors import LoadError, ServerError
from profiles.model_config import ModelConfig

POLL_S = 0.02
CONNECT_TIMEOUT_S = 5.0
SILENCE_S = 10.0  # a server that says nothing about itself for so long hangs


class RefusedError(Exception):
    """Triton answered with an error; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def request(
    url: str,
    method: str,
    path: str,
    body: object = None,
    *,
    timeout_s: float = 10.0,
    ending: Callable[[], str] = str,
) -> dict[str, Any] | list[Any]:
    """Triton's JSON response; an empty one is an empty dictionary.

    A server that dies need not close its connections: a container takes its network with it.
    So `ending` is asked twice a second, while the answer is awaited, how the server has ended.

    Raises
    ------
    RefusedError
        Triton answered with an error.
    OSError
        It did not answer; TimeoutError when it took the request and then too long.
    """
    deadline = time.monotonic() + timeout_s
    ended = ending()
    if ended:
        raise ConnectionError(ended)
    connection = http.client.HTTPConnection(url, timeout=min(CONNECT_TIMEOUT_S, timeout_s))
    try:
        try:
            connection.connect()
        except TimeoutError:
            raise ConnectionError("no connection: timed out") from None
        connection.sock.settimeout(timeout_s)
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Connection": "close"})
        while not select.select([connection.sock], [], [], 0.5)[0]:
            if time.monotonic() > deadline:
                raise TimeoutError("timed out")
            ended = ending()
            if ended:
                raise ConnectionError(ended)
        response = connection.getresponse()
        answer = response.read()
    except (http.client.HTTPException, OverflowError) as error:  # a chunk of 10^99 bytes
        raise ConnectionError(f"invalid response from {url}: {error!r}") from error
    finally:
        connection.close()
    try:
        document: dict[str, Any] | list[Any] = json.loads(answer) if answer else {}
    except ValueError:
        document = {"error": answer.decode(errors="replace")}
    if response.status != http.client.OK:
        reason = document.get("error", "") if isinstance(document, dict) else ""
        raise RefusedError(response.status, str(reason) or f"HTTP {response.status}")
    return document


def is_ready(url: str, timeout_s: float = 2.0) -> bool:
    """Whether the server and all its models are ready; one that failed to load prevents it."""
    return _is_well(url, "/v2/health/ready", timeout_s)


def is_live(url: str, timeout_s: float = 2.0) -> bool:
    """Whether the server answers, whatever became of its models."""
    return _is_well(url, "/v2/health/live", timeout_s)


def _is_well(url: str, path: str, timeout_s: float) -> bool:
    try:
        request(url, "GET", path, timeout_s=timeout_s)
    except (OSError, RefusedError):
        return False
    return True


class Pulse:
    """Detects during a long request that a server has ended or does not respond."""

    def __init__(self, url: str, ended: Callable[[], str]) -> None:
        self._url, self._ended = url, ended
        self._heard_s = time.monotonic()

    def ending(self) -> str:
        """Empty while it answers, or did within the last `SILENCE_S`."""
        ended = self._ended()
        if ended:
            return ended
        if is_live(self._url, timeout_s=1.0):
            self._heard_s = time.monotonic()
        silent = time.monotonic() - self._heard_s > SILENCE_S
        return f"no response for {SILENCE_S:g} s" if silent else ""


def server_metadata(url: str) -> dict[str, Any]:
    """The server's name, version and extensions."""
    return _document(url, "GET", "/v2")


def metadata(url: str, model: str) -> dict[str, Any]:
    """The model's inputs and outputs as the server sees them."""
    return _document(url, "GET", f"/v2/models/{model}")


def config(url: str, model: str) -> ModelConfig:
    """The configuration of a loaded model, completed by the server."""
    try:
        return model_config.from_json(_document(url, "GET", f"/v2/models/{model}/config"))
    except ValueError as error:
        raise ServerError(f"Triton at {url} answered for {model} what {error}") from None


def statistics(url: str, model: str) -> dict[str, Any]:
    """The server's own counts and times of a model."""
    return _document(url, "GET", f"/v2/models/{model}/stats")


def every_statistics(url: str) -> list[dict[str, Any]]:
    """The server's own counts and times of every version of every model that is loaded."""
    rows: list[dict[str, Any]] = _document(url, "GET", "/v2/models/stats")["model_stats"]
    return rows


def has_model_control(url: str) -> bool:
    """Whether the server loads and unloads on request; raises ServerError."""
    try:
        # To unload a model that is not there changes nothing, and is refused without control.
        request(url, "POST", "/v2/repository/models/model-placer-no-such-model/unload", {})
    except RefusedError:
        return False
    except OSError as error:
        raise ServerError(f"Triton at {url} does not respond: {error}") from None
    return True


def states(url: str) -> dict[str, tuple[str, str]]:
    """State (READY, UNAVAILABLE, ...; empty when never loaded) and reason of every model.

    Of several versions the one that is furthest from gone counts.
    """
    found: dict[str, tuple[str, str]] = {}
    index = _call(url, "POST", "/v2/repository/index", {})
    if not isinstance(index, list):
        raise ServerError(f"Triton at {url} returned no list of models")
    for entry in index:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ServerError(f"Triton at {url} returned a model without a name: {entry!r:.80}")
        state = (entry.get("state", ""), entry.get("reason", ""))
        name = entry["name"]
        if name not in found or found[name][0] in {"", "UNAVAILABLE"}:
            found[name] = state
    return found


def load(
    url: str,
    model: str,
    config: ModelConfig | None,
    files: Mapping[str, bytes] | None,
    *,
    timeout_s: float,
    log: Callable[[], str],
    ending: Callable[[], str] = str,
) -> None:
    """Load a model; see `Server.load`. `log` gives what the server logged since."""
    parameters: dict[str, str] = {}
    if files and config is None:
        raise ValueError("files need a configuration")
    if config is not None:
        parameters["config"] = model_config.to_json(config)
    for name, content in (files or {}).items():
        parameters[f"file:{name}"] = base64.b64encode(content).decode()
    body = {"parameters": parameters} if parameters else {}
    ending = Pulse(url, ending).ending
    try:
        path = f"/v2/repository/models/{model}/load"
        request(url, "POST", path, body, timeout_s=timeout_s, ending=ending)
        request(url, "GET", f"/v2/models/{model}/ready")
    except RefusedError as error:
        raise LoadError(f"Triton cannot load {model}: {_reason(str(error), log())}") from None
    except TimeoutError:
        raise LoadError(
            f"Triton did not load {model} within {timeout_s:g} s{quote(log())}"
        ) from None
    except OSError as error:
        raise ServerError(
            f"Triton died or closed the connection while loading {model} "
            f"({_cause(error, ending)}){quote(log())}"
        ) from None


def unload(
    url: str,
    model: str,
    *,
    timeout_s: float,
    log: Callable[[], str],
    ending: Callable[[], str] = str,
) -> None:
    """Unload a model and wait until the server's index says that it is."""
    deadline = time.monotonic() + timeout_s
    try:
        path = f"/v2/repository/models/{model}/unload"
        request(url, "POST", path, {}, timeout_s=timeout_s, ending=ending)
        while states(url).get(model, ("", ""))[0] not in {"", "UNAVAILABLE"}:
            if time.monotonic() > deadline:
                raise ServerError(f"Triton did not unload {model} within {timeout_s:g} s")
            time.sleep(POLL_S)
    except RefusedError as error:
        raise ServerError(f"Triton cannot unload {model}: {error}{quote(log())}") from None
    except OSError as error:
        raise ServerError(
            f"Triton does not respond while unloading {model} "
            f"({_cause(error, ending)}){quote(log())}"
        ) from None


def _call(url: str, method: str, path: str, body: object = None) -> Any:
    """A response; raises ServerError when there is none."""
    try:
        return request(url, method, path, body)
    except RefusedError as error:
        raise ServerError(f"Triton at {url} refused {path}: {error}") from None
    except OSError as error:
        raise ServerError(f"Triton at {url} does not respond: {error}") from None


def _document(url: str, method: str, path: str) -> dict[str, Any]:
    document = _call(url, method, path)
    if not isinstance(document, dict):
        raise ServerError(f"Triton at {url} returned no JSON object for {path}")
    return document


def _cause(error: OSError, ending: Callable[[], str]) -> str:
    """How the server ended, which is known shortly after its connections break; else the error."""
    for _ in range(10):
        reason = ending()
        if reason:
            return reason
        time.sleep(0.05)
    return str(error)


def _reason(said: str, log: str) -> str:
    """Triton's own reason; where it is only "failed to poll", what the log says."""
    reason = telling_first(said.strip().removesuffix(";").rstrip())
    return reason + (quote(log) if "failed to poll" in said else "")
