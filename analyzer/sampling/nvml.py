"""A GPU, or a MIG slice of one, as a device: what NVML says of it.

Utilization is the share of time in which some kernel ran, memory utilization that in which memory
was read or written (NVML's `nvmlUtilization_t`): neither says how much of the GPU was filled. On
Hopper and newer the GPM counters do, and are kept beside them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from analyzer.sampling.device import DeviceFigures, Pids, Watch
from analyzer.sampling.host import HostSampler, process_tree
from profiles.device import DeviceType
from profiles.environment import Environment
from profiles.errors import InputError, SurroundingsError

SHORTEST_SPAN_S = 1.5  # utilization comes in windows of 1/6 to 1 s, of which it takes several
PERIOD_S = 0.04  # 25 Hz
GPM_PERIOD_S = 0.25  # two samples must lie 100 ms apart at the least
GPM_SAMPLES = 100
THROTTLES = {  # bits of NVML's clocks event reasons that slow a measurement down
    0x0000000000000004: "the power cap",
    0x0000000000000008: "a hardware slowdown",
    0x0000000000000020: "heat (software)",
    0x0000000000000040: "heat (hardware)",
    0x0000000000000080: "a power brake",
}

T = TypeVar("T")


@contextmanager
def gpus(choice: str = "all") -> Iterator[list[Gpu]]:
    """The chosen GPUs: `all`, or indices and UUIDs with commas between; MIG slices by UUID.

    Raises
    ------
    InputError
        A chosen GPU is not there.
    SurroundingsError
        There is no NVML, or it does not work.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise SurroundingsError(f"no GPU can be read: NVML says: {error}") from None
    try:
        present = list(_present(pynvml))
        if choice == "all":
            yield present
            return
        chosen = []
        for word in choice.split(","):
            matches = [gpu for gpu in present if word in (gpu.uuid, gpu.index)]
            if not matches:
                names = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in present)
                raise InputError(f"no GPU is called {word!r}; there are {names or 'none'}")
            chosen += matches
        yield chosen
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _present(nvml: Any) -> Iterator[Gpu]:
    """Every whole GPU; of one in MIG mode its slices instead."""
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        slices = _optional(nvml, partial(nvml.nvmlDeviceGetMaxMigDeviceCount, handle)) or 0
        mode = _optional(nvml, partial(nvml.nvmlDeviceGetMigMode, handle)) if slices else None
        if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            yield Gpu(nvml, handle, str(index))
            continue
        for number in range(slices):
            part = _optional(
                nvml, partial(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            )
            if part is not None:
                yield Gpu(nvml, part, f"{index}:{number}", parent=handle)


def _optional(nvml: Any, call: Callable[[], T]) -> T | None:
    """What NVML answers; None where it does not support it, or does not let us see it."""
    try:
        return call()
    except nvml.NVMLError as error:
        if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class Gpu:
    """One device; see `device.DeviceSampler`."""

    shortest_span_s = SHORTEST_SPAN_S

    def __init__(self, nvml: Any, handle: Any, index: str, parent: Any = None) -> None:
        self.nvml, self.handle, self.index, self.parent = nvml, handle, index, parent
        with self.errors():
            self.uuid = _text(nvml.nvmlDeviceGetUUID(handle))
            name = _text(nvml.nvmlDeviceGetName(handle))
            self.driver = _text(nvml.nvmlSystemGetDriverVersion())
            limit_mw = self.ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
            self.device_type = DeviceType(
                name=name,
                memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
                kind="mig" if parent is not None else "gpu",
                power_w=limit_mw / 1000 if limit_mw else None,
            )

    def ask(self, call: Callable[[], T]) -> T | None:
        """What NVML answers, None where it does not."""
        return _optional(self.nvml, call)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """NVML's errors become ours, with the GPU's name."""
        try:
            yield
        except self.nvml.NVMLError as error:
            name = getattr(self, "uuid", self.index)
            raise SurroundingsError(f"GPU {name}: NVML says: {error}") from None

    def environment(self, triton: str) -> Environment:
        """The device, its driver and its clocks now."""
        nvml, whole = self.nvml, self.parent or self.handle
        sm = self.ask(lambda: nvml.nvmlDeviceGetClockInfo(whole, nvml.NVML_CLOCK_SM))
        memory = self.ask(lambda: nvml.nvmlDeviceGetClockInfo(whole, nvml.NVML_CLOCK_MEM))
        return Environment(
            triton=triton,
            device_uuid=self.uuid,
            driver=self.driver,
            clocks=f"SM {sm} MHz, memory {memory} MHz" if sm and memory else "",
        )

    def memory_bytes(self, pids: Pids) -> int:
        """Memory in use on the device, what other programs are seen to hold left out."""
        with self.errors():
            return self.used_bytes() - sum(self.foreign(pids).values())

    def used_bytes(self) -> int:
        """Memory in use on the device; the driver's reserve is not, where NVML tells it apart."""
        nvml = self.nvml
        second = self.ask(lambda: nvml.nvmlDeviceGetMemoryInfo(self.handle, nvml.nvmlMemory_v2))
        return int((second or nvml.nvmlDeviceGetMemoryInfo(self.handle)).used)

    def foreign(self, pids: Pids) -> dict[int, int]:
        """Memory in bytes of visible processes that are not the server's, by process id."""
        running = self.ask(lambda: self.nvml.nvmlDeviceGetComputeRunningProcesses(self.handle))
        if not running:
            return {}
        own = set(process_tree(pids()))
        return {p.pid: p.usedGpuMemory or 0 for p in running if p.pid not in own}

    @contextmanager
    def watch(self, pids: Pids) -> Iterator[Watch]:
        """Sample the GPU and the server's process tree in the background."""
        with ExitStack() as stack:
            host = stack.enter_context(HostSampler(pids))
            yield stack.enter_context(GpuWatch(self, pids, host))


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
    gpm: list[tuple[float, Any]] = field(default_factory=list)
    foreign: set[int] = field(default_factory=set)


class GpuWatch:
    """Samples one GPU from a thread until its `with` block ends."""

    def __init__(self, gpu: Gpu, pids: Pids, host: HostSampler) -> None:
        self.gpu, self.pids, self.host = gpu, pids, host
        self.series = _Series()
        self.failure: Exception | None = None
        self._epoch_s = time.time() - time.monotonic()  # NVML's samples carry wall-clock times
        self._seen_us: dict[str, int] = {}
        self._has_gpm = bool(self._gpm_supported())
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
        for _, sample in self.series.gpm:
            with suppress(self.gpu.nvml.NVMLError):
                self.gpu.nvml.nvmlGpmSampleFree(sample)

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
        return DeviceFigures(
            memory_bytes=max(s.used_bytes for s in inside),
            utilization_percent=utilization or 0.0,
            memory_utilization_percent=self._utilization(
                "memory", start_s, end_s, [s.memory_utilization for s in inside]
            ),
            power_w=power_w,
            host=self.host.window(start_s, end_s),
            notes=tuple(self._notes(inside, utilization)),
            extra=self._gpm_figures(start_s, end_s),
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
            yield f"NVML gives no utilization of {self.gpu.uuid} (as of MIG slices): 0 stands"
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
            power_mw = gpu.ask(lambda: nvml.nvmlDeviceGetPowerUsage(whole))
            energy_mj = gpu.ask(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(whole))
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
            self._sample_gpm()

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

    def _gpm_supported(self) -> int | None:
        if self.gpu.parent is not None:
            return None
        nvml = self.gpu.nvml
        support = self.gpu.ask(lambda: nvml.nvmlGpmQueryDeviceSupport(self.gpu.handle))
        return support.isSupportedDevice if support else None

    def _sample_gpm(self) -> None:
        if not self._has_gpm or len(self.series.gpm) >= GPM_SAMPLES:
            return
        now_s = time.monotonic()
        if self.series.gpm and now_s - self.series.gpm[-1][0] < GPM_PERIOD_S:
            return
        nvml = self.gpu.nvml
        sample = self.gpu.ask(nvml.nvmlGpmSampleAlloc)
        if sample is None:
            return
        if self.gpu.ask(lambda: nvml.nvmlGpmSampleGet(self.gpu.handle, sample)) is None:
            nvml.nvmlGpmSampleFree(sample)
            self._has_gpm = False
            return
        self.series.gpm.append((now_s, sample))

    def _gpm_figures(self, start_s: float, end_s: float) -> dict[str, float]:
        """How much of the GPU the kernels filled, in percent, from the counters' differences."""
        inside = [sample for at_s, sample in self.series.gpm if start_s <= at_s <= end_s]
        if len(inside) < 2:
            return {}
        nvml = self.gpu.nvml
        wanted = {
            "sm_utilization_percent": nvml.NVML_GPM_METRIC_SM_UTIL,
            "sm_occupancy_percent": nvml.NVML_GPM_METRIC_SM_OCCUPANCY,
            "dram_bandwidth_percent": nvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
        }
        get = nvml.c_nvmlGpmMetricsGet_t()
        get.version = nvml.NVML_GPM_METRICS_GET_VERSION
        get.numMetrics = len(wanted)
        get.sample1, get.sample2 = inside[0], inside[-1]
        for i, metric in enumerate(wanted.values()):
            get.metrics[i].metricId = metric
        if self.gpu.ask(lambda: nvml.nvmlGpmMetricsGet(get)) is None:
            return {}
        return {
            name: float(get.metrics[i].value)
            for i, name in enumerate(wanted)
            if get.metrics[i].nvmlReturn == nvml.NVML_SUCCESS
        }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
