"""Large neighbourhood search on several cores, in processes of their own.

In each round every process improves a part of the layout (`parts.py`) for some seconds, and what
they come to is joined; the next round deals the devices out anew. Where there are few devices or
items each process improves the whole layout with a seed of its own, and the best is kept.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any

from placement.solver.improve import EPSILON, improve, restore, snapshot
from placement.solver.incumbent import Incumbent
from placement.solver.parts import Improved, deal, join, whole
from placement.solver.result import Deadline

MOST = 8  # processes, unless more are asked for
LEAST_S = 5.0  # with less time processes are not worth their start
ROUND_S = 4.0
ROUNDS = 5  # at least, where the time allows it
LEAST_ROUND_S = 0.5
JOINING_S = 0.1  # of the time left, for the answers
LATE_S = 2.0  # after which an answer is not waited for
ITEMS = 150  # from which parts are improved, not the whole
DEVICES = 12  # in each part, at least


def available() -> int:
    """The cores that this process may use, at most 8."""
    return max(1, min(MOST, len(os.sched_getaffinity(0))))


def improve_on(
    workers: int,
    incumbent: Incumbent,
    deadline: Deadline,
    seed: int,
    *,
    target: float = -math.inf,
    patience: int = 12_000,
    allowed_moves: int | None = None,
) -> None:
    """`improve` on so many cores; in this process alone with one, or little time."""
    many = workers > 1 and deadline.left_s >= LEAST_S and sys.executable
    if many and (allowed_moves is None or incumbent.moves <= allowed_moves):
        with _processes(workers, incumbent, deadline) as running:
            _rounds(running, incumbent, deadline, seed, target, patience)
        if deadline.left_s < LEAST_S or patience < 10**9 or incumbent.cost <= target + EPSILON:
            return
    improve(
        incumbent, deadline, seed, target=target, patience=patience, allowed_moves=allowed_moves
    )


class _Process:
    """A worker; it ends when its stdin closes."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-P", "-m", "placement.solver.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is this process's to handle
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        with self.popen.stdin as to, self.popen.stdout as back:
            self.to: Connection[Any, Any] = Connection(os.dup(to.fileno()))
            self.back: Connection[Any, Any] = Connection(os.dup(back.fileno()))


@contextmanager
def _processes(workers: int, incumbent: Incumbent, deadline: Deadline) -> Iterator[list[_Process]]:
    started: list[_Process] = []

    def kill() -> None:
        for process in started:
            process.popen.kill()

    deadline.watch(kill)
    try:
        started.extend(_Process() for _ in range(workers))
        running = list(started)
        free = not any(incumbent.device_price)
        for process in started:
            _tell(running, process, (incumbent.instance, incumbent.relaxation, free))
        yield running
    finally:
        deadline.unwatch(kill)
        for process in started:
            process.popen.kill()
            process.popen.wait()
            process.to.close()
            process.back.close()


def _rounds(
    running: list[_Process],
    incumbent: Incumbent,
    deadline: Deadline,
    seed: int,
    target: float,
    patience: int,
) -> None:
    """Rounds until the deadline, the target, or so many steps without a better layout."""
    rng = random.Random(seed)
    round_s = max(LEAST_ROUND_S, min(ROUND_S, deadline.left_s / ROUNDS))
    since = 0
    while running and since < patience and incumbent.cost > target + EPSILON:
        left_s = deadline.left_s - JOINING_S
        if left_s < LEAST_ROUND_S:
            return
        limit_s = left_s if left_s < 1.5 * round_s else round_s
        before = incumbent.cost
        since += _round(running, incumbent, deadline, rng, target, limit_s)
        if incumbent.cost < before - EPSILON:
            since = 0


def _round(
    running: list[_Process], incumbent: Incumbent, deadline: Deadline, rng: random.Random,
    target: float, limit_s: float,
) -> int:  # fmt: skip
    """One round; the layout is no worse after it. The most steps that a process took."""
    before, kept = incumbent.cost, snapshot(incumbent)
    number = len(running)
    dealt = None
    if len(incumbent.instance.items) >= ITEMS and incumbent.used >= DEVICES * number:
        dealt = deal(incumbent, number, rng)
    part_of = dict(zip(list(running), dealt or [whole(incumbent)] * number, strict=True))
    for process, part in part_of.items():
        _tell(running, process, (part, rng.randrange(1 << 30), limit_s, before - target))
    answers = _answers(running, deadline, limit_s + LATE_S)
    if not answers:
        return 0
    if dealt:
        found = [
            what
            for process, part in part_of.items()
            for what in (answers[process].placed if process in answers else part.placed)
        ]
    else:
        found = min(answers.values(), key=lambda answer: answer.cost).placed
    restore(incumbent, join(incumbent, found))
    if incumbent.cost > before + EPSILON:  # no rule says that it can, but nothing is lost
        restore(incumbent, kept)
    return max(answer.steps for answer in answers.values())


def _answers(
    running: list[_Process], deadline: Deadline, limit_s: float
) -> dict[_Process, Improved]:
    """What the processes came to; one that ended or is late is left out from now on."""
    answers: dict[_Process, Improved] = {}
    until_s = time.monotonic() + min(limit_s, deadline.left_s + LATE_S)
    while awaited := {p.back: p for p in running if p not in answers}:
        ready = wait(list(awaited), max(0.0, until_s - time.monotonic()))
        if not ready:
            for process in awaited.values():
                running.remove(process)
                process.popen.kill()
            break
        for back in ready:
            process = awaited[back]  # type: ignore[index]
            try:
                answers[process] = process.back.recv()
            except (EOFError, OSError):
                running.remove(process)
    return answers


def _tell(running: list[_Process], process: _Process, message: object) -> None:
    try:
        process.to.send(message)
    except OSError:  # it has ended
        running.remove(process)
