"""What a model adds to a device on which Triton runs already."""

from __future__ import annotations

from dataclasses import replace

from profiles.measurement import Baseline, Measurement


def above(figure: float | None, server: float | None) -> float | None:
    """What is left of a figure without the server's part; a quiet model leaves nothing."""
    return None if figure is None else max(0.0, figure - (server or 0.0))


def less_baseline(measurement: Measurement, baseline: Baseline) -> Measurement:
    """The measurement without what the server alone uses, which is paid once per device.

    Memory of the device stays: the profiler takes it as a difference already, to what the server
    held just before the model was loaded. So does energy per inference, in which the idle part
    of the device's power counts.
    """
    usage, host = measurement.usage, measurement.host
    if usage is not None:
        usage = replace(
            usage,
            utilization_percent=above(usage.utilization_percent, baseline.utilization_percent),
            memory_utilization_percent=above(
                usage.memory_utilization_percent, baseline.memory_utilization_percent
            ),
            power_w=above(usage.power_w, baseline.power_w),
        )
    if host is not None and baseline.host is not None:
        alone = dict(baseline.host.cores_by_process)
        host = replace(
            host,
            cpu_cores=max(0.0, host.cpu_cores - baseline.host.cpu_cores),
            memory_bytes=max(0, host.memory_bytes - baseline.host.memory_bytes),
            cores_by_process=tuple(
                (name, max(0.0, cores - alone.get(name, 0.0)))
                for name, cores in host.cores_by_process
            ),
        )
    return replace(measurement, usage=usage, host=host)
