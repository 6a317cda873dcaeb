"""One GPU watched from a thread while a load runs: memory, utilization, power, clocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from analyzer.sampling.device import DeviceFigures, Pids
from analyzer.sampling.gpm import GpmCounters
from analyzer.sampling.host import HostSampler

if TYPE_CHECKING:
    from analyzer.sampling.nvml import Gpu

PERIOD_S = 0.04  # 25 Hz
THROTTLES = {  # bits of NVML's clocks event reasons that slow a measurement down
    0x0000000000000004: "the power cap",
    0x0000000000000008: "a hardware slowdown",
    0x0000000000000020: "heat (software)",
    0x0000000000000040: "heat (hardware)",
    0x0000000000000080: "a power brake",
}


@dataclass
class _Sample:
    at_s: float
    used_bytes: int
    utilization: float | None
    memory_utilization: float | None
    power_w: float | None
    energy_j: float | None
    throttles: int


@dataclass
class _Series:
    samples: list[_Sample] = field(default_factory=list)
    buffered: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # (at_s, percent)
    foreign: set[int] = field(default_factory=set)


class GpuWatch:
    """Samples one GPU from a thread until its `with` block ends."""

    def __init__(self, gpu: Gpu, pids: Pids, host: HostSampler) -> None:
        self.gpu, self.pids, self.host = gpu, pids, host
        self.series = _Series()
        self.failure: Exception | None = None
        self._epoch_s = time.time() - time.monotonic()  # NVML's samples carry wall-clock times
        self._seen_us: dict[str, int] = {}
        with gpu.errors():
            self.gpm = GpmCounters(gpu)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="nvml sampler", daemon=True)

    def __enter__(self) -> GpuWatch:
        with self.gpu.errors():
            self._sample()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.gpm.close()

    def figures(self, start_s: float, end_s: float) -> DeviceFigures:
        """What was used between two instants; raises SurroundingsError when the GPU is lost."""
        with self.gpu.errors():
            if self.failure is None:
                self._sample()
            if self.failure is not None:
                raise self.failure
        inside = [s for s in self.series.samples if start_s <= s.at_s <= end_s]
        inside = inside or self.series.samples[-1:]
        elapsed_s = inside[-1].at_s - inside[0].at_s
        energy_j = [s.energy_j for s in inside if s.energy_j is not None]
        if len(energy_j) > 1 and elapsed_s > 0.2 and energy_j[-1] > energy_j[0]:
            power_w: float | None = (energy_j[-1] - energy_j[0]) / elapsed_s
        else:
            power_w = _mean([s.power_w for s in inside if s.power_w is not None])
        utilization = self._utilization("gpu", start_s, end_s, [s.utilization for s in inside])
        counters = self.gpm.figures(start_s, end_s)
        if utilization is None:  # as of a MIG slice, whose counters tell the same where it has them
            utilization = counters.get("graphics_utilization_percent")
        return DeviceFigures(
            memory_bytes=max(s.used_bytes for s in inside),
            utilization_percent=utilization,
            memory_utilization_percent=self._utilization(
                "memory", start_s, end_s, [s.memory_utilization for s in inside]
            ),
            power_w=power_w,
            host=self.host.window(start_s, end_s),
            notes=tuple(self._notes(inside, utilization)),
            extra=counters,
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

    def _notes(self, inside: Sequence[_Sample], utilization: float | None) -> Iterator[str]:
        if self.series.foreign:
            pids = ", ".join(map(str, sorted(self.series.foreign)))
            yield f"other processes used {self.gpu.uuid} meanwhile: {pids}"
        if utilization is None:
            yield f"NVML gives no utilization of {self.gpu.uuid} (as of most MIG slices)"
        reasons = 0
        for sample in inside:
            reasons |= sample.throttles
        words = [text for bit, text in THROTTLES.items() if reasons & bit]
        if words:
            yield f"the GPU's clocks were held down by {', '.join(words)}"

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self._sample()
            except self.gpu.nvml.NVMLError as error:
                self.failure = error
                return

    def _sample(self) -> None:
        gpu, nvml = self.gpu, self.gpu.nvml
        whole = gpu.parent or gpu.handle
        with self._lock:
            foreign = gpu.foreign(self.pids)
            self.series.foreign |= set(foreign)
            rates = gpu.ask(lambda: nvml.nvmlDeviceGetUtilizationRates(gpu.handle))
            # Power is the whole GPU's: NVML gives none of a slice, and so do we.
            power_mw = gpu.ask(lambda: nvml.nvmlDeviceGetPowerUsage(gpu.handle))
            energy_mj = gpu.ask(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle))
            reasons = gpu.ask(lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(whole))
            self.series.samples.append(
                _Sample(
                    time.monotonic(),
                    gpu.used_bytes() - sum(foreign.values()),
                    float(rates.gpu) if rates else None,
                    float(rates.memory) if rates else None,
                    power_mw / 1000 if power_mw is not None else None,
                    energy_mj / 1000 if energy_mj is not None else None,
                    int(reasons or 0),
                )
            )
            self._read_buffer("gpu", nvml.NVML_GPU_UTILIZATION_SAMPLES)
            self._read_buffer("memory", nvml.NVML_MEMORY_UTILIZATION_SAMPLES)
            self.gpm.sample()

    def _read_buffer(self, kind: str, what: int) -> None:
        """Take the driver's buffered samples that are new; each belongs to a window of its own."""
        nvml, since_us = self.gpu.nvml, self._seen_us.get(kind, 0)
        answer = self.gpu.ask(lambda: nvml.nvmlDeviceGetSamples(self.gpu.handle, what, since_us))
        if answer is None:
            return
        rows = self.series.buffered.setdefault(kind, [])
        for sample in answer[1]:
            if sample.timeStamp > since_us:
                rows.append((sample.timeStamp / 1e6 - self._epoch_s, sample.sampleValue.uiVal))
                self._seen_us[kind] = max(self._seen_us.get(kind, 0), sample.timeStamp)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
