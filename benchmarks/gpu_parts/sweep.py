"""The 3 x 3 sweep of ResNet-50: its time, its power, and perf_analyzer beside it."""

from __future__ import annotations

import shutil
import time

from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from gpu_parts.here import Here
from gpu_parts.record import Record


def run(here: Here, record: Record) -> None:
    models = here.folder / "models"
    here.add_model(models, "resnet50", "resnet50")
    start_s = time.monotonic()
    options = here.options(models, here.folder / "profiles.db", Sweep())
    found = profile.run(options, lambda _: None).measurements
    record.note("3 x 3 points of resnet50", seconds=time.monotonic() - start_s)
    for m in found:
        usage = m.usage
        record.must(
            f"resnet50 {m.load}",
            passed=m.status == "ok",
            per_second=m.throughput,
            half_width=m.confidence.throughput if m.confidence else None,
            settled=bool(m.confidence and m.confidence.reached),
            utilization=usage.utilization_percent if usage else None,
            watts=usage.power_w if usage else None,
            joules_each=usage.energy_per_inference_j if usage else None,
            reason=m.reason,
        )
    settled = sum(bool(m.confidence and m.confidence.reached) for m in found)
    record.note("points within 5 %", settled=settled, of=len(found))
    if shutil.which("perf_analyzer") is None:
        record.note("perf_analyzer is not here")
        return
    one = Sweep(batch_sizes=(1,), concurrency=(4,))
    peer = here.options(models, here.folder / "peer.db", one, load_generator="perf_analyzer")
    (theirs,) = profile.run(peer, lambda _: None).measurements
    ours = next(m for m in found if str(m.load) == "b1 c4")
    record.check(
        "resnet50 b1 c4 beside perf_analyzer",
        ours.throughput,
        theirs.throughput,
        0.1 * theirs.throughput,
        "inferences/s",
    )
