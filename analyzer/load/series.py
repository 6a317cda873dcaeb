"""Completions of one run of load, and the result computed from them."""

from __future__ import annotations

import math
import time
from array import array
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from analyzer.load import steady_state
from analyzer.load.confidence import FEWEST_GROUPS, confidence, groups, independent
from analyzer.load.generator import LoadResult
from analyzer.load.steady_state import Floats, SteadyStateRule
from profiles.measurement import PERCENTILES, Confidence, Latency, LoadPoint
from profiles.percentile import longer, requests_needed

MEDIAN = 50
FEWEST_AT_RANDOM = 300  # requests that arrive at random, for what they use to be known
BUSY_CLIENT = 0.9  # of one core: above it the client is what limits
LATE_CLIENT = 0.1  # of mean latency: a client that reads answers so late measures itself


@dataclass
class Worker:
    """CPU use and scheduling delay of one worker process in a run."""

    cpu_start_s: float
    waits_start: tuple[float, int]
    cpu_s: float = 0.0
    waited_s: float = 0.0  # runnable, and no processor free
    wakes: int = 0

    def add(self, report: dict[str, Any]) -> None:
        """Take a report."""
        self.cpu_s = report["cpu_s"] - self.cpu_start_s
        self.waited_s = report["waits"][0] - self.waits_start[0]
        self.wakes = report["waits"][1] - self.waits_start[1]


@dataclass
class Series:
    """Completions so far in one run, of all workers."""

    load: LoadPoint
    started_s: float
    workers: dict[int, Worker] = field(default_factory=dict)
    failures: int = 0
    texts: list[str] = field(default_factory=list)
    raw: array[float] = field(default_factory=lambda: array("d"))  # sent, completed, by turns
    # Of a decoupled model, for each of these: time to the first response, number of responses.
    answers: array[float] = field(default_factory=lambda: array("d"))
    # Of a decoupled model, for each response but a request's first: when, and since the one before.
    gaps: array[float] = field(default_factory=lambda: array("d"))
    stopped_s: float = math.inf  # closed loop: what completes later met less load
    unanswered: int = 0  # requests in flight at the end, without an answer for `waited_s`
    waited_s: float = 0.0

    @property
    def in_flight(self) -> int:
        """Concurrency in a closed loop; 1 in an open loop, where it is an outcome."""
        return self.load.concurrency or 1

    @property
    def count(self) -> int:
        """Successes so far, the warm-up included."""
        return len(self.raw) // 2

    def add(self, number: int, report: dict[str, Any]) -> bool:
        """Take a worker's report; True when it has completions, or responses in a stream."""
        if number not in self.workers:
            self.workers[number] = Worker(report["cpu_s"], report["waits"])
        self.workers[number].add(report)
        self.raw.frombytes(report["done"])
        self.answers.frombytes(report.get("answers", b""))
        self.gaps.frombytes(report.get("gaps", b""))
        return bool(report["done"] or report.get("gaps"))

    def columns(self) -> tuple[Floats, Floats]:
        """Completion times and latencies, in seconds, in order of completion."""
        pairs = np.frombuffer(self.raw.tobytes(), dtype=np.float64).reshape(-1, 2)
        if len(self.workers) > 1:  # their reports come by turns
            pairs = pairs[np.argsort(pairs[:, 1], kind="stable")]
        return pairs[:, 1], pairs[:, 1] - pairs[:, 0]

    def settled(self, rule: SteadyStateRule) -> bool:
        """Whether the rule is met."""
        ends, latencies = self.columns()
        cut = steady_state.warm_up(latencies, self.in_flight)
        if cut is None:
            return False
        ends, latencies = ends[cut - 1 :], latencies[cut - 1 :]  # the warm-up's last opens it
        if len(latencies) - 1 < rule.min_requests or ends[-1] - ends[0] < rule.min_duration_s:
            return False
        tail = rule.latency_percentile
        if tail > MEDIAN and longer(independent(latencies), tail) is None:
            return False
        if self._at_random and len(latencies) <= FEWEST_AT_RANDOM:
            return False
        found = self._confidence(ends, latencies[1:], rule)
        return self._agree(ends, latencies) and found.reached

    @property
    def _at_random(self) -> bool:
        return self.load.concurrency is None and self.load.arrivals == "poisson"

    def _confidence(
        self, ends: Floats, latencies: Floats, rule: SteadyStateRule, *, few: bool = False
    ) -> Confidence:
        """How sure the figures are.

        Of requests at random the rate is what was asked for: how it varies tells nothing.
        """
        found = confidence(ends, latencies, self.in_flight, rule, few=few)
        if not self._at_random:
            return found
        return replace(found, reached=found.latency <= rule.relative_half_width)

    def lacks_tail(self, rule: SteadyStateRule, elapsed_s: float) -> bool:
        """Whether the percentile asked for has too few requests yet, and will soon have enough.

        Soon is within `tail_duration_s`, at the rate of requests so far.
        """
        needed = requests_needed(rule.latency_percentile)
        if rule.latency_percentile <= MEDIAN or not self.count:
            return False
        if needed * elapsed_s / self.count > rule.tail_duration_s:
            return False
        _, latencies = self.measured()
        return longer(independent(latencies), rule.latency_percentile) is None

    def agrees(self) -> bool:
        """Whether throughput times latency is the concurrency (Little's law)."""
        return self._agree(*self.measured())

    def _agree(self, ends: Floats, latencies: Floats) -> bool:
        if self.load.concurrency is None:
            return True
        if len(ends) < 2:
            return False
        in_flight = steady_state.in_flight_by_littles_law(ends, latencies)
        return abs(in_flight / self.in_flight - 1) <= steady_state.LITTLE

    def enough(self) -> bool:
        """Whether enough has completed after the warm-up for a slow model's figures."""
        ends, _ = self.columns()
        spans, _ = groups(ends[max(self.in_flight - 1, 0) :])
        return len(spans) >= FEWEST_GROUPS

    def longest_s(self) -> float:
        """The longest latency so far; 0 without any."""
        _, latencies = self.columns()
        return float(np.max(latencies, initial=0.0))

    def measured(self) -> tuple[Floats, Floats]:
        """Completion times and latencies without the warm-up; the first one opens the span."""
        span = self._span()
        ends, latencies = self.columns()
        return ends[span], latencies[span]

    def _span(self) -> slice:
        """Which completions, in their order, are measured: the last of the warm-up and the rest."""
        ends, latencies = self.columns()
        stop = len(ends)
        if self.load.concurrency is not None:
            before = int(np.searchsorted(ends, self.stopped_s, side="right"))
            # Of a slow model what was in flight at the end tells more than it distorts.
            stop = before if before >= 2 * self.in_flight else stop
        latencies = latencies[:stop]
        cut = steady_state.warm_up(latencies, self.in_flight)
        if cut is None:  # never settled: leave out what is warm-up for certain
            cut = min(self.in_flight, (stop + 1) // 2)
        return slice(max(cut - 1, 0), stop)

    def result(self, rule: SteadyStateRule) -> LoadResult:
        """The result of the run, without the warm-up."""
        ends, latencies = self.measured()
        cpu_s = sum(worker.cpu_s for worker in self.workers.values())
        texts = tuple(dict.fromkeys(self.texts))[:3]
        if len(ends) == 0:
            now = time.monotonic()
            nothing = Confidence(1.0, 1.0, rule.latency_percentile, reached=False)
            return LoadResult(0.0, None, nothing, 0, self.failures, texts, now, now, cpu_s)
        if len(ends) == 1:  # one answer in all: it is what is known
            ends, latencies = np.array([self.started_s, ends[0]]), latencies[[0, 0]]
        span_s = float(ends[-1] - ends[0])
        latencies = latencies[1:]  # the first completion opens the span
        firsts, responses = self._answers()
        return LoadResult(
            throughput=len(latencies) * self.load.batch_size / span_s,
            latency=_latency(latencies * 1000),
            confidence=self._confidence(ends, latencies, rule, few=True),
            requests=len(latencies),
            failures=self.failures,
            failure_texts=texts,
            start_s=float(ends[0]),
            end_s=float(ends[-1]),
            client_cpu_s=cpu_s,
            client_limited=self._client_limited(
                float(ends[-1]) - self.started_s, float(latencies.mean())
            ),
            drift=steady_state.drift(latencies),
            completed=self.count,
            responses=responses,
            first_response=None if firsts is None else _latency(firsts * 1000),
            between_responses=self._between(float(ends[0]), float(ends[-1])),
            too_few=self._too_few(ends, latencies, rule),
            unanswered=self._unanswered(),
        )

    def _answers(self) -> tuple[Floats | None, int]:
        """Of the measured completions: times to the first response, and number of responses."""
        if not self.answers:
            return None, 0
        ends = np.frombuffer(self.raw.tobytes(), dtype=np.float64)[1::2]
        pairs = np.frombuffer(self.answers.tobytes(), dtype=np.float64).reshape(-1, 2)
        pairs = pairs[np.argsort(ends, kind="stable")][self._span()]
        pairs = pairs[1:] if len(pairs) > 1 else pairs
        return pairs[:, 0], int(pairs[:, 1].sum())

    def _between(self, start_s: float, end_s: float) -> Latency | None:
        """Times between the responses that came within the span; None where there are none."""
        pairs = np.frombuffer(self.gaps.tobytes(), dtype=np.float64).reshape(-1, 2)
        within = pairs[(pairs[:, 0] > start_s) & (pairs[:, 0] <= end_s), 1]
        return _latency(within * 1000) if len(within) else None

    def _too_few(self, ends: Floats, latencies: Floats, rule: SteadyStateRule) -> str | None:
        """What a slow model lacks for figures of a steady load, with the duration that gives it."""
        spans, _ = groups(ends)
        if self.count > self.in_flight and len(spans) >= FEWEST_GROUPS:
            return None
        each_s = (self.columns()[0][-1] - self.started_s) / self.count  # between completions
        least_s = max((self.in_flight + FEWEST_GROUPS) * each_s, float(np.max(latencies)))
        least_s = max(least_s, rule.max_duration_s)
        number = "1 request was" if self.count == 1 else f"{self.count} requests were"
        return (
            f"{number} answered at {self.load}, too few to say how sure the figures are: "
            f"--max-duration {math.ceil(least_s)}s is the least that is useful"
        )

    def _unanswered(self) -> str | None:
        if not self.unanswered:
            return None
        number = "1 request" if self.unanswered == 1 else f"{self.unanswered} requests"
        return f"{number} in flight at the end had no answer within {self.waited_s:.0f} s"

    def busy(self, elapsed_s: float) -> float:
        """CPU share of the busiest worker."""
        return max((worker.cpu_s for worker in self.workers.values()), default=0.0) / elapsed_s

    def _client_limited(self, elapsed_s: float, latency_s: float) -> str | None:
        busy = self.busy(elapsed_s)
        if busy >= BUSY_CLIENT:
            return f"the client used {busy:.0%} of a core: the server may be faster than this"
        # An answer waits in the socket for as long as the client waits for a processor.
        late_s = max(
            (worker.waited_s / worker.wakes for worker in self.workers.values() if worker.wakes),
            default=0.0,
        )
        if late_s <= LATE_CLIENT * latency_s:
            return None
        return (
            f"the client waited {late_s * 1000:.2f} ms for a CPU at each response, "
            f"{late_s / latency_s:.0%} of the latency: the host is overloaded"
        )


def _latency(latencies_ms: Floats) -> Latency:
    p50, p90, p95, p99 = (float(value) for value in np.percentile(latencies_ms, PERCENTILES))
    ordered, worth = np.sort(latencies_ms), independent(latencies_ms)
    return Latency(
        float(latencies_ms.mean()),
        *(p50, p90, p95, p99, float(ordered[-1])),
        *(_upper(ordered, worth, percentile) for percentile in PERCENTILES),
    )


def _upper(ordered: Floats, worth: float, percentile: int) -> float | None:
    """The upper confidence limit of a percentile; None where there are too few latencies.

    `worth`: as many independent latencies as they are worth.
    """
    above = longer(worth, percentile)
    if above is None:
        return None
    return float(ordered[len(ordered) - 1 - int(above * len(ordered) / worth)])
