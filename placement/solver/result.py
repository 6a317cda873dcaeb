"""The answer of the solver, apart from how it was reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from placement.layout import Layout

Status = Literal["optimal", "feasible", "infeasible", "unknown"]


@dataclass(frozen=True)
class Result:
    """The best layout, how good it can be at best, and how sure that is.

    `optimal`: no layout is better. `feasible`: a layout, perhaps not the best. `infeasible`: proven
    that there is none. `unknown`: none was found in time. Value and bound are the price (with
    moves) for min-hardware; for max-throughput the weighted sum of relative throughputs, or the
    factor by which all can grow.
    """

    status: Status
    layout: Layout | None = None
    value: float | None = None
    bound: float | None = None
    time_s: float = 0.0
    method: str = ""  # what found the layout
    binding: tuple[str, ...] = ()  # resources that decide the value
    reasons: tuple[str, ...] = ()  # infeasible: what cannot be, in words
    bounds: dict[str, float] = field(default_factory=dict)  # least price by each resource alone
    headroom: float | None = None  # least free part of any device in use, over all resources
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> float | None:
        """How far value and bound are apart, relative to the larger; None without a layout."""
        if self.value is None or self.bound is None:
            return None
        most = max(abs(self.value), abs(self.bound))
        return abs(self.value - self.bound) / most if most else 0.0


class Deadline:
    """When to stop: at a time, or when another thread says so (Ctrl-C)."""

    def __init__(self, time_limit_s: float, parent: Deadline | None = None) -> None:
        self.started = time.monotonic()
        self._end = self.started + time_limit_s
        self._parent = parent
        self._kept_s = 0.0
        self._stopped = threading.Event()
        self._running: list[Callable[[], None]] = []

    @property
    def left_s(self) -> float:
        """Seconds left to the search; never negative."""
        if self._stopped.is_set():
            return 0.0
        left = max(0.0, self._end - self._kept_s - time.monotonic())
        return left if self._parent is None else min(left, self._parent.left_s)

    @property
    def final_s(self) -> float:
        """Seconds left, with those that are kept for what follows the search."""
        return max(0.0, self._end - time.monotonic())

    def keep(self, seconds: float) -> None:
        """Keep at least so much for what follows the search: building the layout, checking it."""
        self._kept_s = max(self._kept_s, seconds)

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def stopped(self) -> bool:
        """Whether it was told to end before its time."""
        return self._stopped.is_set()

    def part(self, part: float) -> Deadline:
        """A deadline for so much of what is left, which ends with this one."""
        return self.at_most(self.left_s * part)

    def at_most(self, seconds: float) -> Deadline:
        """A deadline in so many seconds, which ends with this one."""
        child = Deadline(min(seconds, self.left_s), self)
        self.watch(child.stop)
        return child

    def stop(self) -> None:
        """Ask everything that watches this deadline to end now with what it has."""
        self._stopped.set()
        for cancel in list(self._running):
            cancel()

    def watch(self, cancel: Callable[[], None]) -> None:
        """Have `cancel` called when `stop` is."""
        self._running.append(cancel)
        if self._stopped.is_set():
            cancel()

    def unwatch(self, cancel: Callable[[], None]) -> None:
        """Forget a `cancel` whose work is done."""
        self._running.remove(cancel)
