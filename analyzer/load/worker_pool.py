"""A load generator that sends prepared requests from worker processes; see `load/worker/`."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from analyzer.load.child import Child, end
from analyzer.load.generator import LoadResult, PreparedRequest, Via
from analyzer.load.sequences import SequenceStep
from analyzer.load.series import BUSY_CLIENT, Series
from analyzer.load.steady_state import SteadyStateRule
from profiles.errors import InputError, SurroundingsError
from profiles.measurement import LoadPoint

CHECK_S = 0.2  # the rule is looked at so often at first
CHECK_SHARE = 0.1  # of the time so far, later: looking costs more as the series grows
DRAIN_S = 10.0  # what is in flight at the end may take so long,
DRAIN_LATENCIES = 2.0  # or so many times the longest latency seen
LATEST = 2.0  # times the cap, for a span in which throughput and latency do not agree at the cap
END_S = 2.0  # a worker may take so long to end
SEED = 0  # of Poisson arrivals: two runs of one load are alike


class WorkerPool:
    """Worker processes that drive one model after another: one, and more when one is too slow.

    Use it as `with worker_pool.start("http") as generator`, then `aim` it before each `run`.
    """

    def __init__(
        self, protocol: Via, cpus: Sequence[int], most_workers: int, busy_share: float
    ) -> None:
        self.protocol = protocol
        self.last_answer_s = 0.0
        self.started: list[Child] = []  # those that were replaced, too
        self._cpus = cpus
        self._most_workers = most_workers
        self._busy_share = busy_share
        self._aim: tuple[str, list[tuple[str, bytes, SequenceStep | None, bool]]] = ("", [])
        self._workers: list[Child] = []
        self._add_worker()

    def aim(self, url: str, requests: Sequence[PreparedRequest]) -> None:
        http = self.protocol == "http"
        # Steps of sequences recur: each is made, held and sent to a worker once.
        made = {id(r): r.over_http(url) if http else r for r in requests}
        ready = {key: (r.path, r.body, r.sequence, r.streams) for key, r in made.items()}
        self._aim = (url, [ready[id(r)] for r in requests])
        try:
            for worker in self._workers:
                worker.tell(("requests", self._aim))
        except BrokenPipeError:
            self._replace_workers()

    def run(
        self,
        load: LoadPoint,
        rule: SteadyStateRule,
        stop: Callable[[], bool] | None = None,
    ) -> LoadResult:
        """Drive the load until the rule is met, its cap is reached, or `stop` says so.

        Where processors are left and one worker's is what limits, another is added and the load
        driven anew.

        Raises
        ------
        SurroundingsError
            The server cannot be reached, or a worker was killed: the next run has a new one.
        """
        if not load.concurrency and not load.request_rate:
            raise InputError("a load needs a concurrency or a request rate")
        while True:
            try:
                series = self._run_once(load, rule, stop)
            except (EOFError, OSError):  # of a pipe
                self._replace_workers()
                raise SurroundingsError("the load generator's process ended") from None
            result = series.result(rule)
            busy = series.busy(max(result.end_s - series.started_s, 1e-9)) >= self._busy_share
            more = len(self._workers) < min(self._most_workers, load.concurrency or 2)
            if not busy or not more or result.failures or (stop is not None and stop()):
                return result
            self._add_worker()

    def _add_worker(self) -> None:
        worker = Child("analyzer.load.worker", self.protocol, str(len(self._workers)))
        self.started.append(worker)
        self._workers.append(worker)
        if self._cpus:
            with contextlib.suppress(ProcessLookupError):  # it ended: `tell` finds out
                os.sched_setaffinity(worker.process.pid, self._cpus)
        if self._aim[1]:
            worker.tell(("requests", self._aim))

    def _replace_workers(self) -> None:
        for worker in self._workers:
            worker.process.kill()  # those that live may still send
        self._workers.clear()
        self._add_worker()

    def _run_once(
        self, load: LoadPoint, rule: SteadyStateRule, stop: Callable[[], bool] | None
    ) -> Series:
        workers = self._workers[: load.concurrency]
        for number, (worker, share) in enumerate(
            zip(workers, shares(load, len(workers)), strict=True)
        ):
            gaps = (share.request_rate, share.arrivals, SEED + number)
            worker.tell(("start", (share.concurrency, gaps)))
        answers = [worker.hear() for worker in workers]
        problem = next((answer["error"] for answer in answers if "error" in answer), None)
        started = [
            worker for worker, answer in zip(workers, answers, strict=True) if "error" not in answer
        ]
        series = Series(load, time.monotonic())
        drain_s = 0.0  # after an error or an interrupt, requests in flight are dropped
        try:
            if problem is not None:
                raise SurroundingsError(f"the server cannot be reached: {problem}")
            series.started_s = max(answer["started"] for answer in answers)
            for number, answer in enumerate(answers):
                series.add(number, answer)
            if self._pump(series, workers, rule, stop):
                series.stopped_s = time.monotonic()
                drain_s = max(DRAIN_S, DRAIN_LATENCIES * series.longest_s())
                drain_s = min(drain_s, rule.answer_timeout_s)
        finally:
            for worker in started:
                worker.tell(("stop", float(drain_s)))
            for number, worker in enumerate(started):
                last = worker.hear()
                while "hung" not in last:  # what crossed the command, or completed since
                    if series.add(number, last):
                        self.last_answer_s = time.monotonic()
                    last = worker.hear()
                series.add(number, last)
                series.failures += last["failures"]
                series.texts += last["texts"]
                if last["hung"] and drain_s:
                    series.unanswered += last["hung"]
                    series.waited_s = drain_s
        return series

    def _pump(
        self,
        series: Series,
        workers: Sequence[Child],
        rule: SteadyStateRule,
        stop: Callable[[], bool] | None,
    ) -> bool:
        """Collect reports until the run ends; False when it failed and need not be drained."""
        checked = self.last_answer_s = time.monotonic()
        failures = dict.fromkeys(range(len(workers)), 0)
        late_s = LATEST * rule.max_duration_s
        while True:
            ready, _, _ = select.select(workers, [], [], 1.0)
            now = time.monotonic()
            for number, worker in enumerate(workers):
                if worker not in ready:
                    continue
                report = worker.hear()
                failures[number] = report["failures"]
                if series.add(number, report):
                    self.last_answer_s = now
                if not report["connections"]:
                    return False
            failed = sum(failures.values())
            if failed and (series.count == 0 or failed >= 20):
                return False  # it fails: more of it would say nothing new
            if now - self.last_answer_s > rule.answer_timeout_s:
                series.texts.append(f"no answer for {rule.answer_timeout_s:g} s")
                return False
            if stop is not None and stop():
                return True
            elapsed_s = now - series.started_s
            if now - checked >= max(CHECK_S, CHECK_SHARE * elapsed_s):
                checked = now
                if series.settled(rule):
                    return True
                if elapsed_s > rule.max_duration_s:
                    late = elapsed_s > late_s
                    waits = elapsed_s < rule.tail_duration_s and series.lacks_tail(rule, elapsed_s)
                    # A slow model's few requests are waited for beyond the cap.
                    known = series.enough() and (series.agrees() or late)
                    if (known and not waits) or elapsed_s > late_s + rule.answer_timeout_s:
                        return True


def shares(load: LoadPoint, parts: int) -> list[LoadPoint]:
    """A load split into equal parts; concurrency differs by at most one, rates are divided."""
    if load.concurrency is None:
        rate = (load.request_rate or 0.0) / parts
        return [replace(load, request_rate=rate)] * parts
    small, more = divmod(load.concurrency, parts)
    return [replace(load, concurrency=small + (1 if i < more else 0)) for i in range(parts)]


def spare_cpus(taken: Sequence[int]) -> tuple[int, ...]:
    """CPUs of this process without those of a pinned server; () if none is left or pinned."""
    return tuple(sorted(os.sched_getaffinity(0) - set(taken))) if taken else ()


@contextmanager
def start(
    protocol: Literal["http", "grpc"],
    cpus: Sequence[int] = (),
    most_workers: int | None = None,
    busy_share: float = BUSY_CLIENT,
) -> Iterator[WorkerPool]:
    """A generator with its processes; they end with the `with` block or with this process.

    Parameters
    ----------
    protocol
        What the workers speak.
    cpus
        The workers run on these alone, so as not to disturb a server beside them.
    most_workers
        By default as many as `cpus`, or half of the processors: the server may need the others.
    busy_share
        Of a core: from here on a worker is what limits, and another is added.
    """
    limit = most_workers or len(cpus) or max(1, len(os.sched_getaffinity(0)) // 2)
    pool = WorkerPool(protocol, cpus, limit, busy_share)
    try:
        yield pool
    finally:
        end(pool.started, END_S)
