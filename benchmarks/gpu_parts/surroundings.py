"""What NVML answers here, every query that Model Placer uses, and what each costs."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

from analyzer.devices.gpu import open_gpus
from gpu_parts.here import Here, model_placer
from gpu_parts.record import Record

CALLS = 25  # of each query; the median counts
MOST_ROWS = 2  # of an answer with many
ANSWERS = "nvml.json"  # what the pretended library is to answer, too


def run(here: Here, record: Record) -> None:
    doctor = model_placer("doctor", "--output-format", "json")
    record.must("doctor", passed=doctor.returncode in {0, 3} and bool(doctor.stdout.strip()))
    (here.folder / "doctor.json").write_text(doctor.stdout, encoding="utf-8")
    smi = shutil.which("nvidia-smi")
    if smi and not here.pretended:
        said = subprocess.run([smi, "-q"], check=False, capture_output=True, text=True, timeout=60)
        (here.folder / "nvidia-smi.txt").write_text(said.stdout, encoding="utf-8")
        record.note("nvidia-smi -q", lines=len(said.stdout.splitlines()))
    else:
        record.note("nvidia-smi knows no pretended GPU" if smi else "nvidia-smi is not here")
    with open_gpus(here.gpu) as (gpu,):
        device = gpu.device
        record.note("device", name=device.device_type.name, driver=device.driver, uuid=device.uuid)
        record.note("NVML tells", **gpu.abilities())
        answers = {}
        for name, call in queries(device.nvml, device.handle).items():
            answers[name] = timed(device.nvml, call)
            record.note(name, **answers[name])
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "pretended": here.pretended,
        "driver": device.driver,
        "device": device.device_type.name,
        "answers": answers,
    }
    (here.folder / ANSWERS).write_text(json.dumps(document, indent=2), encoding="utf-8")
    told = [name for name, answer in answers.items() if "error" not in answer]
    record.must("queries that were answered", passed=len(told) >= 10, answered=len(told))


def queries(nvml: Any, handle: Any) -> dict[str, Callable[[], Any]]:
    """Every query of `analyzer/devices`, by its name in NVML."""

    def gpm() -> int:
        sample = nvml.nvmlGpmSampleAlloc()
        try:
            nvml.nvmlGpmSampleGet(handle, sample)
        finally:
            nvml.nvmlGpmSampleFree(sample)
        return 1

    since_us = int((time.time() - 1) * 1e6)
    samples = (nvml.NVML_GPU_UTILIZATION_SAMPLES, nvml.NVML_MEMORY_UTILIZATION_SAMPLES)
    return {
        "DeviceGetCount": nvml.nvmlDeviceGetCount,
        "SystemGetDriverVersion": nvml.nvmlSystemGetDriverVersion,
        "DeviceGetName": lambda: nvml.nvmlDeviceGetName(handle),
        "DeviceGetUUID": lambda: nvml.nvmlDeviceGetUUID(handle),
        "DeviceGetMemoryInfo": lambda: nvml.nvmlDeviceGetMemoryInfo(handle),
        "DeviceGetMemoryInfo_v2": lambda: nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2),
        "DeviceGetUtilizationRates": lambda: nvml.nvmlDeviceGetUtilizationRates(handle),
        "DeviceGetSamples(GPU)": lambda: nvml.nvmlDeviceGetSamples(handle, samples[0], since_us),
        "DeviceGetSamples(memory)": lambda: nvml.nvmlDeviceGetSamples(handle, samples[1], since_us),
        "DeviceGetProcessUtilization": lambda: nvml.nvmlDeviceGetProcessUtilization(
            handle, since_us
        ),
        "DeviceGetPowerUsage": lambda: nvml.nvmlDeviceGetPowerUsage(handle),
        "DeviceGetEnforcedPowerLimit": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle),
        "DeviceGetTotalEnergyConsumption": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        "DeviceGetCurrentClocksEventReasons": lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(
            handle
        ),
        "DeviceGetClockInfo(SM)": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        "DeviceGetClockInfo(memory)": lambda: nvml.nvmlDeviceGetClockInfo(
            handle, nvml.NVML_CLOCK_MEM
        ),
        "DeviceGetTemperature": lambda: nvml.nvmlDeviceGetTemperature(
            handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "DeviceGetComputeRunningProcesses": lambda: nvml.nvmlDeviceGetComputeRunningProcesses_v3(
            handle
        ),
        "DeviceGetGraphicsRunningProcesses": lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses_v3(
            handle
        ),
        "DeviceGetMPSComputeRunningProcesses": lambda: (
            nvml.nvmlDeviceGetMPSComputeRunningProcesses_v3(handle)
        ),
        "DeviceGetMaxMigDeviceCount": lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle),
        "DeviceGetMigMode": lambda: nvml.nvmlDeviceGetMigMode(handle),
        "GpmQueryDeviceSupport": lambda: nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice,
        "GpmSampleGet": gpm,
    }


def timed(nvml: Any, call: Callable[[], Any]) -> dict[str, Any]:
    """The answer or the error, and the median time in microseconds."""
    taken = []
    answer: dict[str, Any] = {}
    for _ in range(CALLS):
        start_ns = time.perf_counter_ns()
        try:
            answer = {"answer": plain(call())}
        except nvml.NVMLError as error:
            answer = {"error": str(error)}
        taken.append((time.perf_counter_ns() - start_ns) / 1000)
    return {**answer, "microseconds": round(median(taken), 1)}


def plain(value: Any) -> Any:
    """An answer of NVML as JSON has it: structures as their fields."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value[:MOST_ROWS]]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if hasattr(value, "_fields_"):
        return {name: plain(getattr(value, name)) for name, *_ in value._fields_}
    if isinstance(value, str | int | float) or value is None:
        return value
    return plain(vars(value)) if hasattr(value, "__dict__") and vars(value) else str(value)
