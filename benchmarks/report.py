"""How long a report takes, and how large it is: stores and layouts made up to any size.

python benchmarks/report.py --models 1000 --points 100 --devices 200 --output report.html
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from analyzer.report.page import Content, html, report
from placement.layout import Layout, PlacedDevice, Resident
from profiles.environment import Environment
from profiles.measurement import Confidence, Latency, LoadPoint, Measurement, ServerTime, Usage
from profiles.store import ProfileStore
from profiles.variant import Variant

DEVICE = "NVIDIA A100-SXM4-40GB"
ENVIRONMENT = Environment("2.51.0", "a CPU", "GPU-1", "550.54.15", "", "made up")


def measurement(model: str, number: int, luck: random.Random) -> Measurement:
    """A point of a model that saturates: latency grows with concurrency, throughput does not."""
    batch, concurrency = 2 ** (number // 5 % 4), 2 ** (number % 5)
    instances = 1 + number // 20
    compute_ms = 3.0 + 0.8 * batch
    busy = min(concurrency, instances * 2)
    throughput = batch * busy / compute_ms * 1000 * luck.uniform(0.95, 1.05)
    queue_ms = compute_ms * max(0, concurrency - busy)
    mean_ms = compute_ms + queue_ms + 0.4
    return Measurement(
        Variant(model, instance_count=instances),
        LoadPoint(batch, concurrency),
        DEVICE,
        ENVIRONMENT,
        throughput=throughput,
        latency=Latency(mean_ms, mean_ms, mean_ms * 1.1, mean_ms * 1.2, mean_ms * 1.5, mean_ms * 2),
        server_time=ServerTime(queue_ms, 0.1, compute_ms - 0.2, 0.1),
        usage=Usage(
            500_000_000 * instances,
            500_000_000 * instances + 50_000_000 * batch,
            min(99.0, 20.0 * busy),
            10.0 * busy,
            60.0 + 10 * busy,
            (60.0 + 10 * busy) / throughput,
        ),
        confidence=Confidence(luck.uniform(0.005, 0.05), luck.uniform(0.01, 0.06)),
        warnings=("another process used the GPU",) if luck.random() < 0.002 else (),
        measured_at="2026-11-27T06:00:00.000+00:00",
    )


def layout(devices: int, models: list[str]) -> Layout:
    """Devices, four slices of a GPU each holding two models."""
    placed = []
    for number in range(devices):
        residents = tuple(
            Resident(
                model,
                "instances=1 b1 c4",
                rate=100.0,
                uses={"memory": 1.4e9, "utilization": 35.0},
                latency_ms=9.0,
                variant=Variant(model, instance_count=1),
                load=LoadPoint(1, 4),
                latency_limit_ms=20.0,
            )
            for model in dict.fromkeys(
                (models[number % len(models)], models[-1 - number % len(models)])
            )
        )
        placed.append(
            PlacedDevice(
                f"a100-{number // 4}/1g.5gb-{number % 4 + 1}",
                f"{DEVICE} MIG 1g.5gb",
                residents,
                {"memory": 3.2e9, "utilization": 70.0},
                {"memory": 5.0e9, "utilization": 100.0},
                parent=f"a100-{number // 4}",
                price=3.0,
            )
        )
    return Layout(tuple(placed), units={"memory": "bytes", "utilization": "%"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--points", type=int, default=100, help="of each model")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--output", type=Path, default=Path("report.html"))
    options = parser.parse_args()
    luck = random.Random(1)
    models = [f"model_{number:04}" for number in range(options.models)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profiles.db"
        with ProfileStore(path) as store:
            store.add_all(
                measurement(model, number, luck)
                for model in models
                for number in range(options.points)
            )
        start = time.perf_counter()
        with ProfileStore(path, read_only=True) as store:
            rows = store.measurements()
    read = time.perf_counter()
    made = report(
        Content(rows, layout=layout(options.devices, models) if options.devices else None)
    )
    options.output.write_text(html(made), encoding="utf-8")
    end = time.perf_counter()
    size = options.output.stat().st_size / 1e6
    print(
        f"{len(rows)} measurements, {options.devices} devices: read in {read - start:.1f} s, "
        f"report of {size:.2f} MB made in {end - read:.1f} s"
    )


if __name__ == "__main__":
    main()
