"""Limits and throttling by the control groups that a process is in, of version 1 and version 2.

Files and their meaning: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/ of the Linux kernel.
A limit of any group above counts as well; inside a container the outermost that can be seen is the
container's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
UNLIMITED_BYTES = 2**62  # version 1 writes its largest number for "no limit"


@dataclass(frozen=True)
class Throttling:
    """Totals since the group was made; zeros where no quota is set."""

    periods: int = 0
    throttled: int = 0  # of the periods, those in which threads were held
    held_s: float = 0.0  # for how long, summed over processors


def throttling(pid: int | str, proc: Path = PROC) -> Throttling:
    """Throttling of the nearest group that has a CPU quota."""
    for group in groups(pid, "cpu", proc):
        if _quota_cores(group) is None:
            continue
        lines = (line.split() for line in _text(group / "cpu.stat").splitlines())
        found = {words[0]: int(words[1]) for words in lines if len(words) == 2}
        held_s = found.get("throttled_usec", 0) / 1e6 + found.get("throttled_time", 0) / 1e9
        return Throttling(found.get("nr_periods", 0), found.get("nr_throttled", 0), held_s)
    return Throttling()


def cpu_limit_cores(pid: int | str = "self", proc: Path = PROC) -> float | None:
    """The lowest CPU quota of all groups, in cores; None without one."""
    quotas = [_quota_cores(group) for group in groups(pid, "cpu", proc)]
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit_bytes(pid: int | str = "self", proc: Path = PROC) -> int | None:
    """The lowest memory limit of all groups, in bytes; None without one."""
    limits = [
        _number(_text(group / name))
        for group in groups(pid, "memory", proc)
        for name in ("memory.max", "memory.limit_in_bytes")
    ]
    return min((limit for limit in limits if 0 < limit < UNLIMITED_BYTES), default=None)


def groups(pid: int | str, controller: str, proc: Path = PROC) -> Iterator[Path]:
    """The directories of a process's group and those above it, as far as they can be seen here."""
    mounts: dict[str, Path] = {}  # by controller; that of version 2 is ""
    for line in _text(proc / "mounts").splitlines():
        words = line.split()
        if len(words) > 3 and words[2] == "cgroup2":
            mounts.setdefault("", Path(words[1]))
        elif len(words) > 3 and words[2] == "cgroup":
            for option in words[3].split(","):
                mounts.setdefault(option, Path(words[1]))
    paths = {}
    for line in _text(proc / str(pid) / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for name in controllers.split(","):
            paths[name] = path.strip("/")
    version = controller if controller in mounts and controller in paths else ""
    if version not in mounts or version not in paths:
        return
    # A path as the host sees it, in a container that does not: only its root is there.
    group = mounts[version] / paths[version]
    while True:
        if group.is_dir():
            yield group
        if group == mounts[version] or ".." in group.parts:
            return
        group = group.parent


def _quota_cores(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").strip().partition(" ")
    if not period:
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    microseconds, per = _number(quota), _number(period)
    return microseconds / per if microseconds > 0 and per > 0 else None


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # not there, or "max"
        return -1


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
