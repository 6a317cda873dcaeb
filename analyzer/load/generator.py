"""The interface to load generators, and the result of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from analyzer.load.sequences import SequenceStep
from analyzer.load.steady_state import SteadyStateRule
from profiles.measurement import Confidence, Latency, LoadPoint

Via = Literal["http", "grpc", "perf_analyzer"]
STREAM_METHOD = "/ModelStreamInfer"  # of gRPC: one request, any number of responses


@dataclass(frozen=True)
class PreparedRequest:
    """An inference request, serialized once and sent many times."""

    path: str  # of HTTP or of the gRPC method; perf_analyzer: the model's name
    body: bytes  # perf_analyzer: an entry of its input data
    headers: tuple[tuple[str, str], ...] = ()
    sequence: SequenceStep | None = None  # of a stateful model

    @property
    def streams(self) -> bool:
        """Whether the model is decoupled: any number of responses, over a gRPC stream."""
        return self.path.endswith(STREAM_METHOD)

    def http(self, host: str) -> bytes:
        """The bytes that go over the wire to `host` (host:port): HTTP head and body."""
        lines = [f"POST {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body

    def over_http(self, host: str) -> PreparedRequest:
        """The same as a worker sends it to `host`: body and offsets are of the whole request."""
        whole = self.http(host)
        step = self.sequence
        if step is not None:
            step = replace(step, id_at=step.id_at + len(whole) - len(self.body))
        return replace(self, body=whole, sequence=step)


@dataclass(frozen=True)
class LoadResult:
    """What the client measured, without the warm-up."""

    throughput: float  # inferences per second: requests per second times batch size
    latency: Latency | None  # None when no request was answered
    confidence: Confidence
    requests: int  # answered with success within the span
    failures: int  # in the whole run, the warm-up included
    failure_texts: tuple[str, ...]  # different ones, at most three
    start_s: float  # of the measured span, by time.monotonic
    end_s: float
    client_cpu_s: float  # CPU time that the generator itself took within the run
    client_limited: str | None = None  # why the client, not the server, may be what was measured
    drift: str | None = None  # how the figures moved within the span
    completed: int | None = None  # successes in the whole run, as the server must count them
    responses: int = 0  # to the requests of the span, of a decoupled model
    first_response: Latency | None = None  # of a decoupled model; `latency` is to the last one
    between_responses: Latency | None = None  # of a decoupled model: from one to the next
    too_few: str | None = None  # what the figures lack, of a slow model
    unanswered: str | None = None  # requests that were still in flight when nobody waited longer

    @property
    def duration_s(self) -> float:
        """Length of the measured span."""
        return self.end_s - self.start_s


class Generator(Protocol):
    """Drives one model after another with prepared requests."""

    @property
    def protocol(self) -> Via:
        """The protocol to prepare requests for; `grpc` is aimed at the server's gRPC address."""

    @property
    def last_answer_s(self) -> float:
        """When a response last came in this run, by time.monotonic; 0 where nothing is known."""

    def aim(self, url: str, requests: Sequence[PreparedRequest]) -> None:
        """Send these requests, in turn, to the server at `url` (host:port) from now on."""

    def run(
        self, load: LoadPoint, rule: SteadyStateRule, stop: Callable[[], bool] | None = None
    ) -> LoadResult:
        """Drive the load until the rule is met, its cap is reached, or `stop` says so.

        Raises
        ------
        SurroundingsError
            The server cannot be reached or stopped answering.
        """
