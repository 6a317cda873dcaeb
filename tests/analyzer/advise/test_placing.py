"""What a change is worth in devices, and limits and demands that cost devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from made_up_points import a_point, evidence

from analyzer.advise.advise import advise
from analyzer.advise.placing import Placing, devices, findings
from placement.problem.demands import Demand, Demands
from placement.problem.fleet_file import single
from placement.problem.neighbour_cost import NeighbourCost
from profiles.device import DeviceType
from profiles.variant import Variant

GB = DeviceType("cpu", 16_000_000_000)
FLEET = [single("cpu", None, (GB,))]


def a_model(name: str, throughput: float, utilization: float = 50.0, **more: float):
    point = a_point(throughput, utilization=utilization, **more)
    return replace(point, variant=Variant(name))


def placing(at_most: dict[str, float] | None = None, **rates: float) -> Placing:
    demands = Demands({name: Demand(rate=rate) for name, rate in rates.items()})
    return Placing((), FLEET, demands, at_most or {})


def test_a_limit_that_costs_a_device_is_told():
    """Two models of 45 % fit on one device, but not within 80 %."""
    rows = [a_model("a", 10, 45), a_model("b", 10, 45)]
    (found,) = findings(rows, placing({"utilization": 0.8}))
    assert (found.kind, found.devices) == ("limit-costs-devices", (2, 1))
    assert found.evidence == ("placed with it on 2 devices, with 100 % on 1 device",)
    assert list(findings(rows, placing({"utilization": 0.9}))) == []


def test_what_neighbours_cost_is_counted_in_as_place_does():
    """Two models of 45 % each: 90 % side by side, but 0.45 * (1 + 0.6 * 0.45) * 2 = 114 %."""
    rows = [a_model("a", 10, 45), a_model("b", 10, 45)]
    costs = {(m, "cpu"): NeighbourCost(m, "cpu", 0.6, 1) for m in "ab"}
    assert devices(rows, placing()) == 1
    assert devices(rows, replace(placing(), neighbour_costs=costs)) == 2


def test_the_demand_that_costs_most_is_told():
    """One device carries 20 of a at 100 %: 100 a second take five; b takes part of one."""
    rows = [a_model("a", 10), a_model("b", 10)]
    (found,) = findings(rows, placing(a=100, b=1))
    assert (found.kind, found.model) == ("dearest-demand", "a")
    assert found.devices is not None
    assert found.devices[0] - found.devices[1] >= 2
    assert list(findings(rows, placing(a=1, b=1))) == []


def test_a_latency_limit_that_costs_devices_is_told():
    """Batches of 8 carry 40 per device, single requests 20: the limit allows the latter alone."""
    rows = [
        a_model("a", 20, 100, latency_ms=10),
        replace(a_model("a", 40, 100, batch=8), variant=Variant("a")),
    ]
    demand = Demand(rate=80, latency_limit_ms=15)
    (found,) = findings(rows, Placing((), FLEET, Demands({"a": demand})))
    assert (found.kind, found.devices) == ("latency-limit-costs-devices", (4, 2))


def test_a_measured_variant_is_worth_the_devices_that_it_frees(tmp_path: Path):
    """100 inferences/s at 50 a device, and at 100 of a variant: two devices, and one."""
    fast = Variant("bert", parameters=(("threads", "2"),))
    rows = (a_point(50, utilization=100), a_point(100, variant=fast, utilization=100))
    found = {f.kind: f for f in advise(evidence(tmp_path, *rows), placing(bert=100))}
    assert found["better-variant"].devices == (2, 1)


def test_an_expected_gain_is_placed_by_its_middle(tmp_path: Path):
    """25 a second of one replica per device: 100 take four.

    Two instances are expected to bring +30 to +100 %: 41 a second in the middle, so three.
    """
    row = a_point(25, queue_ms=30, utilization=40)
    known = evidence(tmp_path, row, extra="instance_group [{ count: 1 kind: KIND_CPU }]")
    found = {f.kind: f for f in advise(known, placing(bert=100))}
    assert found["more-instances"].devices == (4, 3)


def test_models_that_cannot_be_placed_are_no_finding():
    assert devices([a_model("a", 10)], placing()) == 1
    assert list(findings([replace(a_model("a", 10), usage=None)], placing())) == []


def test_a_variant_that_frees_a_device_is_told_though_it_is_no_faster():
    """9 GB of each on devices of 16 GB: two; 7 GB in another variant of one: both fit on one."""
    small = Variant("a", max_batch_size=2)
    rows = [
        a_model("a", 10, 20, memory_mib=9000),
        a_model("b", 10, 20, memory_mib=8000),
        replace(a_model("a", 10, 20, memory_mib=6500), variant=small),
    ]
    (found,) = findings(rows, placing())
    assert (found.kind, found.model, found.devices) == ("variant-frees-devices", "a", (2, 1))
    assert "placed as configured on 2 devices" in found.evidence[0]
    assert list(findings(rows[:2], placing())) == []
