"""A CPU host as a device: its memory is RAM, its utilization is cores."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from analyzer.devices import host
from analyzer.devices.device import DeviceFigures, Pids, Watch, seldom
from profiles.device import DeviceType
from profiles.environment import Environment


class CpuHost:
    """This machine, as far as this process may use it; see `device.DeviceSampler`."""

    shortest_span_s = 0.5  # CPU time is counted in ticks of 10 ms

    def __init__(self, cpus: Sequence[int] = ()) -> None:
        # The processors that the server is pinned to are the host; else all of this process's.
        self.cores = len(set(cpus)) or len(os.sched_getaffinity(0))
        self.device_type = DeviceType(
            name=f"{cpu_model()} ({self.cores} cores)",
            memory_bytes=host.memory_limit_bytes(),
            kind="cpu",
            cores=self.cores,
        )

    def environment(self, triton: str) -> Environment:
        return Environment(triton=triton, cpu=self.device_type.name)

    def memory_bytes(self, pids: Pids) -> int:
        return host.tree_memory_bytes(pids())

    @contextmanager
    def watch(self, pids: Pids) -> Iterator[Watch]:
        with host.HostSampler(seldom(pids)) as sampler:
            yield _CpuWatch(sampler, self.cores)


class _CpuWatch:
    def __init__(self, sampler: host.HostSampler, cores: int) -> None:
        self.sampler, self.cores = sampler, cores

    def figures(self, start_s: float, end_s: float) -> DeviceFigures:
        usage = self.sampler.window(start_s, end_s)
        return DeviceFigures(
            memory_bytes=usage.memory_bytes,
            utilization_percent=100 * usage.cpu_cores / self.cores,
            host=usage,
        )


def cpu_model() -> str:
    """The CPU's model name as the kernel says it, else the machine's architecture."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
