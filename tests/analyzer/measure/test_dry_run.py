"""`profile --dry-run`: what is in the store is told apart from what is to be measured."""

from dataclasses import replace
from pathlib import Path

from analyzer.devices.cpu_host import CpuHost
from analyzer.measure.dry_run import look, together
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from analyzer.measure.plan import make_plan
from profiles.environment import Environment
from profiles.measurement import Measurement
from profiles.store import ProfileStore


def test_points_of_the_store_are_not_measured_again(example_repository: Path, tmp_path: Path):
    """Four points; one is there and took 2 s, one failed: two are left, or three with a retry.

    Loading takes 5 s, and each point what this model's took: 5 + 2 x 2 s.
    """
    options = Options(
        example_repository,
        tmp_path / "profiles.db",
        models=("voice_activity",),
        sweep=Sweep(batch_sizes=(1, 2), concurrency=(1, 2)),
        gpus="none",
    )
    (before,) = look(options)
    assert (before.points, before.in_store, before.expected_s) == (4, 0, 5 + 4 * 10)
    points = make_plan(options).points
    rows = [
        Measurement(
            variant=point.variant,
            load=point.load,
            device_type=CpuHost().device_type.name,
            environment=Environment(triton="2.51.0"),
            model_digest=point.digest,
            throughput=1.0,
            duration_s=2.0,
        )
        for point in points[:2]
    ]
    with ProfileStore(options.store) as store:
        store.add(rows[0])
        store.add(replace(rows[1], status="failed", reason="no", duration_s=0.0))
    (after,) = look(options)
    assert (after.points, after.in_store, after.expected_s) == (4, 2, 5 + 2 * 2)
    (retried,) = look(replace(options, retry_failed=True))
    assert retried.in_store == 1
    (again,) = look(replace(options, remeasure=True))
    assert again.in_store == 0
    assert together([after, again]).points == 8
