"""Smoke test of an export: a Triton loads each repository and serves each model one request."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path

from analyzer.load.generator import PreparedRequest
from analyzer.load.inputs import make_requests
from analyzer.load.worker.http_connection import refusal
from analyzer.triton import local
from profiles.errors import NoAnswerError
from profiles.repository import model_names

TIMEOUT_S = 60.0


def check_repository(
    repository: Path, say: Callable[[str], None] = lambda _: None
) -> dict[str, float]:
    """Start Triton on a repository, load every model in it and send each a request.

    Returns the latency of that first request by model, in ms.

    Raises
    ------
    NoAnswerError
        A model answered with an error.
    LoadError, ServerError
        A model does not load, or Triton does not start.
    """
    latencies_ms: dict[str, float] = {}
    with local.launch(repository) as server:
        models = model_names(repository)
        for model in models:  # all first: business logic calls others
            server.load(model)
        for model in models:
            request = make_requests(server.http_url, model, 1)[0]
            started_s = time.monotonic()
            if request.streams:
                _stream(server.grpc_url, model, request)
            else:
                _send(server.http_url, model, request)
            latencies_ms[model] = (time.monotonic() - started_s) * 1000
            say(f"{repository.name}: {model} answered in {latencies_ms[model]:.0f} ms")
    return latencies_ms


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
