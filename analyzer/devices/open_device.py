"""The device to measure on: a GPU, a MIG slice, or this CPU host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from analyzer.devices.cpu_host import CpuHost
from analyzer.devices.device import DeviceSampler
from analyzer.devices.gpu import open_gpus
from profiles.errors import InputError


@contextmanager
def open_device(choice: str, cpus: Sequence[int] = ()) -> Iterator[DeviceSampler]:
    """The device to measure on: `none` is the CPU, `auto` the first GPU if there is one.

    `first` is that GPU or MIG slice, and an error where there is none.

    A CPU host is the processors `cpus`, or all of this process's.

    Raises
    ------
    InputError
        The GPU is not there, or more than one is chosen.
    SurroundingsError
        NVML shows no GPU, and one was asked for by name, or given to this machine or container.
    """
    with ExitStack() as stack:
        found = [] if choice == "none" else stack.enter_context(open_gpus(choice))
        if len(found) > 1 and choice != "auto":
            raise InputError(f"--gpus {choice}: name one GPU; a run measures on one at a time")
        yield found[0] if found else CpuHost(cpus)
