"""Whether a layout holds: the judgement on plain figures, and real Tritons under real load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from analyzer.deploy.colocation import colocations
from analyzer.deploy.drive import Seen, placed_load
from analyzer.deploy.judge import Check, drive_and_judge, judge
from analyzer.deploy.ramp import ramp
from analyzer.deploy.run_layout import RunningServer, start
from analyzer.devices.device import DeviceFigures
from analyzer.load.generator import LoadResult
from analyzer.load.inputs import make_requests
from analyzer.triton import local
from analyzer.triton.options import LaunchOptions
from analyzer.triton.runtime import Binary
from placement.export.servers import Server
from placement.layout import Layout, PlacedDevice, Resident
from profiles.errors import InputError
from profiles.measurement import Confidence, Latency, LoadPoint

TRIES = 3  # of what a busy host may spoil

CPU = "Xeon (1 cores)"
GIB = 2.0**30
STEADY = Confidence(0.01, 0.01)
# A model whose every inference takes 20 ms, asleep: 50 infer/s and an idle processor.
SLEEPER = """
import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            time.sleep(0.02)
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]))
        return responses
"""
# The same 20 ms, but of a processor's time: two of them on one processor take 40 ms.
BURNER = SLEEPER.replace(
    "time.sleep(0.02)",
    "start = time.thread_time()\n            while time.thread_time() - start < 0.02:\n"
    "                pass",
)
CONFIG = """
backend: "python"
input { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""


def a_resident(model: str = "sleeper", rate: float = 50.0, **more: object) -> Resident:
    fields = {"load": LoadPoint(1, 1), "uses": {"utilization": 50.0}} | more
    return Resident(model, "o", rate=rate, **fields)  # type: ignore[arg-type]


def a_device(*residents: Resident, name: str = "cpu-1", **more: object) -> PlacedDevice:
    fields = {"uses": {"memory": 1 * GIB, "utilization": 50.0}} | more
    return PlacedDevice(name, CPU, residents, **fields)  # type: ignore[arg-type]


def a_result(throughput: float, p99_ms: float = 20.0, failures: int = 0) -> LoadResult:
    latency = Latency(p99_ms, p99_ms, p99_ms, p99_ms, p99_ms, p99_ms)
    texts = ("HTTP 500: boom",) if failures else ()
    return LoadResult(throughput, latency, STEADY, 100, failures, texts, 0.0, 1.0, 0.1)


def checked(device: PlacedDevice, result: LoadResult, figures: DeviceFigures) -> dict[str, Check]:
    seen = Seen({device.residents[0].model: result}, figures)
    return {check.what: check for check in judge(device, seen, 0.1)}


IDLE = DeviceFigures(int(1 * GIB), 50.0)


def test_throughput_may_be_short_by_the_tolerance_and_no_more():
    """Ten per cent below 50 infer/s is 45."""
    device = a_device(a_resident())
    assert checked(device, a_result(45.0), IDLE)["throughput"].holds
    assert checked(device, a_result(44.9), IDLE)["throughput"].holds is False


def test_memory_is_a_limit_whatever_was_predicted():
    """1.5 GiB where 1 GiB was predicted: fine below a limit of 2 GiB, not one byte above one."""
    device = a_device(a_resident(), capacity={"memory": 2 * GIB})
    more = checked(device, a_result(50.0), DeviceFigures(int(1.5 * GIB), 50.0))["memory"]
    assert more.holds
    assert "predicted: 1074 MB; its limit holds" in str(more.reason)
    beyond = checked(device, a_result(50.0), DeviceFigures(int(2 * GIB) + 1, 50.0))["memory"]
    assert beyond.holds is False
    assert "limit is 2147 MB (predicted: 1074 MB)" in str(beyond.reason)


def test_utilization_fails_where_it_breaks_its_limit_not_its_forecast():
    """Predicted 50 %, limit 80 %: 87 % is within ten per cent of the limit, 89 % is not."""
    device = a_device(a_resident(), capacity={"utilization": 80.0})

    def seen(percent: float) -> Check:
        return checked(device, a_result(50.0), DeviceFigures(1, percent))["utilization"]

    assert seen(50.0).holds
    assert seen(50.0).reason is None
    assert seen(87.0).holds
    assert "predicted: 50 %; its limit holds" in str(seen(87.0).reason)
    assert seen(89.0).holds is False


def test_a_use_without_a_limit_is_told_and_not_judged():
    check = checked(a_device(a_resident()), a_result(50.0), DeviceFigures(1, 99.0))["utilization"]
    assert check.holds is None
    assert "uses 99 % of utilization, predicted: 50 %" in str(check.reason)


def test_better_than_predicted_holds():
    checks = checked(a_device(a_resident()), a_result(500.0), DeviceFigures(1, 1.0))
    assert {check.holds for check in checks.values()} == {True, None}


def test_a_latency_limit_is_a_limit_whatever_the_tolerance():
    device = a_device(a_resident(latency_limit_ms=20.0))
    assert checked(device, a_result(50.0, p99_ms=20.0), IDLE)["latency"].holds
    missed = checked(device, a_result(50.0, p99_ms=20.1), IDLE)["latency"]
    assert missed.holds is False
    assert "limit of 20 ms" in str(missed.reason)
    assert checked(a_device(a_resident()), a_result(50.0, 999.0), IDLE)["latency"].holds is None


def test_failed_requests_fail_whatever_the_throughput():
    check = checked(a_device(a_resident()), a_result(50.0, failures=3), IDLE)["throughput"]
    assert check.holds is False
    assert "boom" in str(check.reason)


def test_too_much_on_one_device_is_the_reason_given():
    """Two models that need 80 % each by their profiles: 160 % of the device."""
    device = a_device(
        a_resident("a", uses={"utilization": 80.0}), a_resident("b", uses={"utilization": 80.0})
    )
    seen = Seen({"a": a_result(30.0), "b": a_result(30.0)}, IDLE)
    reason = next(c.reason for c in judge(device, seen, 0.1) if c.holds is False)
    assert "overcommitted" in str(reason)
    assert "160 %" in str(reason)


def test_a_rate_of_a_few_requests_is_not_judged_and_none_is_not_driven():
    """0.5 infer/s are 2.5 requests in 5 s: none of them answered yet says nothing."""
    seldom, never = a_resident("seldom", 0.5, share=0.01), a_resident("never", 0.0, share=0.0)
    seen = Seen({"seldom": a_result(0.0)}, IDLE, duration_s=5.0)
    found = {
        c.model: c for c in judge(a_device(seldom, never), seen, 0.1) if c.what == "throughput"
    }
    assert found.keys() == {"seldom"}
    assert found["seldom"].holds is None
    assert "too few to judge" in str(found["seldom"].reason)
    often = replace(seldom, rate=2.0)
    (check, *_) = judge(a_device(often), replace(seen, results={"seldom": a_result(0.0)}), 0.1)
    assert check.holds is False


def test_a_share_is_driven_as_a_rate_and_the_whole_as_it_was_profiled():
    """Half of 100 infer/s at batch size 2 is 25 requests a second."""
    whole = a_resident(rate=100.0, load=LoadPoint(2, 4))
    assert placed_load(whole) == LoadPoint(2, 4)
    half = replace(whole, share=0.5, rate=50.0)
    assert placed_load(half) == LoadPoint(2, None, 25.0)
    assert placed_load(half, 2.0) == LoadPoint(2, None, 50.0)
    with pytest.raises(InputError, match="has no load"):
        placed_load(replace(whole, load=None))


def test_requests_at_random_may_be_as_few_as_chance_has_them():
    """60 a second for 6 s are 360 requests, give or take 19: 23 % fewer than 10 % + 12.3 % are not
    chance. A part of a load is driven at random where it was profiled so."""
    part = a_resident(rate=60.0, share=0.5, load_part=1.0)
    assert placed_load(part) == LoadPoint(1, None, 60.0, "poisson")
    assert placed_load(replace(part, share=1.0)) == LoadPoint(1, 1)
    assert placed_load(replace(part, share=1.0, load_part=0.4)).request_rate == 60.0
    for reached, holds in ((47.0, True), (46.0, False)):
        seen = Seen({"sleeper": a_result(reached)}, IDLE, duration_s=6.0)
        check = next(c for c in judge(a_device(part), seen, 0.1) if c.what == "throughput")
        assert check.holds is holds
    row = colocations(a_server(), a_device(part, replace(part, model="b")), both(58.5), ())[0]
    assert row.solo_throughput == 120.0
    assert row.wanted_throughput == 58.5, "all that came was answered: it was not held back"
    row = colocations(a_server(), a_device(part, replace(part, model="b")), both(40.0), ())[0]
    assert row.wanted_throughput == 60.0
    assert row.device_uses == {"utilization": 50.0}


def both(throughput: float) -> Seen:
    result = a_result(throughput)
    return Seen({"sleeper": result, "b": result}, IDLE, duration_s=6.0)


def a_server() -> RunningServer:
    plan = Server("host", (), "cpu", None, (), 8000)
    return RunningServer(plan, "", list, lambda: "", None)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name, code in (
        ("sleeper", SLEEPER),
        ("dozer", SLEEPER),
        ("burner", BURNER),
        ("stoker", BURNER),
    ):
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "1" / "model.py").write_text(code)
        (tmp_path / "models" / name / "config.pbtxt").write_text(CONFIG)
    return tmp_path / "models"


@pytest.mark.triton
def test_real_tritons_hold_what_they_can_and_fail_what_they_cannot(
    embedded_triton: Binary, models: Path
):
    """A 20 ms model answers at most 50 requests a second: 25 of them hold, 80 do not.

    Two models that each need a whole processor are put on one: wrong on purpose.
    """
    generous = {"memory": 4 * GIB, "utilization": 100.0}
    small = {"memory": 1e6}
    layout = Layout(
        (
            a_device(
                a_resident("sleeper", 25.0, share=0.5, latency_limit_ms=1000.0),
                a_resident("dozer", 80.0, share=0.5),
                uses=generous,
                capacity=generous,
            ),
            a_device(
                a_resident("burner", 50.0, uses={"utilization": 100.0}, latency_limit_ms=25.0),
                a_resident("stoker", 50.0, uses={"utilization": 100.0}),
                name="cpu-2",
                uses=small,
                capacity=small,
            ),
        )
    )
    with start(layout, models, {}) as (groups, notes):
        assert len(groups) == 1 or notes
        checks = drive_and_judge(groups, make_requests, duration_s=2.0, tolerance=0.1)
    found = {(check.device, check.model, check.what): check for check in checks}
    assert found["cpu-1", "sleeper", "throughput"].holds
    assert 15 < (found["cpu-1", "sleeper", "throughput"].measured or 0) < 35, "driven at its rate"
    assert found["cpu-1", "sleeper", "latency"].holds
    assert found["cpu-1", "dozer", "throughput"].holds is False
    assert 40 < (found["cpu-1", "dozer", "throughput"].measured or 0) < 55
    burner = found["cpu-2", "burner", "throughput"]
    assert burner.holds is False
    assert "cpu-2 is overcommitted, by their profiles its replicas need 200 %" in str(burner.reason)
    assert found["cpu-2", "burner", "latency"].holds is False
    assert found["cpu-1", None, "memory"].holds
    assert found["cpu-2", None, "memory"].holds is False, "no Triton runs in 1 MB"
    assert found["cpu-2", None, "utilization"].holds is None


@pytest.mark.triton
def test_the_ramp_finds_where_the_first_limit_breaks(embedded_triton: Binary, models: Path):
    """20 of at most 50 infer/s: the loads can grow to twice theirs, not to three times."""
    layout = Layout((a_device(a_resident("sleeper", 20.0, share=0.4)),))
    with start(layout, models, {}) as (groups, _):
        for _ in range(TRIES):  # other work on the host may hold the loads back
            headroom = ramp(groups, make_requests, duration_s=0.8, tolerance=0.1)
            if headroom.factor > 1.5:
                break
    assert 1.5 < headroom.factor < 2.9
    assert headroom.broken_at is not None
    assert [check.model for check in headroom.broken] == ["sleeper"]


@pytest.mark.triton
def test_a_triton_for_all_devices_of_a_host_carries_what_both_promise(
    embedded_triton: Binary, models: Path
):
    """As `export --per-host` makes them: both devices have one address. A model that answers 50 in
    a second carries 15 of each device; memory is out of sight."""
    half = a_resident("sleeper", 15.0, share=0.3)
    layout = Layout((a_device(half, name="gpu-1"), a_device(half, name="gpu-2")))
    with local.launch(models) as server:
        server.load("sleeper")
        urls = {"gpu-1": server.http_url, "gpu-2": server.http_url}
        with start(layout, models, urls) as (groups, _):
            checks = drive_and_judge(groups, make_requests, duration_s=2.0, tolerance=0.1)
    rates = {check.device: check.measured for check in checks if check.what == "throughput"}
    assert rates == pytest.approx({"gpu-1": 15.0, "gpu-2": 15.0}, rel=0.1)
    assert {check.reason for check in checks if check.what == "memory"} == {"not visible from here"}


@pytest.mark.docker
def test_a_layout_runs_in_containers(triton_image: str, models: Path):
    """Each host's container has its own processors; its memory and use are seen from here."""
    roomy = {"memory": 4 * GIB}
    device = a_device(a_resident("sleeper", 25.0, share=0.5), uses=roomy, capacity=roomy)
    layout = Layout((device,))
    with start(layout, models, {}, LaunchOptions("docker", image=triton_image)) as (groups, _):
        ((server,),) = groups
        assert "@sha256:" in server.description
        assert [len(psutil.Process(pid).cpu_affinity()) for pid in server.pids()] == [1]
        checks = drive_and_judge(groups, make_requests, duration_s=2.0, tolerance=0.1)
    found = {check.what: check for check in checks}
    assert found["throughput"].holds
    assert found["throughput"].measured == pytest.approx(25.0, rel=0.1)
    assert found["memory"].holds
    assert (found["memory"].measured or 0) > 1e7
