"""The default load generator: prepared requests over keep-alive HTTP, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from analyzer import steady_state
from analyzer.load.generator import LoadResult, PreparedRequest
from analyzer.load.http_worker import read_message, write_message
from analyzer.steady_state import Floats, SteadyStateRule
from profiles.errors import InputError, SurroundingsError
from profiles.measurement import Confidence, Latency, LoadPoint

CHECK_S = 0.2  # the rule is looked at so often
ANSWER_TIMEOUT_S = 60.0  # without any answer for so long the server hangs
DRAIN_S = 10.0  # what is in flight at the end may take so long
LATEST = 2.0  # times the cap, for a span in which throughput and latency do not agree at the cap
SEED = 0  # of Poisson arrivals: two runs of one load are alike
BUSY_CLIENT = 0.9  # of one core: above it the client is what limits


class HttpGenerator:
    """A worker process that drives one model after another.

    Use it as `with http.start() as generator`, then `aim` it before each `run`.
    """

    name = "http"

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._in = process.stdin.fileno()
        self._out = process.stdout.fileno()

    def aim(self, url: str, requests: Sequence[PreparedRequest]) -> None:
        """Send these requests, in turn, to the server at `url` (host:port) from now on."""
        host, _, port = url.rpartition(":")
        contents = [request.content(url) for request in requests]
        self._tell("requests", (host, int(port), contents))

    def run(
        self,
        load: LoadPoint,
        rule: SteadyStateRule,
        stop: Callable[[], bool] | None = None,
    ) -> LoadResult:
        """Drive the load until the rule is met, its cap is reached, or `stop` says so.

        Raises
        ------
        SurroundingsError
            The server cannot be reached, or gave no answer for a minute.
        """
        if load.concurrency is None and not load.request_rate:
            raise InputError("a load needs a concurrency or a request rate")
        gaps = (load.request_rate, load.arrivals, SEED)
        self._tell("start", (load.concurrency, gaps))
        answer = self._hear()
        if "error" in answer:
            raise SurroundingsError(f"the server cannot be reached: {answer['error']}")
        series = _Series(load.concurrency or 1, float(answer["started"]))
        series.paced = load.concurrency is None
        try:
            self._pump(series, rule, stop)
        finally:
            self._tell("stop", DRAIN_S)
            last = self._hear_until("hung")
            series.failures, series.texts = last["failures"], last["texts"]
        if last["hung"]:
            series.failures += last["hung"]
            series.texts = [*series.texts, f"no answer within {DRAIN_S:g} s"]
        return series.result(load, rule)

    def _pump(
        self, series: _Series, rule: SteadyStateRule, stop: Callable[[], bool] | None
    ) -> None:
        checked = last_answer = time.monotonic()
        while True:
            report = self._hear()
            now = time.monotonic()
            if series.add(report):
                last_answer = now
            if now - last_answer > ANSWER_TIMEOUT_S:
                series.texts.append(f"no answer for {ANSWER_TIMEOUT_S:g} s")
                return
            if report["failures"] and (series.count == 0 or report["failures"] >= 20):
                return  # it fails: more of it would say nothing new
            if not report["connections"] or (stop is not None and stop()):
                return
            if now - checked >= CHECK_S:
                checked = now
                elapsed_s = now - series.started_s
                if series.settled(rule) or elapsed_s > LATEST * rule.max_duration_s:
                    return
                if elapsed_s > rule.max_duration_s and series.agrees():
                    return

    def _tell(self, kind: str, value: object) -> None:
        try:
            write_message(self._in, (kind, value))
        except BrokenPipeError:
            raise SurroundingsError("the load generator's process ended") from None

    def _hear(self) -> dict[str, Any]:
        try:
            message = read_message(self._out)
        except EOFError:
            raise SurroundingsError("the load generator's process ended") from None
        assert isinstance(message, dict)
        return message

    def _hear_until(self, key: str) -> dict[str, Any]:
        while key not in (message := self._hear()):
            pass
        return message


def spare_cpus(taken: Sequence[int]) -> tuple[int, ...]:
    """This process's CPUs but those of a pinned server; () when none is left or none is pinned."""
    return tuple(sorted(os.sched_getaffinity(0) - set(taken))) if taken else ()


@contextmanager
def start(cpus: Sequence[int] = ()) -> Iterator[HttpGenerator]:
    """A generator with its process; the process ends with the `with` block or with us.

    It runs on `cpus` alone where these are given, so as not to disturb a server beside it.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "analyzer.load.http_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        if cpus:
            with contextlib.suppress(ProcessLookupError):  # it ended: `aim` says so
                os.sched_setaffinity(process.pid, cpus)
        yield HttpGenerator(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


class _Series:
    """What completed so far in one run."""

    def __init__(self, in_flight: int, started_s: float) -> None:
        self.in_flight = in_flight
        self.started_s = started_s
        self.failures = 0
        self.texts: list[str] = []
        self.paced = False  # by a request rate: what is in flight is an outcome
        self.client_cpu_s = 0.0
        self._cpu_start: float | None = None
        self._raw = array("d")

    @property
    def count(self) -> int:
        return len(self._raw) // 2

    def add(self, report: dict[str, Any]) -> bool:
        """Take a report; True when it has completions."""
        cpu_s = float(report["cpu_s"])
        if self._cpu_start is None:
            self._cpu_start = cpu_s
        self.client_cpu_s = cpu_s - self._cpu_start
        self._raw.frombytes(report["done"])
        return bool(report["done"])

    def columns(self) -> tuple[Floats, Floats]:
        """Completion times and latencies, in seconds, in order of completion."""
        pairs = np.frombuffer(self._raw.tobytes(), dtype=np.float64).reshape(-1, 2)
        return pairs[:, 1], pairs[:, 1] - pairs[:, 0]

    def settled(self, rule: SteadyStateRule) -> bool:
        ends, latencies = self.columns()
        cut = steady_state.warm_up(latencies, self.in_flight)
        if cut is None:
            return False
        ends, latencies = ends[cut:], latencies[cut:]
        if len(ends) < rule.min_requests or ends[-1] - ends[0] < rule.min_duration_s:
            return False
        return (
            self.agrees() and steady_state.confidence(ends, latencies, self.in_flight, rule).reached
        )

    def agrees(self) -> bool:
        """Whether throughput times latency is the concurrency (Little's law)."""
        if self.paced:
            return True
        ends, latencies = self.measured()
        if len(ends) < 2:
            return False
        in_flight = steady_state.in_flight_by_littles_law(ends, latencies)
        return abs(in_flight / self.in_flight - 1) <= steady_state.LITTLE

    def measured(self) -> tuple[Floats, Floats]:
        """Completion times and latencies without the warm-up."""
        ends, latencies = self.columns()
        cut = steady_state.warm_up(latencies, self.in_flight)
        if cut is None:  # never settled: leave out what surely is warm-up
            cut = min(self.in_flight, len(ends) // 2)
        return ends[cut:], latencies[cut:]

    def result(self, load: LoadPoint, rule: SteadyStateRule) -> LoadResult:
        ends, latencies = self.measured()
        if len(ends) < 2:
            now = time.monotonic()
            nothing = Confidence(1.0, 1.0, rule.latency_percentile, reached=False)
            return LoadResult(
                0.0, None, nothing, 0, self.failures, tuple(self.texts), now, now, self.client_cpu_s
            )
        span_s = float(ends[-1] - ends[0])
        latencies = latencies[1:]  # the first completion opens the span
        elapsed_s = float(ends[-1]) - self.started_s
        return LoadResult(
            throughput=len(latencies) * load.batch_size / span_s,
            latency=_latency(latencies * 1000),
            confidence=steady_state.confidence(ends, latencies, self.in_flight, rule),
            requests=len(latencies),
            failures=self.failures,
            failure_texts=tuple(self.texts),
            start_s=float(ends[0]),
            end_s=float(ends[-1]),
            client_cpu_s=self.client_cpu_s,
            client_limited=_client_limited(self.client_cpu_s / elapsed_s),
            drift=steady_state.drift(latencies),
        )


def _latency(latencies_ms: Floats) -> Latency:
    p50, p90, p95, p99 = (float(value) for value in np.percentile(latencies_ms, [50, 90, 95, 99]))
    return Latency(float(latencies_ms.mean()), p50, p90, p95, p99, float(latencies_ms.max()))


def _client_limited(share: float) -> str | None:
    if share < BUSY_CLIENT:
        return None
    return f"the client used {share:.0%} of a core: the server may be faster than this"
