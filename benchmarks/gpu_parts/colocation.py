"""What models on one GPU do to each other: pairs, the fit, and three that it has not seen."""

from __future__ import annotations

from dataclasses import replace

from analyzer.deploy import pairs
from analyzer.deploy.pairs import Candidate, candidates
from analyzer.deploy.verify import VerifyOptions, verify
from analyzer.devices.gpu import open_gpus
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from gpu_parts.here import Here
from gpu_parts.record import Record
from placement.layout import Layout, PlacedDevice
from placement.problem import slowdown
from placement.problem.slowdown import Runner
from profiles.store import ProfileStore

NETWORKS = ("resnet50", "transformer", "segmentation")


def run(here: Here, record: Record) -> None:
    for network in NETWORKS:
        here.add_model(here.folder / "models", network, network)
    store = here.folder / "profiles.db"
    sweep = Sweep(batch_sizes=(1,), concurrency=(2,))
    options = here.options(here.folder / "models", store, sweep)
    failed = [m.model for m in profile.run(options, lambda _: None).measurements if not m.usage]
    record.must("the models are profiled alone", passed=not failed, failed=failed)
    options = replace(options, rule=replace(options.rule, max_duration_s=here.together_s))
    for row in pairs.run(options, 2 if here.pretended else 3, lambda _: None):
        record.note(
            f"{row.model} beside {', '.join(n.model for n in row.neighbours)}",
            asked=row.wanted_throughput / row.solo_throughput,
            kept=row.throughput / row.solo_throughput,
            neighbours_use=row.neighbours_use(slowdown.USE),
        )
    with ProfileStore(store, read_only=True) as opened:
        rows, measurements = opened.colocations(), opened.measurements()
    errors = slowdown.unseen_errors(rows)
    record.note(
        "each run predicted by the others",
        median_error=slowdown.median_error(errors),
        without_slowdown=slowdown.median_error(errors, plain=True),
        runs=len({error.row.run for error in errors}),
    )
    with open_gpus(here.gpu) as (gpu,):
        device_type, uuid = gpu.device_type.name, gpu.uuid
    _three(here, record, candidates(measurements, device_type), rows, (device_type, uuid), options)


def _three(
    here: Here,
    record: Record,
    models: dict[str, Candidate],
    rows: list[slowdown.Colocation],
    device: tuple[str, str],
    options: Options,
) -> None:
    """All three in full on one GPU, predicted by a fit of pairs."""
    fitted = slowdown.fit(rows)
    kind, uuid = device
    predicted = slowdown.reached(
        [Runner(1.0, c.use, fitted.sensitivity(name, kind)) for name, c in models.items()]
    )
    together = PlacedDevice(uuid, kind, tuple(c.resident(1.0) for c in models.values()))
    how = VerifyOptions(options.model_repository, here.together_s, 1.0)
    seen = verify(Layout((together,)), how)
    reached = {x.model: x.measured or 0.0 for x in seen.checks if x.what == "throughput"}
    for (name, c), share in zip(models.items(), predicted, strict=True):
        kept = reached[name] / c.measurement.throughput
        error = abs(share / kept - 1) if kept else None
        record.note(f"{name} as one of three", predicted=share, kept=kept, error=error)
