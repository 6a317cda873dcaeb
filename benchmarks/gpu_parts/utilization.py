"""Utilization of kernels that are busy a known share of the time, by NVML, GPM and ourselves."""

from __future__ import annotations

import json
import time
from statistics import mean

from analyzer.devices.device import DeviceFigures
from analyzer.devices.gpu import open_gpus
from gpu_parts.here import Here
from gpu_parts.record import Record

SHARES = (0.1, 0.5, 0.9)
WITHIN = 5.0  # percentage points
SMALL = 20.0  # percent of the multiprocessors: what one block cannot exceed


def run(here: Here, record: Record) -> None:
    for share in SHARES:
        busy, figures, polled = watched(here, share, "fill")
        what = f"busy {share:.0%} of the time"
        record.note(what, by_its_own_events=busy, **figures.extra or {})
        record.check(f"{what}: ours", figures.utilization_percent or 0.0, busy, WITHIN, "%")
        record.check(f"{what}: NVML's rate, polled", polled, busy, WITHIN, "%")
        graphics = (figures.extra or {}).get("graphics_utilization_percent")
        if graphics is not None:
            record.check(f"{what}: GPM", graphics, busy, WITHIN, "%")
    busy, figures, _ = watched(here, 1.0, "one")
    what = "kernels of one block"
    record.check(f"{what}: utilization", figures.utilization_percent or 0.0, busy, WITHIN, "%")
    filled = (figures.extra or {}).get("sm_utilization_percent")
    if filled is None:
        record.note(f"{what}: no GPM counters here; utilization alone calls the GPU full")
        return
    record.must(f"{what}: SM utilization is small", passed=filled < SMALL, percent=filled)
    record.note(
        "to believe: utilization for how long the GPU was in use, SM utilization for how much of it"
    )


def watched(here: Here, share: float, how: str) -> tuple[float, DeviceFigures, float]:
    """The busy share in percent, our figures, and the mean of NVML's rate."""
    polled = []
    with here.load("busy", share, how) as process, open_gpus(here.gpu) as (gpu,):
        process.stdout.readline()
        time.sleep(0.2 if here.pretended else 1.0)  # it calibrates, clocks rise
        with gpu.watch(lambda: [process.pid]) as watch:
            start_s = time.monotonic()
            while time.monotonic() - start_s < here.seconds + 1:
                time.sleep(0.1)
                rates = gpu.device.nvml.nvmlDeviceGetUtilizationRates(gpu.device.handle)
                polled.append(rates.gpu)
            figures = watch.figures(start_s, time.monotonic())
        process.stdin.close()
        busy = 100 * json.loads(process.stdout.readline())["busy_share"]
    return busy, figures, mean(polled)
