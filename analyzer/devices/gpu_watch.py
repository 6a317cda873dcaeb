"""Samples one GPU from a thread while a load runs.

Memory and processes are sampled often, since a peak may be short; what the driver averages or
counts itself (utilization, energy, clocks) rarely, since each query costs CPU time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from analyzer.devices.background import Background
from analyzer.devices.device import DeviceFigures, Pids
from analyzer.devices.gpm import GpmCounters
from analyzer.devices.gpu_processes import ProcessList, described
from analyzer.devices.host import HostSampler
from analyzer.devices.nvml import NvmlDevice

PERIOD_S = 0.04  # 25 Hz
READING_PERIOD_S = 0.2
PROCESS_PERIOD_S = 1.0  # the driver's window for the utilization of a process is up to a second
SHORT_S = 0.3  # less than this at the end of a span says nothing of a process
HIDDEN_BYTES = 256 * 2**20  # more than a driver holds for itself
THROTTLES = {  # bits of NVML's clocks event reasons that slow a measurement down
    0x0000000000000004: "the power cap",
    0x0000000000000008: "a hardware slowdown",
    0x0000000000000020: "heat (software)",
    0x0000000000000040: "heat (hardware)",
    0x0000000000000080: "a power brake",
}


@dataclass
class _Held:
    """A sample of memory use."""

    at_s: float
    used_bytes: int  # less what others are seen to hold
    own_bytes: int | None  # that NVML knows of the server's processes


@dataclass
class _Reading:
    at_s: float
    utilization: float | None
    memory_utilization: float | None
    power_w: float | None
    energy_j: float | None
    sm_mhz: float | None
    celsius: float | None
    throttles: int


@dataclass
class _Shares:
    """Each process's GPU utilization over a period, in percent."""

    at_s: float
    lasted_s: float
    percent: dict[int, float]


@dataclass
class _Series:
    held: list[_Held] = field(default_factory=list)
    readings: list[_Reading] = field(default_factory=list)
    buffered: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # (at_s, percent)
    shares: list[_Shares] = field(default_factory=list)
    own: set[int] = field(default_factory=set)
    others: dict[int, int | None] = field(default_factory=dict)  # peak memory by process id
    gaps: int = 0  # samples that NVML did not give


class GpuWatch(Background):
    """Samples one GPU from a thread until its `with` block ends."""

    def __init__(
        self,
        gpu: NvmlDevice,
        processes: ProcessList,
        pids: Pids,
        host: HostSampler,
        hidden_bytes: int = 0,  # in use before the server started
    ) -> None:
        super().__init__("nvml sampler")
        self.gpu, self.processes, self.pids, self.host = gpu, processes, pids, host
        self.hidden_bytes = hidden_bytes
        self.series = _Series()
        self.failure: Exception | None = None
        self._epoch_s = time.time() - time.monotonic()  # NVML's samples carry wall-clock times
        self._seen_us: dict[str, int] = {}
        self._shares_us, self._shares_at_s = int(time.time() * 1e6), time.monotonic()
        with gpu.errors():
            self.gpm = GpmCounters(gpu)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        with self.gpu.errors():
            self._sample()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.gpm.close()

    def figures(self, start_s: float, end_s: float) -> DeviceFigures:
        """What was used between two instants; raises SurroundingsError when the GPU is lost."""
        with self.gpu.errors():
            if isinstance(self.failure, self.gpu.nvml.NVMLError_GpuIsLost):
                raise self.failure
            self._sample(finish=True)
        held = [s for s in self.series.held if start_s <= s.at_s <= end_s] or self.series.held[-1:]
        inside = [s for s in self.series.readings if start_s <= s.at_s <= end_s]
        inside = inside or self.series.readings[-1:]
        utilization = self._utilization("gpu", start_s, end_s, [s.utilization for s in inside])
        counters = self.gpm.figures(start_s, end_s)
        if utilization is None:  # as of a MIG slice, whose counters tell the same where it has them
            utilization = counters.get("graphics_utilization_percent")
        shares = self._shares(start_s, end_s)
        extra: dict[str, float | None] = {
            "process_memory_bytes": max(
                (s.own_bytes for s in held if s.own_bytes is not None), default=None
            ),
            "process_utilization_percent": (
                sum(shares.get(pid, 0.0) for pid in self.series.own) if shares else None
            ),
            "sm_clock_mhz": _mean([s.sm_mhz for s in inside if s.sm_mhz is not None]),
            "temperature_c": max(
                (s.celsius for s in inside if s.celsius is not None), default=None
            ),
            **counters,
        }
        return DeviceFigures(
            memory_bytes=max(0, *(s.used_bytes for s in held)),
            utilization_percent=utilization,
            memory_utilization_percent=self._utilization(
                "memory", start_s, end_s, [s.memory_utilization for s in inside]
            ),
            power_w=_power_w(inside),
            host=self.host.window(start_s, end_s),
            notes=tuple(self._notes(inside, utilization, shares)),
            extra={name: value for name, value in extra.items() if value is not None},
        )

    def _utilization(
        self, kind: str, start_s: float, end_s: float, polled: Sequence[float | None]
    ) -> float | None:
        """Mean over the span, of the driver's buffered samples or else of what was polled.

        The first sample is left out: it tells of the time before the span.
        """
        buffered = [v for at_s, v in self.series.buffered.get(kind, []) if start_s <= at_s <= end_s]
        if len(buffered) >= 2:
            return _mean(buffered[1:])
        return _mean([value for value in polled[1:] or polled if value is not None])

    def _shares(self, start_s: float, end_s: float) -> dict[int, float]:
        """Each process's mean share of the GPU's time in percent; empty when no process had any."""
        rows = [s for s in self.series.shares if s.at_s - s.lasted_s < end_s and s.at_s > start_s]
        lasted_s = sum(row.lasted_s for row in rows)
        busy = {pid for row in rows for pid in row.percent}
        return {
            pid: sum(row.percent.get(pid, 0.0) * row.lasted_s for row in rows) / lasted_s
            for pid in sorted(busy)
        }

    def _notes(
        self, inside: Sequence[_Reading], utilization: float | None, shares: dict[int, float]
    ) -> Iterator[str]:
        gpu, others = self.gpu, self.series.others
        if others:
            words = described((pid, others[pid], shares.get(pid)) for pid in sorted(others))
            yield f"other processes used {gpu.uuid} during the measurement: {words}"
        if self.hidden_bytes > HIDDEN_BYTES:
            yield (
                f"{self.hidden_bytes / 2**20:.0f} MiB of {gpu.uuid} were in use before Triton "
                "started, by processes that are not visible from here"
            )
        if gpu.shares_memory:
            yield f"{gpu.uuid} shares the host's memory: all RAM in use on the host is counted"
        if utilization is None:
            yield f"NVML reports no utilization for {gpu.uuid} (usual for MIG slices)"
        if self.series.gaps:
            yield f"NVML failed {self.series.gaps} times: a memory peak may have been missed"
        held_down = [s.throttles & sum(THROTTLES) for s in inside]
        words = ", ".join(w for bit, w in THROTTLES.items() if any(s & bit for s in held_down))
        if words:
            share = sum(map(bool, held_down)) / len(held_down)
            yield f"the GPU's clocks were throttled {share:.0%} of the time by {words}"

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self._sample()
            except self.gpu.nvml.NVMLError as error:
                self.failure = error
                self.series.gaps += 1
                if isinstance(error, self.gpu.nvml.NVMLError_GpuIsLost):
                    return  # it comes back with a reset only

    def _sample(self, *, finish: bool = False) -> None:
        with self._lock:  # the thread samples, and so does `figures`
            users = self.processes.users(self.pids)
            self.series.own |= set(users.own)
            for pid, amount in users.others.items():
                known = self.series.others.get(pid)
                self.series.others[pid] = max(amount or 0, known or 0) if amount or known else None
            used_bytes = self.gpu.used_bytes() - users.others_bytes
            self.series.held.append(_Held(time.monotonic(), used_bytes, users.own_bytes))
            readings = self.series.readings
            if finish or not readings or time.monotonic() - readings[-1].at_s >= READING_PERIOD_S:
                readings.append(self._read())
                self._read_buffer("gpu", self.gpu.nvml.NVML_GPU_UTILIZATION_SAMPLES)
                self._read_buffer("memory", self.gpu.nvml.NVML_MEMORY_UTILIZATION_SAMPLES)
            since_s = time.monotonic() - self._shares_at_s
            if since_s >= (SHORT_S if finish else PROCESS_PERIOD_S):
                self._read_shares(since_s)
            self.gpm.sample()

    def _read(self) -> _Reading:
        gpu, nvml = self.gpu, self.gpu.nvml
        rates = gpu.ask(lambda: nvml.nvmlDeviceGetUtilizationRates(gpu.handle))
        # Power of the whole GPU would be wrong for a slice: NVML gives none, and so do we.
        power_mw = gpu.ask(lambda: nvml.nvmlDeviceGetPowerUsage(gpu.handle))
        energy_mj = gpu.ask(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle))
        reasons = gpu.ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu.whole))
        if reasons is None:  # its name before driver 535
            reasons = gpu.ask(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu.whole))
        return _Reading(
            at_s=time.monotonic(),
            utilization=float(rates.gpu) if rates else None,
            memory_utilization=float(rates.memory) if rates else None,
            power_w=power_mw / 1000 if power_mw is not None else None,
            energy_j=energy_mj / 1000 if energy_mj is not None else None,
            sm_mhz=gpu.ask(lambda: nvml.nvmlDeviceGetClockInfo(gpu.whole, nvml.NVML_CLOCK_SM)),
            celsius=gpu.ask(
                lambda: nvml.nvmlDeviceGetTemperature(gpu.whole, nvml.NVML_TEMPERATURE_GPU)
            ),
            throttles=int(reasons or 0),
        )

    def _read_buffer(self, kind: str, what: int) -> None:
        """Take the driver's buffered samples that are new; each belongs to a window of its own."""
        nvml, since_us = self.gpu.nvml, self._seen_us.get(kind, 0)
        answer = self.gpu.ask(lambda: nvml.nvmlDeviceGetSamples(self.gpu.handle, what, since_us))
        if answer is None:
            return
        rows = self.series.buffered.setdefault(kind, [])
        for sample in answer[1]:
            if sample.timeStamp > since_us:
                self._seen_us[kind] = max(self._seen_us.get(kind, 0), sample.timeStamp)
                if sample.sampleValue.uiVal <= 100:  # else it is not valid
                    rows.append((sample.timeStamp / 1e6 - self._epoch_s, sample.sampleValue.uiVal))

    def _read_shares(self, since_s: float) -> None:
        """Take the processes' utilization since the last time; NVML finds none when all idle."""
        nvml, since_us = self.gpu.nvml, self._shares_us
        rows = self.gpu.ask(lambda: nvml.nvmlDeviceGetProcessUtilization(self.gpu.handle, since_us))
        self._shares_at_s = time.monotonic()
        percent: dict[int, float] = {}
        for row in rows or []:
            percent[row.pid] = max(percent.get(row.pid, 0.0), float(row.smUtil))
        self._shares_us = max((row.timeStamp for row in rows or []), default=int(time.time() * 1e6))
        self.series.shares.append(_Shares(self._shares_at_s, since_s, percent))


def _power_w(inside: Sequence[_Reading]) -> float | None:
    """Mean power: of the energy counter where it moved, else of the readings."""
    elapsed_s = inside[-1].at_s - inside[0].at_s
    energy_j = [s.energy_j for s in inside if s.energy_j is not None]
    if len(energy_j) == len(inside) > 1 and elapsed_s > 0.2 and energy_j[-1] > energy_j[0]:
        return (energy_j[-1] - energy_j[0]) / elapsed_s
    return _mean([s.power_w for s in inside if s.power_w is not None])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
