"""Smoke test of an export: a Triton loads each repository and serves each model one request."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from analyzer.load.generator import PreparedRequest
from analyzer.load.inputs import Inputs
from analyzer.load.worker.http_connection import refusal
from analyzer.triton import local
from analyzer.triton.options import LaunchOptions
from profiles.errors import NoAnswerError
from profiles.repository import model_names

TIMEOUT_S = 60.0


def check_repositories(
    folder: Path, say: Callable[[str], None] = lambda _: None, inputs: Inputs | None = None
) -> dict[str, dict[str, float]]:
    """Check each repository of an export's `triton` folder; see `check_repository`."""
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    return {path.name: check_repository(path, say, inputs) for path in found}


def check_repository(
    repository: Path, say: Callable[[str], None] = lambda _: None, inputs: Inputs | None = None
) -> dict[str, float]:
    """Start Triton on an exported repository, load every model in it and send each a request.

    Returns the latency of that first request by model, in ms.

    Raises
    ------
    NoAnswerError
        A model answered with an error.
    LoadError, ServerError
        A model does not load, or Triton does not start.
    """
    given = replace(inputs or Inputs(), repository=repository)
    models, arguments = _served(repository)
    latencies_ms: dict[str, float] = {}
    with local.launch(repository, options=LaunchOptions(arguments=arguments)) as server:
        for model in models:  # all first: business logic calls others
            server.load(model)
        for model in models:
            request = given.requests(server.http_url, model, 1)[0]
            started_s = time.monotonic()
            if request.streams:
                _stream(server.grpc_url, model, request)
            else:
                _send(server.http_url, model, request)
            latencies_ms[model] = (time.monotonic() - started_s) * 1000
            say(f"{repository.name}: {model} answered in {latencies_ms[model]:.0f} ms")
    return latencies_ms


def _served(repository: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The models that the export's manifest names, and what their Triton is started with.

    What else lies in the repository is used by them. Without a manifest it has models alone.
    """
    manifest = repository.parent / "manifest.json"
    if manifest.is_file():
        for server in json.loads(manifest.read_text(encoding="utf-8"))["servers"]:
            if server["repository"] == repository.name:
                return tuple(server["models"]), tuple(server["arguments"])
    return model_names(repository), ()


def _send(url: str, model: str, request: PreparedRequest) -> None:
    connection = http.client.HTTPConnection(url, timeout=TIMEOUT_S)
    try:
        connection.request("POST", request.path, request.body, dict(request.headers))
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(f"{model} does not respond: {error}") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise NoAnswerError(f"{model} returned an error: {refusal(content)}")


def _stream(url: str, model: str, request: PreparedRequest) -> None:
    import grpc
    from tritonclient.grpc import service_pb2

    with grpc.insecure_channel(url) as channel:
        responses = channel.stream_stream(request.path)(iter([request.body]), timeout=TIMEOUT_S)
        try:
            answers = [service_pb2.ModelStreamInferResponse.FromString(one) for one in responses]
        except grpc.RpcError as error:
            raise NoAnswerError(f"{model} does not respond: {error}") from None
    refusal = next((answer.error_message for answer in answers if answer.error_message), "")
    if refusal or not answers:
        raise NoAnswerError(
            f"{model} returned an error: {refusal or 'its stream ended without a response'}"
        )
