"""Which processes use a GPU, and which of them do not belong to the server.

NVML numbers processes as the host does, or, with drivers that know process namespaces, as the
namespace of the one who asks, and leaves out whatever is not in that (`os_find_ns_pid` of NVIDIA's
open kernel modules). Inside a container its numbers can therefore be trusted only when a process
of the server's is among them; otherwise no process is told apart, and the device's memory, less
what it held before, is the server's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from analyzer.devices.device import Pids
from analyzer.devices.host import descends_from
from analyzer.devices.nvml import NvmlDevice

KINDS = ("Compute", "Graphics", "MPSCompute")
VERSIONS = ("_v3", "_v2")  # drivers before 510 have no third version; the structs are the same
HOST_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in Linux's proc_ns.h

Memory = Mapping[int, int | None]  # bytes by process id; None: NVML does not tell, as on WDDM


@dataclass(frozen=True)
class Users:
    """Processes on a GPU: the server's, and those that are known not to be."""

    own: Memory = field(default_factory=dict)
    others: Memory = field(default_factory=dict)

    @property
    def own_bytes(self) -> int | None:
        """Memory that NVML reports for the server's processes; None when it does not."""
        known = [amount for amount in self.own.values() if amount is not None]
        return sum(known) if known and len(known) == len(self.own) else None

    @property
    def others_bytes(self) -> int:
        """Memory of the other processes, as far as NVML reports it."""
        return sum(amount or 0 for amount in self.others.values())


class ProcessList:
    """The processes of one GPU."""

    def __init__(self, gpu: NvmlDevice) -> None:
        self.gpu = gpu
        self.queries: list[Callable[[Any], Any]] = [
            query for kind in KINDS if (query := self._query(kind)) is not None
        ]

    def users(self, pids: Pids) -> Users:
        """Who uses the GPU now."""
        listed = self.listed()
        return tell_apart(listed, pids()) if listed else Users()

    def listed(self) -> dict[int, int | None]:
        """Every process that NVML shows, with what it holds in bytes."""
        listed: dict[int, int | None] = {}
        for query in self.queries:
            for process in self.gpu.ask(partial(query, self.gpu.handle)) or []:
                # A process that computes and draws is in both lists, with all that it holds.
                known = listed.get(process.pid)
                listed[process.pid] = process.usedGpuMemory if known is None else known
        return listed

    def _query(self, kind: str) -> Callable[[Any], Any] | None:
        nvml = self.gpu.nvml
        for version in VERSIONS:
            query: Callable[[Any], Any] = getattr(
                nvml, f"nvmlDeviceGet{kind}RunningProcesses{version}"
            )
            try:
                query(self.gpu.handle)
            except nvml.NVMLError as error:
                if error.value == nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                    continue
                if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
                    raise
                return None  # not supported, or not for us
            return query
        return None


def tell_apart(listed: Memory, roots: Collection[int], *, nested: bool | None = None) -> Users:
    """The server's processes and the others, by the roots of its process tree.

    Without roots (a remote server) nothing can be told apart; nor, in a process namespace of our
    own (`nested`, found out when not given), by numbers that may be the host's. A process that
    this one cannot see is no one's: it may be the server's under another number.
    """
    own = {pid: amount for pid, amount in listed.items() if roots and descends_from(pid, roots)}
    if not roots or (not own and (in_own_namespace() if nested is None else nested)):
        return Users()
    others = {pid: amount for pid, amount in listed.items() if pid not in own and _lives(pid)}
    return Users(own, others)


def in_own_namespace() -> bool:
    """Whether this process runs in a PID namespace of its own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) != HOST_NAMESPACE
    except OSError:
        return True


def described(others: Iterable[tuple[int, int | None, float | None]]) -> str:
    """Processes in words, each with its memory and its share of the GPU's time as far as known."""
    return ", ".join(
        f"{pid} ("
        + ", ".join(
            word
            for word in (
                _name(pid),
                "memory unknown" if amount is None else f"{amount / 2**20:.0f} MiB",
                "" if percent is None else f"busy {percent:.0f} % of the time",
            )
            if word
        )
        + ")"
        for pid, amount, percent in others
    )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # another user's
    except OSError:
        return False
    return True
