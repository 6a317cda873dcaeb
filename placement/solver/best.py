"""The best layout so far: every candidate is checked before it counts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from placement.layout import Layout, check
from placement.layout.prediction import build_layout
from placement.layout.replica import Replica
from placement.problem import PlacementProblem
from placement.solver.result import Deadline

GRAIN = 1e-9  # relative: values that are closer are equal
AFTER = 2.5  # times what one offer takes: kept for the last one and what comes after it


@dataclass
class Best:
    """Candidates are offered; one that does not hold is dropped, and said so in `dropped`."""

    problem: PlacementProblem
    deadline: Deadline
    replicas: tuple[Replica, ...] | None = None
    layout: Layout | None = None
    value: float | None = None
    method: str = ""
    dropped: list[str] = field(default_factory=list)
    start: tuple[Replica, ...] = ()  # what was given to start from, whether it holds or not
    took_s: float = 0.0  # building a layout and checking it, at most

    def offer(self, replicas: tuple[Replica, ...] | None, method: str) -> bool:
        """Take the candidate if it holds and is better than what is there."""
        if replicas is None:
            return False
        started_s = time.monotonic()
        layout = build_layout(self.problem, replicas)
        value = check.objective(self.problem, layout)
        if self.value is not None and not self.is_better(value, self.value):
            return False
        faults = check.violations(self.problem, layout)
        self.took_s = max(self.took_s, time.monotonic() - started_s)
        self.deadline.keep(AFTER * self.took_s)
        if faults:
            self.dropped.append(f"A candidate ({method}) was dropped: {faults[0]}")
            return False
        self.replicas, self.layout, self.value, self.method = replicas, layout, value, method
        return True

    def is_better(self, value: float, than: float) -> bool:
        """Whether a value is better by more than rounding."""
        grain = GRAIN * max(1.0, abs(than))
        if self.problem.objective == "min-hardware":
            return value < than - grain
        return value > than + grain

    def prefer(self, replicas: tuple[Replica, ...]) -> None:
        """Take a layout of the same value that is better in another way, if it holds."""
        if replicas == self.replicas or self.value is None:
            return
        layout = build_layout(self.problem, replicas)
        value = check.objective(self.problem, layout)
        if self.is_better(self.value, value) or check.violations(self.problem, layout):
            return
        self.replicas, self.layout, self.value = replicas, layout, value

    def holds(self, replicas: tuple[Replica, ...]) -> bool:
        """Whether a layout breaks nothing."""
        return not check.violations(self.problem, build_layout(self.problem, replicas))
