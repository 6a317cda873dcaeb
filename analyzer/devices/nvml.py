"""One NVML device handle: queries, and NVML's errors as SurroundingsError."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from analyzer.devices import host
from profiles.device import DeviceType
from profiles.environment import Environment
from profiles.errors import SurroundingsError

T = TypeVar("T")


class NvmlDevice:
    """An NVML device handle; `parent` is the handle of a MIG slice's GPU."""

    def __init__(self, nvml: Any, handle: Any, index: str, parent: Any = None) -> None:
        self.nvml, self.handle, self.index, self.parent = nvml, handle, index, parent
        self.whole = parent or handle  # a slice has no clocks, heat and power of its own
        self.shares_memory = False  # with the host, and has none of its own
        with self.errors():
            self.uuid = text(nvml.nvmlDeviceGetUUID(handle))
            name = text(nvml.nvmlDeviceGetName(handle))
            self.driver = text(nvml.nvmlSystemGetDriverVersion())
            limit_mw = self.ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle))
            self.device_type = DeviceType(
                name=name,
                memory_bytes=self._total_bytes(),
                kind="mig" if parent is not None else "gpu",
                power_w=limit_mw / 1000 if limit_mw else None,
            )

    def ask(self, call: Callable[[], T]) -> T | None:
        """The result of an NVML call; None where it is not supported or not permitted."""
        return optional(self.nvml, call)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """NVML's errors become SurroundingsError, with the GPU's name."""
        try:
            yield
        except self.nvml.NVMLError as error:
            name = getattr(self, "uuid", self.index)
            raise SurroundingsError(f"GPU {name}: NVML error: {error}") from None

    def environment(self, triton: str) -> Environment:
        """The device, its driver and its clocks now; a lost GPU has none."""
        nvml = self.nvml
        sm = memory = None
        with suppress(nvml.NVMLError):
            sm = nvml.nvmlDeviceGetClockInfo(self.whole, nvml.NVML_CLOCK_SM)
            memory = nvml.nvmlDeviceGetClockInfo(self.whole, nvml.NVML_CLOCK_MEM)
        return Environment(
            triton=triton,
            device_uuid=self.uuid,
            driver=self.driver,
            clocks=f"SM {sm} MHz, memory {memory} MHz" if sm and memory else "",
        )

    def used_bytes(self) -> int:
        """Memory in use on the device; the driver's reserve is not, where NVML tells it apart.

        Of a GPU that shares the host's memory, as on Jetson or GB10: all RAM that is in use.
        """
        if self.shares_memory:
            return host.memory_in_use_bytes()
        second = self.memory_v2()
        return int((second or self.nvml.nvmlDeviceGetMemoryInfo(self.handle)).used)

    def memory_v2(self) -> Any:
        """The newer query, which counts the driver's reserve apart; None where there is none."""
        nvml = self.nvml
        return self.ask(lambda: nvml.nvmlDeviceGetMemoryInfo(self.handle, nvml.nvmlMemory_v2))

    def has_gpm(self) -> bool:
        """Whether the GPU has GPM counters."""
        support = self.ask(lambda: self.nvml.nvmlGpmQueryDeviceSupport(self.whole))
        return bool(support and support.isSupportedDevice)

    def _total_bytes(self) -> int:
        try:
            return int(self.nvml.nvmlDeviceGetMemoryInfo(self.handle).total)
        except self.nvml.NVMLError as error:
            if error.value != self.nvml.NVML_ERROR_NOT_SUPPORTED:
                raise
        self.shares_memory = True
        return host.memory_limit_bytes()


def optional(nvml: Any, call: Callable[[], T]) -> T | None:
    """The result of an NVML call; None where it is not supported or not permitted."""
    try:
        return call()
    except nvml.NVMLError as error:
        if error.value == nvml.NVML_ERROR_GPU_IS_LOST:
            raise
        return None


def text(value: str | bytes) -> str:
    """A string of NVML's, which older versions of its Python package give as bytes."""
    return value.decode() if isinstance(value, bytes) else value
