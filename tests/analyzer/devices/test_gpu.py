"""What the sampler says of pretended GPUs, through the unmodified nvidia-ml-py."""

import os
import threading
import time

import pytest
from pretended_nvml import fleet as pretended
from pretended_nvml.fleet import Fleet

from analyzer.devices import host
from analyzer.devices.device import DeviceFigures, Pids, wait_for_memory
from analyzer.devices.gpm import MOST_SAMPLES, GpmCounters
from analyzer.devices.gpu import Gpu, open_gpus
from profiles.errors import InputError, SurroundingsError

FOREIGN_PID = 1  # alive, and no part of our process tree


def own_pids() -> list[int]:
    return [os.getpid()]


def keep_busy(
    fleet: Fleet, gpu: int, share: float, seconds: float, memory_percent: int = 0
) -> None:
    now_s = time.monotonic()
    end_s = now_s + seconds
    while now_s < end_s:
        before_s = now_s
        time.sleep(0.02)  # longer on a busy host
        now_s = time.monotonic()
        fleet.busy(gpu, (now_s - before_s) * share, memory_percent)


def figures_of(found: Gpu, pids: Pids = own_pids, seconds: float = 0.1) -> DeviceFigures:
    """What a watch tells of a short span."""
    with found.watch(pids) as watch:
        start_s = time.monotonic()
        time.sleep(seconds)
        return watch.figures(start_s, time.monotonic())


@pytest.fixture
def fleet(pretended_nvml: Fleet) -> Fleet:
    return pretended_nvml


def test_gpus_are_chosen_by_index_and_uuid(fleet: Fleet):
    fleet.add_gpu("Tesla T4", "GPU-a")
    fleet.add_gpu("NVIDIA A10", "GPU-b", memory_bytes=24_000_000_000)
    with open_gpus() as found:
        assert [gpu.device_type.name for gpu in found] == ["Tesla T4", "NVIDIA A10"]
        assert found[1].device_type.memory_bytes == 24_000_000_000
        assert found[1].device_type.power_w == 70
    with open_gpus("1") as (gpu,):
        assert gpu.uuid == "GPU-b"
    with open_gpus("GPU-a") as (gpu,):
        assert gpu.index == "0"


def test_a_gpu_that_is_not_there_is_said_with_those_that_are(fleet: Fleet):
    fleet.add_gpu("Tesla T4", "GPU-a")
    with (
        pytest.raises(InputError, match=r"Unknown GPU '7'. GPUs here: 0 \(GPU-a\)"),
        open_gpus("7"),
    ):
        pass


def test_a_lost_gpu_leaves_the_others_usable_and_is_named_when_chosen(fleet: Fleet):
    fleet.add_gpu("Tesla T4", "GPU-a")
    fleet.set(fleet.add_gpu("Tesla T4", "GPU-b"), fault=pretended.GPU_IS_LOST)
    with open_gpus() as found:
        assert [gpu.uuid for gpu in found] == ["GPU-a"]
    with pytest.raises(SurroundingsError, match="GPU 1: NVML error: GPU is lost"), open_gpus("1"):
        pass
    with pytest.raises(InputError, match=r"GPU-b.*GPU 1: .*lost"), open_gpus("GPU-b"):
        pass


def test_no_permission_on_the_only_gpu_is_said(fleet: Fleet):
    fleet.set(fleet.add_gpu(), fault=pretended.NO_PERMISSION)
    with pytest.raises(SurroundingsError, match=r"GPU 0: .*Insufficient Permissions"), open_gpus():
        pass


def test_a_server_whose_processes_are_unknown_has_all_that_the_device_holds(fleet: Fleet):
    """A remote server, or one in another process namespace, must not be taken for a foreigner."""
    gpu = fleet.add_gpu()
    fleet.hold(gpu, FOREIGN_PID, 3_000_000_000)
    with open_gpus("0") as (found,):
        assert found.memory_bytes(list) == 3_000_000_000
        figures = figures_of(found, list)
    assert figures.memory_bytes == 3_000_000_000
    assert figures.notes == ()


def test_memory_that_is_given_back_late_is_waited_for(fleet: Fleet):
    gpu = fleet.add_gpu()
    fleet.hold(gpu, os.getpid(), 3_000_000_000)
    timer = threading.Timer(0.3, fleet.hold, (gpu, os.getpid(), 1_000_000_000))
    with open_gpus("0") as (found,):
        timer.start()
        wait_for_memory(found, own_pids, 1_000_000_000, timeout_s=5)
        assert found.memory_bytes(own_pids) == 1_000_000_000
        start_s = time.monotonic()
        wait_for_memory(found, own_pids, 0, timeout_s=0.2)  # some frameworks keep it: no error
        assert time.monotonic() - start_s < 4
    timer.join()


def test_memory_is_what_the_server_holds_without_reserve_and_others(fleet: Fleet):
    """Reserved 200 MB, another program 1 GB, ours 3 GB."""
    gpu = fleet.add_gpu(reserved_bytes=200_000_000)
    assert fleet.hold(gpu, FOREIGN_PID, 1_000_000_000)
    assert fleet.hold(gpu, os.getpid(), 3_000_000_000)
    with open_gpus("0") as (found,):
        assert found.memory_bytes(own_pids) == 3_000_000_000
        figures = figures_of(found)
    assert figures.memory_bytes == 3_000_000_000
    assert any(f"{FOREIGN_PID} (" in note and "954 MiB" in note for note in figures.notes)
    assert figures.extra is not None
    assert figures.extra["process_memory_bytes"] == 3_000_000_000


def test_a_display_is_another_process_too(fleet: Fleet):
    """It draws and does not compute: NVML lists it apart."""
    gpu = fleet.add_gpu()
    fleet.draw(gpu, FOREIGN_PID, 500_000_000)
    fleet.hold(gpu, os.getpid(), 1_000_000_000)
    with open_gpus("0") as (found,):
        assert found.memory_bytes(own_pids) == 1_000_000_000
        assert any("477 MiB" in note for note in figures_of(found).notes)


def test_processes_whose_memory_is_not_told_are_named_and_counted_in(fleet: Fleet):
    """As on WDDM: nothing can be taken off, so that must be said."""
    gpu = fleet.add_gpu(flags=pretended.NO_PROCESS_MEMORY)
    fleet.hold(gpu, FOREIGN_PID, 1_000_000_000)
    fleet.hold(gpu, os.getpid(), 3_000_000_000)
    with open_gpus("0") as (found,):
        figures = figures_of(found)
    assert figures.memory_bytes == 4_000_000_000
    assert any("memory unknown" in note for note in figures.notes)
    assert "process_memory_bytes" not in (figures.extra or {})


def test_a_driver_before_510_is_asked_by_the_older_names(fleet: Fleet):
    gpu = fleet.add_gpu(flags=pretended.OLD_DRIVER)
    fleet.set(gpu, throttles=0x4)
    fleet.hold(gpu, FOREIGN_PID, 1_000_000_000)
    fleet.hold(gpu, os.getpid(), 3_000_000_000)
    with open_gpus("0") as (found,):
        figures = figures_of(found)
    assert figures.memory_bytes == 3_000_000_000
    assert any("the power cap" in note for note in figures.notes)


def test_memory_held_by_no_one_knows_whom_before_the_start_is_said(fleet: Fleet):
    """As by another container: NVML lists none of its processes."""
    gpu = fleet.add_gpu(flags=pretended.NO_PROCESSES)
    with open_gpus("0") as (found,):
        found.look_around()
        assert figures_of(found).notes == ()
        fleet.hold(gpu, FOREIGN_PID, 2**30)
        found.look_around()
        assert any("1024 MiB" in note and "before" in note for note in figures_of(found).notes)


def test_a_gpu_without_memory_of_its_own_has_the_hosts(fleet: Fleet):
    fleet.add_gpu("NVIDIA GB10", flags=pretended.SHARED)
    with open_gpus("0") as (found,):
        assert found.device_type.memory_bytes == host.memory_limit_bytes()
        figures = figures_of(found)
    assert 0 < figures.memory_bytes < host.memory_limit_bytes()
    assert any("shares the host's memory" in note for note in figures.notes)


def test_the_time_of_each_process_is_told_apart(fleet: Fleet):
    """Ours is busy 30 % of the time and the other 20 %; the GPU's utilization is of both."""
    gpu = fleet.add_gpu()
    fleet.hold(gpu, os.getpid(), 1_000_000_000)
    fleet.hold(gpu, FOREIGN_PID, 1_000_000_000)
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        start_s = time.monotonic()
        while time.monotonic() < start_s + 2.2:
            time.sleep(0.02)
            fleet.busy(gpu, 0.004, pid=FOREIGN_PID)
            time.sleep(0.02)
            fleet.busy(gpu, 0.012)
        figures = watch.figures(start_s, time.monotonic())
    assert figures.extra is not None
    ours = figures.extra["process_utilization_percent"]
    assert figures.utilization_percent == pytest.approx(40, abs=8)
    assert ours == pytest.approx(0.75 * figures.utilization_percent, rel=0.25)
    assert any("busy" in note and f"{FOREIGN_PID} (" in note for note in figures.notes)


def test_a_short_failure_of_nvml_costs_no_point_and_is_said(fleet: Fleet):
    gpu = fleet.add_gpu()
    fleet.hold(gpu, os.getpid(), 1_000_000_000)
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        start_s = time.monotonic()
        fleet.set(gpu, fault=pretended.UNKNOWN)
        time.sleep(0.3)
        fleet.set(gpu, fault=0)
        time.sleep(0.1)
        figures = watch.figures(start_s, time.monotonic())
    assert figures.memory_bytes == 1_000_000_000
    assert any("NVML failed" in note for note in figures.notes)


def test_a_failure_that_lasts_is_an_error(fleet: Fleet):
    gpu = fleet.add_gpu()
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        fleet.set(gpu, fault=pretended.UNKNOWN)
        with pytest.raises(SurroundingsError, match="Unknown Error"):
            watch.figures(time.monotonic(), time.monotonic())


def test_the_peak_between_two_instants_counts(fleet: Fleet):
    gpu = fleet.add_gpu()
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        start_s = time.monotonic()
        for bytes_held in (1_000_000_000, 5_000_000_000, 2_000_000_000):
            fleet.hold(gpu, os.getpid(), bytes_held)
            time.sleep(0.15)
        end_s = time.monotonic()
        fleet.hold(gpu, os.getpid(), 9_000_000_000)
        time.sleep(0.15)
        assert watch.figures(start_s, end_s).memory_bytes == 5_000_000_000


@pytest.mark.parametrize(
    "flags", [0, pretended.NO_SAMPLES, pretended.ODD_CLOCK, pretended.ODD_SAMPLES]
)
def test_utilization_is_the_mean_over_the_span(fleet: Fleet, flags: int):
    """Busy 40 % of the time, moving memory in half of that, by buffered samples or polled.

    Samples that are not of the span by their time, or are no percentage, are left out.
    """
    gpu = fleet.add_gpu(flags=flags)
    keep_busy(fleet, gpu, 1.0, 0.4)  # before the span: must not count
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        keep_busy(fleet, gpu, 0.4, 0.4, memory_percent=50)
        start_s = time.monotonic()
        keep_busy(fleet, gpu, 0.4, 2.4, memory_percent=50)
        figures = watch.figures(start_s, time.monotonic())
    assert figures.utilization_percent == pytest.approx(40, abs=13)  # a busy host oversleeps
    assert figures.memory_utilization_percent == pytest.approx(20, abs=8)


@pytest.mark.parametrize("flags", [0, pretended.NO_ENERGY])
def test_power_comes_from_the_energy_counter_or_else_from_the_readings(fleet: Fleet, flags: int):
    """30 W idle, 70 W busy, busy half of the time: 50 W."""
    gpu = fleet.add_gpu(flags=flags)
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        keep_busy(fleet, gpu, 0.5, 0.3)
        start_s = time.monotonic()
        keep_busy(fleet, gpu, 0.5, 1.0)
        figures = watch.figures(start_s, time.monotonic())
    assert figures.power_w == pytest.approx(50, abs=6)


def test_gpm_counters_stand_beside_utilization(fleet: Fleet):
    gpu = fleet.add_gpu("NVIDIA H100 80GB HBM3", flags=pretended.GPM)
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        start_s = time.monotonic()
        keep_busy(fleet, gpu, 0.6, 1.2)
        figures = watch.figures(start_s, time.monotonic())
    assert figures.extra is not None
    assert figures.extra["sm_utilization_percent"] == pytest.approx(60, abs=12)
    assert figures.extra["sm_occupancy_percent"] == pytest.approx(30, abs=6)


def test_a_gpu_in_mig_mode_is_its_slices(fleet: Fleet):
    """Slices have no utilization: the figures say so."""
    whole = fleet.add_gpu("NVIDIA A100-SXM4-40GB", "GPU-a")
    fleet.add_gpu("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "MIG-1", 5_000_000_000, parent=whole)
    fleet.add_gpu("NVIDIA A100-SXM4-40GB MIG 2g.10gb", "MIG-2", 10_000_000_000, parent=whole)
    with open_gpus() as found:
        assert [gpu.uuid for gpu in found] == ["MIG-1", "MIG-2"]
        assert {gpu.device_type.kind for gpu in found} == {"mig"}
        with found[0].watch(own_pids) as watch:
            start_s = time.monotonic()
            time.sleep(0.2)
            figures = watch.figures(start_s, time.monotonic())
    assert (figures.utilization_percent, figures.power_w) == (None, None)
    assert any("no utilization" in note for note in figures.notes)


def test_mig_mode_without_a_slice_says_what_to_do(fleet: Fleet):
    fleet.add_gpu("NVIDIA A100-SXM4-40GB", flags=pretended.MIG)
    with pytest.raises(SurroundingsError, match="nvidia-smi mig -cgi"), open_gpus("0"):
        pass


def test_a_slices_figures_leave_the_other_slices_out(fleet: Fleet):
    """Memory and processes are the slice's own; so are no clocks and no heat."""
    whole = fleet.add_gpu("NVIDIA A100-SXM4-40GB")
    first = fleet.add_gpu("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "MIG-1", 5_000_000_000, parent=whole)
    other = fleet.add_gpu("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "MIG-2", 5_000_000_000, parent=whole)
    fleet.hold(first, os.getpid(), 1_000_000_000)
    fleet.hold(other, FOREIGN_PID, 2_000_000_000)
    with open_gpus("MIG-1") as (found,):
        figures = figures_of(found)
    assert figures.memory_bytes == 1_000_000_000
    assert not any("other processes" in note for note in figures.notes)
    assert figures.extra == pytest.approx(
        {"process_memory_bytes": 1e9, "sm_clock_mhz": 1590, "temperature_c": 54}
    )


def test_a_slice_of_a_newer_gpu_has_its_utilization_from_the_counters(fleet: Fleet):
    """The first of two slices is busy 60 % of the time, the second not at all."""
    whole = fleet.add_gpu("NVIDIA H100 80GB HBM3", "GPU-a", flags=pretended.GPM)
    busy = fleet.add_gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "MIG-1", parent=whole)
    fleet.add_gpu("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "MIG-2", parent=whole)
    with (
        open_gpus() as (first, second),
        first.watch(own_pids) as one,
        second.watch(own_pids) as other,
    ):
        start_s = time.monotonic()
        keep_busy(fleet, busy, 0.6, 1.2)
        end_s = time.monotonic()
        assert one.figures(start_s, end_s).utilization_percent == pytest.approx(60, abs=12)
        assert other.figures(start_s, end_s).utilization_percent == 0


def test_counters_are_thinned_out_over_a_long_span(fleet: Fleet):
    """However long it lasts, few samples are held, and the first one stays."""
    fleet.add_gpu("NVIDIA H100 80GB HBM3", flags=pretended.GPM)
    with open_gpus("0") as (found,):
        counters = GpmCounters(found.device)
        counters.period_s = 0
        start_s = time.monotonic()
        counters.sample()
        first = counters.samples[0]
        for _ in range(3 * MOST_SAMPLES):
            counters.sample()
        assert len(counters.samples) <= MOST_SAMPLES
        assert counters.samples[0] == first
        assert counters.figures(start_s, time.monotonic())["sm_utilization_percent"] == 0
        counters.close()


def test_throttling_is_said_with_its_share_of_the_time(fleet: Fleet):
    gpu = fleet.add_gpu()
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        start_s = time.monotonic()
        time.sleep(0.5)
        fleet.set(gpu, throttles=0x40)
        time.sleep(0.5)
        figures = watch.figures(start_s, time.monotonic())
    (note,) = figures.notes
    assert "% of the time by heat (hardware)" in note
    assert "100%" not in note
    assert figures.extra is not None
    assert (figures.extra["sm_clock_mhz"], figures.extra["temperature_c"]) == (1590, 88)


def test_a_lost_gpu_is_named(fleet: Fleet):
    gpu = fleet.add_gpu("Tesla T4", "GPU-a")
    with open_gpus("0") as (found,), found.watch(own_pids) as watch:
        start_s = time.monotonic()
        fleet.set(gpu, fault=pretended.GPU_IS_LOST)
        time.sleep(0.2)
        with pytest.raises(SurroundingsError, match=r"GPU-a.*GPU is lost"):
            watch.figures(start_s, time.monotonic())
        assert found.environment("2.51").clocks == ""


@pytest.mark.parametrize(
    "flags",
    [
        pretended.NO_UTILIZATION,
        pretended.NO_PROCESSES,
        pretended.NO_MEMORY_V2,
        pretended.GUARDED,
        pretended.NO_UTILIZATION | pretended.NO_ENERGY | pretended.NO_PROCESSES,
    ],
)
def test_what_is_not_supported_is_left_out_and_the_rest_stands(fleet: Fleet, flags: int):
    gpu = fleet.add_gpu(flags=flags)
    fleet.hold(gpu, os.getpid(), 2_000_000_000)
    with open_gpus("0") as (found,):
        assert figures_of(found).memory_bytes == 2_000_000_000
