"""GPM counters of Hopper and newer: how much of a GPU the kernels filled.

Plain utilization says only that some kernel ran. GPM's figures are differences between two samples
of counters, at least 100 ms apart (NVML's reference, "GPM Functions").
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from analyzer.devices.nvml import NvmlDevice

PERIOD_S = 0.25
MOST_SAMPLES = 128  # each is memory of the driver's


class GpmCounters:
    """The counters of one GPU or MIG slice, sampled now and then; nothing where there are none."""

    def __init__(self, gpu: NvmlDevice) -> None:
        self.gpu, self.period_s = gpu, PERIOD_S
        self.samples: list[tuple[float, Any]] = []
        self.supported = gpu.has_gpm()

    def sample(self) -> None:
        """Take a sample, if one is due."""
        now_s = time.monotonic()
        if not self.supported or (self.samples and now_s - self.samples[-1][0] < self.period_s):
            return
        sample = self.gpu.ask(self.gpu.nvml.nvmlGpmSampleAlloc)
        if sample is None:
            return
        if self.gpu.ask(lambda: self._get(sample)) is None:
            self._free(sample)
            self.supported = False
            return
        self.samples.append((now_s, sample))
        if len(self.samples) > MOST_SAMPLES:  # a long span needs none so close together
            for _, spare in self.samples[1::2]:
                self._free(spare)
            self.samples, self.period_s = self.samples[::2], 2 * self.period_s

    def figures(self, start_s: float, end_s: float) -> dict[str, float]:
        """The counters' differences between two instants, in percent; empty without two samples."""
        inside = [sample for at_s, sample in self.samples if start_s <= at_s <= end_s]
        if len(inside) < 2:
            return {}
        nvml = self.gpu.nvml
        wanted = {
            "graphics_utilization_percent": nvml.NVML_GPM_METRIC_GRAPHICS_UTIL,
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

    def close(self) -> None:
        """Give the samples' memory back."""
        while self.samples:
            self._free(self.samples.pop()[1])

    def _get(self, sample: Any) -> Any:
        nvml, gpu = self.gpu.nvml, self.gpu
        if gpu.parent is None:
            return nvml.nvmlGpmSampleGet(gpu.handle, sample)
        number = nvml.nvmlDeviceGetGpuInstanceId(gpu.handle)
        return nvml.nvmlGpmMigSampleGet(gpu.parent, number, sample)

    def _free(self, sample: Any) -> None:
        with suppress(self.gpu.nvml.NVMLError):
            self.gpu.nvml.nvmlGpmSampleFree(sample)
