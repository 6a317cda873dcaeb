"""A GPU, or a MIG slice of one, as a device to measure on; read through NVML.

Utilization is the share of time in which some kernel ran, memory utilization that in which memory
was read or written (NVML's `nvmlUtilization_t`): neither says how much of the GPU was filled. On
Hopper and newer the GPM counters do, and are kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from analyzer.devices import host
from analyzer.devices.device import Pids, Watch, seldom
from analyzer.devices.expected_gpu import allow_cpu
from analyzer.devices.gpu_processes import ProcessList
from analyzer.devices.gpu_watch import GpuWatch
from analyzer.devices.nvml import NvmlDevice, optional
from profiles.environment import Environment
from profiles.errors import InputError, SurroundingsError

SHORTEST_SPAN_S = 1.5  # utilization comes in windows of 1/6 to 1 s, of which it takes several


@contextmanager
def open_gpus(choice: str = "all") -> Iterator[list[Gpu]]:
    """The chosen GPUs: `all`, or indices and UUIDs with commas between; MIG slices by UUID.

    `auto` is all of them, too, and may be none, on a machine that has no GPU; `first` is one.

    Raises
    ------
    InputError
        A chosen GPU is not there.
    SurroundingsError
        There is no NVML, or it does not work; or a chosen GPU does not. With `auto`: this machine
        or container was given a GPU or slice, and none can be read.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        reason = f"no GPU can be read: NVML error: {error}"
        if choice not in {"auto", "first"}:
            raise SurroundingsError(reason) from None
        allow_cpu(choice, reason)
        yield []
        return
    try:
        yield _chosen(choice, *list_gpus(pynvml))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _chosen(choice: str, found: list[Gpu], broken: dict[str, str]) -> list[Gpu]:
    if choice in {"all", "auto", "first"}:
        if broken and not found:
            raise SurroundingsError("; ".join(broken.values()))
        if choice != "all" and not found:
            allow_cpu(choice, "NVML lists no GPU and no MIG slice")
        return found[:1] if choice == "first" else found
    chosen: list[Gpu] = []
    for word in dict.fromkeys(choice.split(",")):
        matches = [gpu for gpu in found if word in (gpu.uuid, gpu.index)]
        if not matches and word in broken:
            raise SurroundingsError(broken[word])
        if not matches:
            names = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in found)
            also = "".join(f"; {text}" for text in broken.values())
            raise InputError(f"Unknown GPU {word!r}. GPUs here: {names or 'none'}{also}.")
        chosen += [gpu for gpu in matches if gpu not in chosen]
    return chosen


def list_gpus(nvml: Any) -> tuple[list[Gpu], dict[str, str]]:
    """All GPUs (in MIG mode their slices), and the errors of those that fail, by index.

    NVML has been initialized. Raises SurroundingsError when it does not even count them.
    """
    found: list[Gpu] = []
    broken: dict[str, str] = {}
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise SurroundingsError(f"no GPU can be read: NVML error: {error}") from None
    for index in range(count):
        try:
            found += _of_index(nvml, index)
        except SurroundingsError as error:
            broken[str(index)] = str(error)
        except nvml.NVMLError as error:
            broken[str(index)] = f"GPU {index}: NVML error: {error}"
    return found, broken


def _of_index(nvml: Any, index: int) -> list[Gpu]:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    slices = optional(nvml, partial(nvml.nvmlDeviceGetMaxMigDeviceCount, handle)) or 0
    mode = optional(nvml, partial(nvml.nvmlDeviceGetMigMode, handle)) if slices else None
    if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return [Gpu(NvmlDevice(nvml, handle, str(index)))]
    handles = [
        optional(nvml, partial(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number))
        for number in range(slices)
    ]
    parts = [
        Gpu(NvmlDevice(nvml, part, f"{index}:{number}", parent=handle))
        for number, part in enumerate(handles)
        if part is not None
    ]
    if not parts:
        raise SurroundingsError(
            f"GPU {index} is in MIG mode and has no slice: create one "
            "(`nvidia-smi mig -cgi PROFILE -C`) or disable MIG mode (`nvidia-smi -mig 0`)"
        )
    return parts


class Gpu:
    """One device; see `device.DeviceSampler`."""

    shortest_span_s = SHORTEST_SPAN_S

    def __init__(self, device: NvmlDevice) -> None:
        self.device = device
        self.uuid, self.index, self.device_type = device.uuid, device.index, device.device_type
        self.hidden_bytes = 0  # in use before the server started, by processes that are not visible
        with device.errors():
            self.processes = ProcessList(device)

    def environment(self, triton: str) -> Environment:
        return self.device.environment(triton)

    def memory_bytes(self, pids: Pids) -> int:
        with self.device.errors():
            return max(0, self.device.used_bytes() - self.processes.users(pids).others_bytes)

    def abilities(self) -> dict[str, bool]:
        """Which figures beside memory NVML reports for this device."""
        nvml, handle = self.device.nvml, self.device.handle
        asked = {
            "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(handle),
            "buffered samples": lambda: nvml.nvmlDeviceGetSamples(
                handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, 0
            ),
            "power": lambda: nvml.nvmlDeviceGetPowerUsage(handle),
            "energy": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        }
        with self.device.errors():
            return {
                **{name: self._tells(call) for name, call in asked.items()},
                "processes": bool(self.processes.queries),
                "GPM counters": self.device.has_gpm(),
            }

    def _tells(self, call: Callable[[], Any]) -> bool:
        nvml = self.device.nvml
        try:
            call()
        except nvml.NVMLError as error:
            if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
                raise
            return bool(error.value == nvml.NVML_ERROR_NOT_FOUND)  # nothing to tell yet
        return True

    def look_around(self) -> None:
        """Record memory in use before a server starts, by processes that are not visible."""
        with self.device.errors():
            second = None if self.device.shares_memory else self.device.memory_v2()
            if second is not None:  # the older query counts the driver's reserve as used
                listed = self.processes.listed().values()
                self.hidden_bytes = second.used - sum(amount or 0 for amount in listed)

    @contextmanager
    def watch(self, pids: Pids) -> Iterator[Watch]:
        pids = seldom(pids)
        with self.device.errors(), ExitStack() as stack:
            beside = stack.enter_context(host.HostSampler(pids))
            sampler = GpuWatch(self.device, self.processes, pids, beside, self.hidden_bytes)
            yield stack.enter_context(sampler)
