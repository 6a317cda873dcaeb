"""Cold and hot memory as we measure them, against what PyTorch holds and a context takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from analyzer.devices.gpu import open_gpus
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.loop import Progress
from gpu_parts.here import Here
from gpu_parts.record import Record
from profiles.measurement import Measurement

NETWORKS = ("resnet50", "transformer", "segmentation")
WITHIN = 0.03
LEFT_BYTES = 64 * 2**20  # on the device after all has ended: what a driver keeps for a moment
OTHER_BYTES = 2_000_000_000  # what another process holds


def run(here: Here, record: Record) -> None:
    before = used_bytes(here)
    record.note("in use before", megabytes=before / 1e6)
    context = context_bytes(here)
    record.note("a context with cuBLAS and cuDNN", megabytes=context / 1e6)
    networks = NETWORKS[:2] if here.pretended else NETWORKS
    alone = measured(here, record, context, "alone", networks, (1, 2))
    record.check(
        "left after unload", (used_bytes(here) - before) / 1e6, 0.0, LEFT_BYTES / 1e6, "MB"
    )
    with here.load("hold", OTHER_BYTES) as process:
        process.stdout.readline()
        beside = measured(here, record, context, "beside a process of 2 GB", networks[:1], (1,))
    for key, m in beside.items():
        record.check(
            f"{key}: hot memory beside another process",
            hot(m) / 1e6,
            hot(alone[key]) / 1e6,
            WITHIN * hot(alone[key]) / 1e6,
            "MB",
        )
        warned = any("other processes used" in warning for warning in m.warnings)
        record.must(f"{key}: the other process is named", passed=warned)


def measured(
    here: Here,
    record: Record,
    context: int,
    when: str,
    networks: tuple[str, ...],
    instances: tuple[int, ...],
) -> dict[str, Measurement]:
    """Each network with so many instances, compared with what its processes told."""
    folder = here.folder / when.replace(" ", "-")
    told = folder / "told"
    told.mkdir(parents=True)
    for network in networks:
        here.add_model(folder / "models", network, network, told)
    found: dict[str, Measurement] = {}

    def compare(progress: Progress) -> None:
        m = progress.measurement
        key = f"{m.model} x{m.variant.instance_count}"
        found[key] = m
        told_by = [json.loads(file.read_text(encoding="utf-8")) for file in processes(told)]
        for file in told.glob("*.json"):
            file.unlink()
        if m.usage is None:
            record.must(f"{key} {when}", passed=False, reason=m.reason)
            return
        record.must(f"{key} {when}: processes", passed=len(told_by) == m.variant.instance_count)
        for what, ours, reserved in (
            ("cold", m.usage.memory_cold_bytes, sum(one["cold"] for one in told_by)),
            ("hot", m.usage.memory_hot_bytes, sum(one["most"] for one in told_by)),
        ):
            expected = (reserved + context * len(told_by)) / 1e6
            within = WITHIN * expected
            record.check(f"{key} {when}: {what} memory", ours / 1e6, expected, within, "MB")

    sweep = Sweep(batch_sizes=(4,), concurrency=(2,), instance_counts=instances)
    options = here.options(folder / "models", folder / "profiles.db", sweep)
    rule = replace(options.rule, relative_half_width=0.2, max_duration_s=here.seconds / 2 + 0.75)
    profile.run(replace(options, rule=rule), compare)
    return found


def processes(told: Path) -> list[Path]:
    """What the processes told that still live: an instance may have been made anew."""
    return [file for file in told.glob("*.json") if Path(f"/proc/{file.stem}").exists()]


def context_bytes(here: Here) -> int:
    """What a process takes beside what PyTorch has reserved for it."""
    before = used_bytes(here)
    with here.load("context") as process:
        reserved = json.loads(process.stdout.readline())["reserved_bytes"]
        return used_bytes(here) - before - int(reserved)


def used_bytes(here: Here) -> int:
    with open_gpus(here.gpu) as (gpu,):
        return gpu.device.used_bytes()


def hot(measurement: Measurement) -> int:
    return measurement.usage.memory_hot_bytes if measurement.usage else 0
