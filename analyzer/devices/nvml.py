"""A GPU, or a MIG slice of one, as a device: what NVML says of it.

Utilization is the share of time in which some kernel ran, memory utilization that in which memory
was read or written (NVML's `nvmlUtilization_t`): neither says how much of the GPU was filled. On
Hopper and newer the GPM counters do, and are kept beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, TypeVar

from analyzer.devices import host
from analyzer.devices.device import Pids, Watch, seldom
from analyzer.devices.expected_gpu import insist
from analyzer.devices.gpu_processes import ProcessList
from analyzer.devices.gpu_watch import GpuWatch
from profiles.device import DeviceType
from profiles.environment import Environment
from profiles.errors import InputError, SurroundingsError

SHORTEST_SPAN_S = 1.5  # utilization comes in windows of 1/6 to 1 s, of which it takes several

T = TypeVar("T")


@contextmanager
def gpus(choice: str = "all") -> Iterator[list[Gpu]]:
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
        reason = f"no GPU can be read: NVML says: {error}"
        if choice not in {"auto", "first"}:
            raise SurroundingsError(reason) from None
        insist(choice, reason)
        yield []
        return
    try:
        yield _chosen(choice, *present(pynvml))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _chosen(choice: str, found: list[Gpu], broken: dict[str, str]) -> list[Gpu]:
    if choice in {"all", "auto", "first"}:
        if broken and not found:
            raise SurroundingsError("; ".join(broken.values()))
        if choice != "all" and not found:
            insist(choice, "NVML shows neither a GPU nor a MIG slice")
        return found[:1] if choice == "first" else found
    chosen: list[Gpu] = []
    for word in dict.fromkeys(choice.split(",")):
        matches = [gpu for gpu in found if word in (gpu.uuid, gpu.index)]
        if not matches and word in broken:
            raise SurroundingsError(broken[word])
        if not matches:
            names = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in found)
            also = "".join(f"; {text}" for text in broken.values())
            raise InputError(f"no GPU is called {word!r}; there are {names or 'none'}{also}")
        chosen += [gpu for gpu in matches if gpu not in chosen]
    return chosen


def present(nvml: Any) -> tuple[list[Gpu], dict[str, str]]:
    """Every whole GPU, of one in MIG mode its slices instead; and by index what fails, and how.

    NVML has been initialized. Raises SurroundingsError when it does not even count them.
    """
    found: list[Gpu] = []
    broken: dict[str, str] = {}
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        raise SurroundingsError(f"no GPU can be read: NVML says: {error}") from None
    for index in range(count):
        try:
            found += _of_index(nvml, index)
        except SurroundingsError as error:
            broken[str(index)] = str(error)
        except nvml.NVMLError as error:
            broken[str(index)] = f"GPU {index}: NVML says: {error}"
    return found, broken


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
    parts = [
        Gpu(nvml, part, f"{index}:{number}", parent=handle)
        for number, part in enumerate(handles)
        if part is not None
    ]
    if not parts:
        raise SurroundingsError(
            f"GPU {index} is in MIG mode and has no slice for us: make some "
            "(`nvidia-smi mig -cgi PROFILE -C`), or end MIG mode (`nvidia-smi -mig 0`)"
        )
    return parts


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
        self.shares_memory = False  # with the host, and has none of its own
        self.hidden_bytes = 0  # held before the server was started, no one knows by whom
        with self.errors():
            self.uuid = _text(nvml.nvmlDeviceGetUUID(handle))
            name = _text(nvml.nvmlDeviceGetName(handle))
            self.driver = _text(nvml.nvmlSystemGetDriverVersion())
            limit_mw = self.ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
            self.device_type = DeviceType(
                name=name,
                memory_bytes=self._total_bytes(),
                kind="mig" if parent is not None else "gpu",
                power_w=limit_mw / 1000 if limit_mw else None,
            )
            self.processes = ProcessList(self)

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
            return max(0, self.used_bytes() - self.processes.users(pids).others_bytes)

    def used_bytes(self) -> int:
        """Memory in use on the device; the driver's reserve is not, where NVML tells it apart.

        Of a GPU that shares the host's memory, as on Jetson or GB10: all RAM that is in use.
        """
        if self.shares_memory:
            return host.memory_in_use_bytes()
        second = self._memory_v2()
        return int((second or self.nvml.nvmlDeviceGetMemoryInfo(self.handle)).used)

    def abilities(self) -> dict[str, bool]:
        """What NVML tells of this device beside its memory, and whether it does."""
        nvml, whole = self.nvml, self.parent or self.handle
        with self.errors():
            support = self.ask(lambda: nvml.nvmlGpmQueryDeviceSupport(whole))
            asked = {
                "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(self.handle),
                "buffered samples": lambda: nvml.nvmlDeviceGetSamples(
                    self.handle, nvml.NVML_GPU_UTILIZATION_SAMPLES, 0
                ),
                "power": lambda: nvml.nvmlDeviceGetPowerUsage(self.handle),
                "energy": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle),
            }
            return {
                **{name: self._tells(call) for name, call in asked.items()},
                "processes": bool(self.processes.queries),
                "GPM counters": bool(support and support.isSupportedDevice),
            }

    def _tells(self, call: Callable[[], Any]) -> bool:
        try:
            call()
        except self.nvml.NVMLError as error:
            if error.value == self.nvml.NVML_ERROR_GPU_IS_LOST:
                raise
            return bool(error.value == self.nvml.NVML_ERROR_NOT_FOUND)  # nothing to tell yet
        return True

    def look_around(self) -> None:
        """Note what is held before a server is started, by programs that cannot be seen."""
        with self.errors():
            second = None if self.shares_memory else self._memory_v2()
            if second is not None:  # the older query counts the driver's reserve as used
                listed = self.processes.listed().values()
                self.hidden_bytes = second.used - sum(amount or 0 for amount in listed)

    def _memory_v2(self) -> Any:
        nvml = self.nvml
        return self.ask(lambda: nvml.nvmlDeviceGetMemoryInfo(self.handle, nvml.nvmlMemory_v2))

    def _total_bytes(self) -> int:
        try:
            return int(self.nvml.nvmlDeviceGetMemoryInfo(self.handle).total)
        except self.nvml.NVMLError as error:
            if error.value != self.nvml.NVML_ERROR_NOT_SUPPORTED:
                raise
        self.shares_memory = True
        return host.memory_limit_bytes()

    @contextmanager
    def watch(self, pids: Pids) -> Iterator[Watch]:
        """Sample the GPU and the server's process tree in the background."""
        pids = seldom(pids)
        with self.errors(), ExitStack() as stack:
            beside = stack.enter_context(host.HostSampler(pids))
            yield stack.enter_context(GpuWatch(self, pids, beside))
