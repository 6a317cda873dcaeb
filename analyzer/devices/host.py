"""Samples a process tree: CPU time, memory, context switches, throttling."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from analyzer.devices import cgroup
from analyzer.devices.background import Background
from analyzer.devices.cgroup import Throttling, throttling
from profiles.measurement import HostUsage

PERIOD_S = 0.05
MEMORY_PERIOD_S = 0.2  # reading proportional set sizes makes the kernel walk page tables
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Sample:
    at_s: float
    user_s: float
    system_s: float
    switches: int
    throttling: Throttling
    memory_bytes: int | None  # None: not read this time
    by_program: dict[str, float]  # CPU seconds


class HostSampler(Background):
    """Samples a process tree from a thread, between `with` and the end of the block.

    `pids` gives the roots of the tree each time it is called, since a restart changes them.
    """

    def __init__(self, pids: Callable[[], list[int]]) -> None:
        super().__init__("host sampler")
        self._pids = pids
        self._samples: list[_Sample] = []
        self._ended: dict[int, tuple[float, float, int]] = {}  # CPU time of ended processes stays
        self._last: dict[int, tuple[float, float, int]] = {}
        self._programs: dict[int, str] = {}
        self._limit_cores: float | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._sample(with_memory=True)
        return super().__enter__()

    def window(self, start_s: float, end_s: float) -> HostUsage:
        """What was used between two instants of `time.monotonic`; memory is the peak."""
        self._sample(with_memory=True)
        samples = self._samples
        first = max((s for s in samples if s.at_s <= start_s), default=samples[0], key=_at)
        last = min((s for s in samples if s.at_s >= end_s), default=samples[-1], key=_at)
        span_s = max(last.at_s - first.at_s, 1e-9)
        user_s, system_s = last.user_s - first.user_s, last.system_s - first.system_s
        before, after = first.throttling, last.throttling
        periods = after.periods - before.periods
        within = [s for s in samples if first.at_s <= s.at_s <= last.at_s]
        memory = [s.memory_bytes for s in within if s.memory_bytes is not None]
        return HostUsage(
            cpu_cores=(user_s + system_s) / span_s,
            system_share=system_s / (user_s + system_s) if user_s + system_s > 0 else 0.0,
            memory_bytes=max(memory, default=samples[-1].memory_bytes or 0),
            context_switches_per_s=(last.switches - first.switches) / span_s,
            throttled_share=(after.throttled - before.throttled) / periods if periods > 0 else 0.0,
            throttled_s_per_s=max(0.0, after.held_s - before.held_s) / span_s,
            cores_by_process=_by_program(first, last, span_s),
            cpu_limit_cores=self._limit_cores,
        )

    def _run(self) -> None:
        memory_at_s = time.monotonic()
        while not self._stop.wait(PERIOD_S):
            due = time.monotonic() - memory_at_s >= MEMORY_PERIOD_S
            self._sample(with_memory=due)
            if due:
                memory_at_s = time.monotonic()

    def _sample(self, *, with_memory: bool) -> None:
        with self._lock:  # the thread samples, and so does `window`
            self._sample_now(with_memory)

    def _sample_now(self, with_memory: bool) -> None:
        tree = list(process_tree(self._pids()))
        now = {pid: used for pid in tree if (used := _used(pid)) is not None}
        for pid, used in self._last.items():
            if pid not in now:
                self._ended[pid] = used
        self._last = now
        every = [*now.values(), *self._ended.values()]
        user_s, system_s = sum(used[0] for used in every), sum(used[1] for used in every)
        switches = sum(used[2] for used in every)
        by_program: dict[str, float] = defaultdict(float)
        for pid, used in [*now.items(), *self._ended.items()]:
            if pid not in self._programs or (with_memory and pid in now):
                self._programs[pid] = program(pid)  # again: a new process is first its parent's
            by_program[self._programs[pid]] += used[0] + used[1]
        if with_memory and tree:
            self._limit_cores = cgroup.cpu_limit_cores(tree[0])
        self._samples.append(
            _Sample(
                time.monotonic(),
                user_s,
                system_s,
                switches,
                throttling(tree[0]) if tree else Throttling(),
                tree_memory_bytes(tree) if with_memory else None,
                dict(by_program),
            )
        )


def _at(sample: _Sample) -> float:
    return sample.at_s


def _by_program(first: _Sample, last: _Sample, span_s: float) -> tuple[tuple[str, float], ...]:
    cores = {
        name: (used_s - first.by_program.get(name, 0.0)) / span_s
        for name, used_s in last.by_program.items()
    }
    rows = [(name, value) for name, value in cores.items() if value > 0]
    return tuple(sorted(rows, key=lambda row: (-row[1], row[0])))


def program(pid: int) -> str:
    """The file name of a process's program; empty when the process is not visible."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return ""
    return line.decode(errors="replace").rpartition("/")[2]


def process_tree(roots: Iterable[int]) -> Iterator[int]:
    """The roots and all their descendants that are running."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in seen:
            continue
        seen.add(pid)
        yield pid
        for task in _directories(Path(f"/proc/{pid}/task")):
            try:
                words = (task / "children").read_text(encoding="ascii").split()
            except OSError:
                continue
            waiting += [int(word) for word in words]


def descends_from(pid: int, roots: Collection[int]) -> bool:
    """Whether a process is one of the roots or below one; false when it cannot be seen."""
    while pid > 0:
        if pid in roots:
            return True
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        pid = int(stat.rpartition(")")[2].split()[1])  # its parent
    return False


def tree_memory_bytes(pids: Iterable[int]) -> int:
    """Proportional set size of the processes and their descendants: shared pages count once."""
    return sum(_proportional_bytes(pid) for pid in set(process_tree(pids)))


def memory_in_use_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """RAM in use on this machine, in bytes, without what the kernel can reclaim."""
    rows = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
    amounts = {row[0]: int(row[1]) * 1024 for row in rows if len(row) > 1}
    return amounts["MemTotal:"] - amounts["MemAvailable:"]


def memory_limit_bytes() -> int:
    """RAM available here, in bytes: the machine's, or a control group's limit if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(total, cgroup.memory_limit_bytes() or total)


def _directories(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []


def _used(pid: int) -> tuple[float, float, int] | None:
    """User and system CPU seconds and context switches of a process; None when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        switches = sum(
            int(line.split()[1])
            for task in _directories(Path(f"/proc/{pid}/task"))
            for line in (task / "status").read_text(encoding="utf-8").splitlines()
            if "ctxt_switches" in line
        )
    except OSError:
        return None
    return int(fields[11]) / TICKS_PER_S, int(fields[12]) / TICKS_PER_S, switches


def _proportional_bytes(pid: int) -> int:
    for name in ("smaps_rollup", "status"):  # the second needs no permission, and is an upper bound
        try:
            text = Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith(("Pss:", "VmRSS:")):
                return int(line.split()[1]) * 1024
    return 0
