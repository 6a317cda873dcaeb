"""The process that measures on one GPU while others measure on theirs; see `parallel.py`.

Run as `python -m analyzer.measure.gpu_worker`. The options with all points, and then jobs, come
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
from collections.abc import Callable
from types import FrameType
from typing import cast

from analyzer.load.pipe import read_message, write_message
from analyzer.measure import profiling
from analyzer.measure.loop import Progress, wanted
from analyzer.measure.profiling import Options
from analyzer.measure.sweep import Point
from profiles.errors import ModelPlacerError
from profiles.store import ProfileStore

Tell = Callable[[str, object], None]
Task = tuple[Options, list[Point]]  # the points of all models, which are hashed but once
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


def _listen(inbox: int, jobs: Jobs) -> None:
    """Hand jobs over; when the parent goes without a word, end this process in good order."""
    try:
        while True:
            job = read_message(inbox)
            assert job is None or isinstance(job, list)
            jobs.put(job)
            if job is None:
                return
    except EOFError:
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGTERM)  # wakes it from whatever it waits for


def serve(options: Options, points: list[Point], jobs: Jobs, tell: Tell) -> None:
    """Measure job after job; raises ModelPlacerError when the GPU or its server is out of order."""

    def say(text: str) -> None:
        tell("said", text)

    def on_progress(progress: Progress) -> None:
        tell("measured", progress.measurement)

    models = profiling.read_models(options)
    with (
        ProfileStore(options.store) as store,
        profiling.start_bench(options, models, points, say) as bench,
    ):
        missing = profiling.missing_of(options, points, store, bench)
        baseline = profiling.keep_baseline(bench, store)
        tell("ready", (bench.server_description, missing))
        while (job := jobs.get()) is not None:
            profiling.measure(options, job, bench, baseline, store, on_progress)
            tell("done", None)
        tell("known", wanted(points, store, bench))


def main() -> None:
    """Measure until there is no more, or until the parent is gone."""
    inbox, outbox = sys.stdin.fileno(), os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what others print is no message
    lock = threading.Lock()

    def tell(kind: str, value: object) -> None:
        with lock:
            write_message(outbox, (kind, value))

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    log.addHandler(_Forward(tell))
    log.setLevel(logging.INFO)
    log.propagate = False
    jobs: Jobs = queue.Queue()
    try:
        options, points = cast(Task, read_message(inbox))
        threading.Thread(target=_listen, args=(inbox, jobs), daemon=True).start()
        try:
            serve(options, points, jobs, tell)
        except ModelPlacerError as error:
            tell("failed", error)
    except (KeyboardInterrupt, BrokenPipeError, EOFError):  # the parent wants no more, or is gone
        with contextlib.suppress(OSError):
            os.close(outbox)
        sys.exit(130)


if __name__ == "__main__":
    main()
