"""The interface to a device: what the profiling loop needs of a GPU or a CPU host."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from profiles.device import DeviceType
from profiles.environment import Environment
from profiles.measurement import HostUsage

POLL_S = 0.05

Pids = Callable[[], list[int]]  # roots of the server's process tree, which a restart changes


@dataclass(frozen=True)
class DeviceFigures:
    """What the server used over a period, including the baseline."""

    memory_bytes: int  # peak
    utilization_percent: float | None  # None: the device does not tell
    memory_utilization_percent: float | None = None
    power_w: float | None = None
    host: HostUsage | None = None
    notes: tuple[str, ...] = ()  # what makes the figures doubtful, in words
    extra: dict[str, float] | None = None  # figures that only some devices give


class Watch(Protocol):
    """A device being watched."""

    def figures(self, start_s: float, end_s: float) -> DeviceFigures:
        """What was used between two instants of `time.monotonic`."""


class DeviceSampler(Protocol):
    """A device on which models are measured."""

    @property
    def shortest_span_s(self) -> float:
        """How long a measurement must be for the figures to be sound."""

    @property
    def device_type(self) -> DeviceType:
        """What kind of device this is."""

    def environment(self, triton: str) -> Environment:
        """What a measurement is taken on now; clocks change, so it is asked each time."""

    def memory_bytes(self, pids: Pids) -> int:
        """What the server holds of the device's memory now."""

    def watch(self, pids: Pids) -> AbstractContextManager[Watch]:
        """Sample the device in the background until the `with` block ends."""


def wait_for_memory(
    device: DeviceSampler, pids: Pids, at_most_bytes: int, timeout_s: float
) -> None:
    """Wait until the server holds no more than that, or for the time given.

    What it has unloaded it gives back later, and some frameworks keep it.
    """
    deadline_s = time.monotonic() + timeout_s
    while device.memory_bytes(pids) > at_most_bytes and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def seldom(pids: Pids, period_s: float = 1.0) -> Pids:
    """Caches process ids for a period: for a container, each query goes to the engine."""
    known: list[int] = []
    asked_s = -period_s

    def asked() -> list[int]:
        nonlocal known, asked_s
        if time.monotonic() - asked_s >= period_s:
            known, asked_s = pids(), time.monotonic()
        return known

    return asked
