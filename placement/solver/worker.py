"""A process that improves parts of layouts: parts come as pickles on stdin, answers go to stdout.

It ends when its stdin closes, that is, with the process that started it, whatever ended that one.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from placement.solver.improve import CYCLE, improve
from placement.solver.parts import Improved, build, placed_in
from placement.solver.result import Deadline

LEAST_CYCLE = 100  # steps


def main() -> None:
    """Answer until stdin closes."""
    tasks = Connection(os.dup(sys.stdin.fileno()))
    answers: Connection[Any, Any] = Connection(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks, waiting), daemon=True).start()
    instance, relaxation, free = waiting.get()
    pace = 0.0  # steps per second
    while True:
        part, seed, limit_s, gain = waiting.get()
        deadline = Deadline(limit_s)
        work = build(instance, relaxation, part, free=free)
        steps = improve(
            work,
            deadline,
            seed,
            target=work.cost - gain,
            patience=10**9,
            allowed_moves=work.most_moves,
            cycle=max(LEAST_CYCLE, int(pace * limit_s)) if pace else CYCLE,
        )
        pace = steps / max(deadline.spent_s, 1e-3)
        answers.send(Improved(placed_in(work), work.cost, steps))


def _listen(tasks: Connection[Any, Any], waiting: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            waiting.put(tasks.recv())
    except (EOFError, OSError):
        os._exit(0)  # at once, in the middle of a search


if __name__ == "__main__":
    main()
