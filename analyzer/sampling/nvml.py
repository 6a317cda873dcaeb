"""A GPU, or a MIG slice of one, as a device: what NVML says of it.

Utilization is the share of time in which some kernel ran, memory utilization that in which memory
was read or written (NVML's `nvmlUtilization_t`): neither says how much of the GPU was filled. On
Hopper and newer the GPM counters do, and are kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from analyzer.sampling.device import Pids, Watch
from analyzer.sampling.gpu_watch import GpuWatch
from analyzer.sampling.host import HostSampler, process_tree
from profiles.device import DeviceType
from profiles.environment import Environment
from profiles.errors import InputError, SurroundingsError

SHORTEST_SPAN_S = 1.5  # utilization comes in windows of 1/6 to 1 s, of which it takes several

T = TypeVar("T")


@contextmanager
def gpus(choice: str = "all") -> Iterator[list[Gpu]]:
    """The chosen GPUs: `all`, or indices and UUIDs with commas between; MIG slices by UUID.

    Raises
    ------
    InputError
        A chosen GPU is not there.
    SurroundingsError
        There is no NVML, or it does not work; or a chosen GPU does not.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise SurroundingsError(f"no GPU can be read: NVML says: {error}") from None
    try:
        yield _chosen(choice, *_present(pynvml))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _chosen(choice: str, present: list[Gpu], broken: dict[str, str]) -> list[Gpu]:
    if choice == "all":
        if broken and not present:
            raise SurroundingsError("; ".join(broken.values()))
        return present
    chosen: list[Gpu] = []
    for word in dict.fromkeys(choice.split(",")):
        matches = [gpu for gpu in present if word in (gpu.uuid, gpu.index)]
        if not matches and word in broken:
            raise SurroundingsError(broken[word])
        if not matches:
            names = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in present)
            also = "".join(f"; {text}" for text in broken.values())
            raise InputError(f"no GPU is called {word!r}; there are {names or 'none'}{also}")
        chosen += [gpu for gpu in matches if gpu not in chosen]
    return chosen


def _present(nvml: Any) -> tuple[list[Gpu], dict[str, str]]:
    """Every whole GPU, of one in MIG mode its slices instead; and by index what fails, and how."""
    present: list[Gpu] = []
    broken: dict[str, str] = {}
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise SurroundingsError(f"no GPU can be read: NVML says: {error}") from None
    for index in range(count):
        try:
            present += _of_index(nvml, index)
        except SurroundingsError as error:
            broken[str(index)] = str(error)
        except nvml.NVMLError as error:
            broken[str(index)] = f"GPU {index}: NVML says: {error}"
    return present, broken


def _of_index(nvml: Any, index: int) -> list[Gpu]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    slices = _optional(nvml, partial(nvml.nvmlDeviceGetMaxMigDeviceCount, handle)) or 0
    mode = _optional(nvml, partial(nvml.nvmlDeviceGetMigMode, handle)) if slices else None
    if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return [Gpu(nvml, handle, str(index))]
    handles = [
        _optional(nvml, partial(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number))
        for number in range(slices)
    ]
    return [
        Gpu(nvml, part, f"{index}:{number}", parent=handle)
        for number, part in enumerate(handles)
        if part is not None
    ]


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
        """The device, its driver and its clocks now; a lost GPU has none."""
        nvml, whole = self.nvml, self.parent or self.handle
        sm = memory = None
        with suppress(nvml.NVMLError):
            sm = nvml.nvmlDeviceGetClockInfo(whole, nvml.NVML_CLOCK_SM)
            memory = nvml.nvmlDeviceGetClockInfo(whole, nvml.NVML_CLOCK_MEM)
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
        """Memory in bytes of processes that are surely not the server's, by process id.

        None are when the server's own are unknown (it is remote, or in another process namespace),
        nor is one that this process cannot see: it may be the server's under another number.
        """
        running = self.ask(lambda: self.nvml.nvmlDeviceGetComputeRunningProcesses(self.handle))
        roots = pids() if running else []
        if not running or not roots:
            return {}
        own = set(process_tree(roots))
        return {
            p.pid: p.usedGpuMemory or 0
            for p in running
            if p.pid not in own and Path(f"/proc/{p.pid}").exists()
        }

    @contextmanager
    def watch(self, pids: Pids) -> Iterator[Watch]:
        """Sample the GPU and the server's process tree in the background."""
        with self.errors(), ExitStack() as stack:
            host = stack.enter_context(HostSampler(pids))
            yield stack.enter_context(GpuWatch(self, pids, host))
