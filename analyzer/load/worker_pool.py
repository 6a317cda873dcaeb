"""Load from worker processes that pump prepared requests; see `worker.py`."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Literal

from analyzer.load.generator import LoadResult, PreparedRequest, Via
from analyzer.load.pipe import read_message, write_message
from analyzer.load.sequences import SequenceStep
from analyzer.load.series import BUSY_CLIENT, Series
from analyzer.load.steady_state import SteadyStateRule
from profiles.errors import InputError, SurroundingsError
from profiles.measurement import LoadPoint

CHECK_S = 0.2  # the rule is looked at so often at first
CHECK_SHARE = 0.1  # of the time so far, later: looking costs more as the series grows
DRAIN_S = 10.0  # what is in flight at the end may take so long
LATEST = 2.0  # times the cap, for a span in which throughput and latency do not agree at the cap
SEED = 0  # of Poisson arrivals: two runs of one load are alike


class PumpGenerator:
    """Worker processes that drive one model after another: one, and more when one is too slow.

    Use it as `with http.start() as generator`, then `aim` it before each `run`.
    """

    def __init__(
        self, protocol: Via, most_workers: int, busy_share: float, start: Callable[[int], _Worker]
    ) -> None:
        self.protocol = protocol
        self._most_workers = most_workers
        self._busy_share = busy_share
        self._start_worker = start
        self._aim: tuple[str, list[tuple[str, bytes, SequenceStep | None, bool]]] = ("", [])
        self._workers: list[_Worker] = []
        self._add_worker()

    def aim(self, url: str, requests: Sequence[PreparedRequest]) -> None:
        """Send these requests, in turn, to the server at `url` (host:port) from now on."""
        http = self.protocol == "http"
        # Steps of sequences recur: each is made, held and sent to a worker once.
        made = {id(r): r.over_http(url) if http else r for r in requests}
        ready = {key: (r.path, r.body, r.sequence, r.streams) for key, r in made.items()}
        self._aim = (url, [ready[id(r)] for r in requests])
        try:
            for worker in self._workers:
                worker.tell("requests", self._aim)
        except _WorkerEndedError:
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
            except _WorkerEndedError:
                self._replace_workers()
                raise
            result = series.result(rule)
            busy = series.busy(max(result.end_s - series.started_s, 1e-9)) >= self._busy_share
            more = len(self._workers) < min(self._most_workers, load.concurrency or 2)
            if not busy or not more or result.failures or (stop is not None and stop()):
                return result
            self._add_worker()

    def _add_worker(self) -> None:
        worker = self._start_worker(len(self._workers))
        if self._aim[1]:
            worker.tell("requests", self._aim)
        self._workers.append(worker)

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
            worker.tell("start", (share.concurrency, gaps))
        answers = [worker.hear() for worker in workers]
        problem = next((answer["error"] for answer in answers if "error" in answer), None)
        started = [
            worker for worker, answer in zip(workers, answers, strict=True) if "error" not in answer
        ]
        series = Series(load, time.monotonic())
        drain_s = 0.0  # after an error or an interrupt nobody waits for what is in flight
        try:
            if problem is not None:
                raise SurroundingsError(f"the server cannot be reached: {problem}")
            series.started_s = max(answer["started"] for answer in answers)
            for number, answer in enumerate(answers):
                series.add(number, answer)
            if self._pump(series, workers, rule, stop):
                drain_s = min(DRAIN_S, rule.answer_timeout_s)
        finally:
            for worker in started:
                worker.tell("stop", float(drain_s))
            for number, worker in enumerate(started):
                last = worker.hear()
                while "hung" not in last:  # reports that crossed the command
                    series.add(number, last)
                    last = worker.hear()
                series.add(number, last)
                series.failures += last["failures"]
                series.texts += last["texts"]
                if last["hung"] and drain_s:
                    series.failures += last["hung"]
                    series.texts.append(f"no answer within {drain_s:g} s")
        return series

    def _pump(
        self,
        series: Series,
        workers: Sequence[_Worker],
        rule: SteadyStateRule,
        stop: Callable[[], bool] | None,
    ) -> bool:
        """Whether it ended well, so that what is in flight is worth waiting for."""
        checked = last_answer = time.monotonic()
        failures = dict.fromkeys(range(len(workers)), 0)
        while True:
            ready, _, _ = select.select([worker.out for worker in workers], [], [], 1.0)
            now = time.monotonic()
            for number, worker in enumerate(workers):
                if worker.out not in ready:
                    continue
                report = worker.hear()
                failures[number] = report["failures"]
                if series.add(number, report):
                    last_answer = now
                if not report["connections"]:
                    return False
            failed = sum(failures.values())
            if failed and (series.count == 0 or failed >= 20):
                return False  # it fails: more of it would say nothing new
            if now - last_answer > rule.answer_timeout_s:
                series.texts.append(f"no answer for {rule.answer_timeout_s:g} s")
                return False
            if stop is not None and stop():
                return True
            elapsed_s = now - series.started_s
            if now - checked >= max(CHECK_S, CHECK_SHARE * elapsed_s):
                checked = now
                if series.settled(rule) or elapsed_s > LATEST * rule.max_duration_s:
                    return True
                if elapsed_s > rule.max_duration_s and series.agrees():
                    return True


def shares(load: LoadPoint, parts: int) -> list[LoadPoint]:
    """A load in parts that differ by one request in flight at most; rates are divided."""
    if load.concurrency is None:
        rate = (load.request_rate or 0.0) / parts
        return [replace(load, request_rate=rate)] * parts
    small, more = divmod(load.concurrency, parts)
    return [replace(load, concurrency=small + (1 if i < more else 0)) for i in range(parts)]


class _WorkerEndedError(SurroundingsError):
    """A worker's process was killed."""


class _Worker:
    """The parent's end of the pipes to a worker process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._in = process.stdin.fileno()
        self.out = process.stdout.fileno()

    def tell(self, kind: str, value: object) -> None:
        """Give a command."""
        try:
            write_message(self._in, (kind, value))
        except BrokenPipeError:
            raise _WorkerEndedError("the load generator's process ended") from None

    def hear(self) -> dict[str, Any]:
        """The next report."""
        try:
            message = read_message(self.out)
        except EOFError:
            raise _WorkerEndedError("the load generator's process ended") from None
        assert isinstance(message, dict)
        return message


def spare_cpus(taken: Sequence[int]) -> tuple[int, ...]:
    """This process's CPUs but those of a pinned server; () when none is left or none is pinned."""
    return tuple(sorted(os.sched_getaffinity(0) - set(taken))) if taken else ()


@contextmanager
def start(
    protocol: Literal["http", "grpc"],
    cpus: Sequence[int] = (),
    most_workers: int | None = None,
    busy_share: float = BUSY_CLIENT,
) -> Iterator[PumpGenerator]:
    """A generator with its processes; they end with the `with` block or with us.

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
    with ExitStack() as stack:
        yield PumpGenerator(
            protocol,
            limit,
            busy_share,
            lambda number: stack.enter_context(_start_worker(protocol, cpus, number)),
        )


@contextmanager
def _start_worker(protocol: Via, cpus: Sequence[int], number: int) -> Iterator[_Worker]:
    process = subprocess.Popen(
        [sys.executable, "-m", "analyzer.load.worker", protocol, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        if cpus:
            with contextlib.suppress(ProcessLookupError):  # it ended: `tell` says so
                os.sched_setaffinity(process.pid, cpus)
        yield _Worker(process)
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
