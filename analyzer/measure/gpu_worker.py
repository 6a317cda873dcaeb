"""The process that measures on one GPU while others measure on theirs; see `parallel.py`.

Run as `python -m analyzer.measure.gpu_worker`. The options and all points, and then jobs, come
as pickles on stdin; what becomes of them goes as pickles to stdout. It is a process of its own, so
that sampling one GPU does not disturb another, nor a driver's crash. It ends with everything that
it started when its stdin does, whatever became of its parent.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from analyzer.load.child import parent
from analyzer.measure import profile
from analyzer.measure.bench import open_bench
from analyzer.measure.grid import Point
from analyzer.measure.loop import Progress, wanted
from analyzer.measure.options import Options
from analyzer.measure.plan import planned
from profiles.errors import ModelPlacerError
from profiles.store import ProfileStore

Tell = Callable[[str, object], None]
Jobs = queue.Queue[list[Point] | None]  # each the points of one model; None: there are no more

log = logging.getLogger("model_placer")


class _Forward(logging.Handler):
    """Log records go to the parent, which prints for all."""

    def __init__(self, tell: Tell) -> None:
        super().__init__()
        self.tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self.tell("said", record.getMessage())


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # What libraries print while they are torn down is nothing for people: the parent says why.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    raise KeyboardInterrupt


def _listen(inbox: Connection[Any, Any], jobs: Jobs) -> None:
    """Queue jobs; when the parent is gone, interrupt the main thread so that it cleans up."""
    try:
        while True:
            job = inbox.recv()
            jobs.put(job)
            if job is None:
                return
    except (EOFError, OSError):
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGTERM)  # interrupts any blocking call


def serve(options: Options, points: Sequence[Point], jobs: Jobs, tell: Tell) -> None:
    """Measure job after job; raises ModelPlacerError when the GPU or its server fails."""

    def say(text: str) -> None:
        tell("said", text)

    def on_progress(progress: Progress) -> None:
        tell("measured", progress.measurement)

    plan = planned(options, points)  # their files are hashed already
    with ProfileStore(options.store) as store, open_bench(options, plan, say) as bench:
        missing = profile.missing_of(options, plan.points, store, bench)
        baseline = profile.keep_baseline(bench, store)
        tell("ready", (bench.server_description, missing))
        while (job := jobs.get()) is not None:
            profile.measure(options, job, bench, baseline, store, on_progress)
            tell("done", None)
        known = wanted(plan.points, store, bench)
        tell("known", [*known, *profile.rows_at_part_load(options, plan.points, store, bench)])


def main() -> None:
    """Measure until there is no more, or until the parent is gone."""
    inbox, outbox = parent()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what others print is no message
    lock = threading.Lock()

    def tell(kind: str, value: object) -> None:
        with lock:
            outbox.send((kind, value))

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # which is what nohup asks for
            signal.signal(number, _interrupt)
    log.addHandler(_Forward(tell))
    log.setLevel(logging.INFO)
    log.propagate = False
    jobs: Jobs = queue.Queue()
    try:
        options, points = inbox.recv()
        threading.Thread(target=_listen, args=(inbox, jobs), daemon=True).start()
        try:
            serve(options, points, jobs, tell)
        except ModelPlacerError as error:
            tell("failed", error)
    except (KeyboardInterrupt, BrokenPipeError, EOFError):  # the parent wants no more, or is gone
        with contextlib.suppress(OSError):
            outbox.close()
        sys.exit(130)


if __name__ == "__main__":
    main()
