"""A layout of five models on shares of one GPU, run: prediction against measurement.

The GPU stands for two or three devices, which are run on it one after another.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import median

from analyzer.deploy.verify import VerifyOptions, verify
from analyzer.devices.gpu import open_gpus
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from gpu_parts.here import Here, model_placer
from gpu_parts.record import Record
from placement.layout import Layout
from placement.layout import layout as layouts
from profiles.measurement import Measurement
from profiles.store import ProfileStore

MODELS = {
    "resnet50": "resnet50",
    "resnet50_too": "resnet50",
    "transformer": "transformer",
    "transformer_too": "transformer",
    "segmentation": "segmentation",
}
LAYOUTS = (  # what limits a device, and whether what was learnt of co-location counts
    ("memory alone, before calibration", "memory", "--no-slowdown"),
    ("all limits, before calibration", "memory,utilization", "--no-slowdown"),
    ("all limits, after calibration", "memory,utilization", "--slowdown"),
)
PART = 0.4  # of each model's throughput: what is demanded of it
DEVICES = 3  # at most
ROOM = 1.5  # memory of a device, times a third of what all need: models come in lumps


def run(here: Here, record: Record) -> None:
    models, store = here.folder / "models", here.folder / "profiles.db"
    for name, network in MODELS.items():
        here.add_model(models, name, network)
    options = here.options(models, store, Sweep(batch_sizes=(1,), concurrency=(1,)))
    found = profile.run(options, lambda _: None).measurements
    if any(m.usage is None for m in found):
        record.must("the models are profiled", passed=False, reason=[m.reason for m in found])
        return
    demand = here.folder / "demand.json"
    rates = {m.model: {"rate": round(PART * m.throughput, 2)} for m in found}
    demand.write_text(json.dumps({"models": rates}), encoding="utf-8")
    with open_gpus(here.gpu) as (gpu,):
        kind, uuid = gpu.device_type.name, gpu.uuid
    common = (
        *("--store", store, "--device", kind, "--device-memory", memory(found, store)),
        *("--count", DEVICES, "--demand", demand, "--time-limit", "5s"),
    )
    for title, limits, knowing in LAYOUTS[::2] if here.pretended else LAYOUTS:
        file = here.folder / f"{title.replace(' ', '-')}.yaml"
        placed = model_placer("place", *common, "--limits", limits, knowing, "-o", file)
        if placed.returncode:
            said = (placed.stdout + placed.stderr).strip().splitlines()[-1:]
            record.must(f"{title}: placed", passed=False, reason=" ".join(said))
            continue
        _verify(here, record, title, layouts.load(file), uuid, store)


def memory(found: list[Measurement], store: Path) -> int:
    """Of a device, so that it takes two or three of them; each has a server, too."""
    hot = [m.usage.memory_hot_bytes for m in found if m.usage]
    with ProfileStore(store, read_only=True) as opened:
        server = max(baseline.memory_bytes for baseline in opened.baselines())
    return round(server + max(max(hot) * 1.05, ROOM * sum(hot) / DEVICES))


def _verify(here: Here, record: Record, title: str, layout: Layout, uuid: str, store: Path) -> None:
    errors = []
    for device in layout.devices:
        alone = Layout((replace(device, name=uuid),), units=layout.units)
        how = VerifyOptions(here.folder / "models", here.together_s, store=store)
        checks = [check for check in verify(alone, how).checks if check.what == "throughput"]
        errors += [abs(c.measured / c.predicted - 1) for c in checks if c.measured and c.predicted]
    record.note(
        title,
        devices=len(layout.devices),
        replicas=len(errors),
        median_error=median(errors) if errors else None,
        largest_error=max(errors, default=None),
    )
    record.must(f"{title}: every replica was measured", passed=len(errors) >= len(MODELS))
