"""Out of memory at load and under load, a fault on the device, and the power cap."""

from __future__ import annotations

import time

from analyzer.devices.gpu import open_gpus
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from gpu_parts.here import Here
from gpu_parts.record import Record

POWER_CAP = 0x4  # of NVML's clocks event reasons
FAULTS = {  # models, in the order in which they are measured, and what goes wrong with each
    "a_load": "load_memory",
    "b_request": "request_memory",
    "c_device": "device",
    "d_sound": "",
}


def run(here: Here, record: Record) -> None:
    for name, fault in FAULTS.items():
        here.add_model(here.folder / "models", name, "resnet50", fault=fault)
    sweep = Sweep(batch_sizes=(1,), concurrency=(1,))
    options = here.options(here.folder / "models", here.folder / "profiles.db", sweep)
    found = {m.model: m for m in profile.run(options, lambda _: None).measurements}
    for name, fault in FAULTS.items():
        m = found[name]
        record.must(
            f"{fault or 'no fault'}: {m.status}",
            passed=(m.status == "ok") is not bool(fault),
            reason=(m.reason or "").strip()[:300],
        )
    for name in ("a_load", "b_request"):
        said = (found[name].reason or "").lower()
        record.must(f"{name}: the reason says so", passed="memory" in said)
    _power(here, record)


def _power(here: Here, record: Record) -> None:
    """Full load: what holds the clocks down is told, if anything does."""
    if here.pretended:
        here.fleet().set(0, throttles=POWER_CAP)  # type: ignore[attr-defined]
    with here.load("busy", 1.0, "fill") as process, open_gpus(here.gpu) as (gpu,):
        process.stdout.readline()
        time.sleep(1.0)
        with gpu.watch(lambda: [process.pid]) as watch:
            start_s = time.monotonic()
            time.sleep(here.seconds)
            figures = watch.figures(start_s, time.monotonic())
        limit = gpu.device_type.power_w
    if here.pretended:
        here.fleet().set(0)  # type: ignore[attr-defined]
    held = [note for note in figures.notes if "throttled" in note]
    record.note(
        "full load",
        watts=figures.power_w,
        limit_watts=limit,
        held_down=held[0] if held else "nothing",
    )
    at_cap = bool(limit and figures.power_w and figures.power_w > 0.97 * limit)
    if here.pretended or at_cap:
        record.must("the power cap is told", passed=any("power cap" in note for note in held))
