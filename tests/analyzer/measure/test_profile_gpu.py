"""The sweep on a pretended GPU through a real Triton: what fails there is data, too."""

import threading
import time
from pathlib import Path

import pytest
from pretended_nvml import fleet as pretended
from pretended_nvml.fleet import Fleet
from pretended_nvml.repository import add_model

from analyzer.devices.gpu import open_gpus
from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.loop import Progress
from analyzer.measure.options import Options
from analyzer.triton import local
from analyzer.triton.options import LaunchOptions
from analyzer.triton.runtime import Binary

pytestmark = pytest.mark.triton

GB = 10**9


def test_a_lost_gpu_and_too_little_memory_cost_only_their_own_points(
    tmp_path: Path, embedded_triton: Binary, pretended_nvml: Fleet
):
    """Of a 16 GB GPU:

    a_lost     the GPU is lost while it is measured, and is back for the next
    b_cold     needs 17 GB to load
    c_hot      loads with 2 GB and wants 17 GB at the first request; more at once is not tried
    d_fits     is measured
    """
    fleet = pretended_nvml
    gpu = fleet.add_gpu(memory_bytes=16 * GB)
    repository = tmp_path / "models"
    add_model(repository, "a_lost", cold_bytes=1 * GB, hot_bytes=3 * GB)
    add_model(repository, "b_cold", cold_bytes=17 * GB, hot_bytes=17 * GB)
    add_model(repository, "c_hot", cold_bytes=2 * GB, hot_bytes=17 * GB)
    add_model(repository, "d_fits", cold_bytes=4 * GB, hot_bytes=5 * GB, utilization_percent=40)
    over = threading.Event()

    def lose() -> None:
        with open_gpus("0") as (found,):
            while not over.is_set() and found.device.used_bytes() < 3 * GB:
                time.sleep(0.02)
        fleet.set(gpu, fault=pretended.GPU_IS_LOST)

    def on_progress(progress: Progress) -> None:
        if progress.measurement.model == "a_lost":
            fleet.set(gpu, fault=0)

    thread = threading.Thread(target=lose)
    thread.start()
    try:
        options = Options(
            model_repository=repository,
            store=tmp_path / "profiles.db",
            sweep_by_model={"a_lost": Sweep(batch_sizes=(1,), concurrency=(1,))},
            sweep=Sweep(batch_sizes=(1,), concurrency=(1, 2)),
            gpus="0",
            rule=SteadyStateRule(relative_half_width=0.2, max_duration_s=2),
        )
        measurements = profile.run(options, on_progress).measurements
    finally:
        over.set()
        thread.join()

    seen = [(m.model, str(m.load), m.status) for m in measurements]
    assert seen == [
        ("a_lost", "b1 c1", "failed"),
        ("b_cold", "b1 c1", "failed"),
        ("b_cold", "b1 c2", "failed"),
        ("c_hot", "b1 c1", "failed"),
        ("c_hot", "b1 c2", "skipped"),
        ("d_fits", "b1 c1", "ok"),
        ("d_fits", "b1 c2", "ok"),
    ]
    assert "GPU is lost" in (measurements[0].reason or "")
    for failed in measurements[1:4]:
        assert "out of memory" in (failed.reason or "")
    for fits in measurements[5:]:
        assert fits.usage is not None
        assert fits.usage.memory_cold_bytes == 4 * GB
        assert fits.usage.memory_hot_bytes == 5 * GB
        assert fits.usage.utilization_percent == pytest.approx(40, abs=5)
        # 30 W idle and 40 W more when busy, which is 40 % of the time: 16 W are the model's.
        assert fits.usage.power_w == pytest.approx(16, abs=4)
        assert fits.usage.energy_per_inference_j == pytest.approx(46 / fits.throughput, rel=0.15)


def test_of_a_model_that_was_loaded_before_only_what_the_load_adds_is_known(
    tmp_path: Path, embedded_triton: Binary, pretended_nvml: Fleet
):
    """A running server without model control: 3 GB hot less the 1 GB that it held at the start."""
    pretended_nvml.add_gpu()
    repository = tmp_path / "models"
    add_model(repository, "there", cold_bytes=1 * GB, hot_bytes=3 * GB)
    with local.launch(
        repository, embedded_triton, options=LaunchOptions(arguments=("--model-control-mode=none",))
    ) as there:
        options = Options(
            model_repository=repository,
            store=tmp_path / "profiles.db",
            sweep=Sweep(batch_sizes=(1,), concurrency=(1,)),
            gpus="0",
            launch=LaunchOptions(mode="remote", http_url=there.http_url),
            rule=SteadyStateRule(relative_half_width=0.2, max_duration_s=2),
        )
        (measurement,) = profile.run(options, lambda _: None).measurements
    assert measurement.usage is not None
    assert measurement.usage.memory_cold_bytes == 0
    assert measurement.usage.memory_hot_bytes == 2 * GB
    assert any("no model control" in warning for warning in measurement.warnings)
