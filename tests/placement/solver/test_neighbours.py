"""Placing with a slowdown that is known; brute force is in test_against_brute_force.py."""

from __future__ import annotations

import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, solve
from placement.explain.explain import explain
from placement.layout import check
from placement.solver.result import Deadline


def a_model(name, utilization=50.0, b=0.0, latency_ms=10.0, **settings):
    needs = {"memory": 1.0, "utilization": utilization}
    option = Option("b1 c1", "t4", needs, 100.0, latency_ms, busy=utilization / 100, sensitivity=b)
    return Model(name, (option,), **settings)


def a_problem(*models, count=None, capacity=100.0, **settings):
    return PlacementProblem(
        models=models,
        types=(PoolType("t4", {"memory": 16, "utilization": capacity}),),
        pools=(Pool("gpu", "t4", count),),
        resources=(Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        **settings,
    )


def test_neighbours_that_slow_too_much_are_put_elsewhere():
    """90 of 100 infer/s at 45 % each: 90 % of a device in all. At b = 0.4 each loses 0.4 · 45 % and
    keeps 82 %, too little; at b = 0.2 it keeps 91 %."""
    assert solve(a_problem(*(a_model(n, rate=90.0) for n in "xy"))).value == 1
    together = solve(a_problem(*(a_model(n, b=0.2, rate=90.0) for n in "xy")))
    assert (together.status, together.value) == ("optimal", 1)
    assert [r.kept for r in together.layout.devices[0].residents] == pytest.approx(
        [0.91, 0.91], abs=0.001
    )
    apart = solve(a_problem(*(a_model(n, b=0.4, rate=90.0) for n in "xy")))
    assert (apart.status, apart.value, apart.bound) == ("optimal", 2, 2)


def test_a_latency_limit_leaves_room_for_neighbours():
    """10 ms alone, 12 at most: it may keep 10/12 = 83 % of its speed. Its neighbour uses half the
    device: at b = 0.3 it keeps 85 %, at b = 0.4 80 %."""
    for b, devices in ((0.3, 1), (0.4, 2)):
        limited = a_model("x", 20.0, b=b, latency_limit_ms=12.0)
        assert solve(a_problem(limited, a_model("y"))).value == devices


def test_a_layout_predicts_what_neighbours_leave():
    """Without rates both run in full: v = 1 - 1.0 · 0.5 · v for each, so v = 2/3."""
    result = solve(a_problem(*(a_model(n, b=1.0) for n in "xy")))
    assert result.value == 1
    (device,) = result.layout.devices
    for resident in device.residents:
        assert resident.share == 1.0
        assert resident.rate == pytest.approx(66.7, abs=0.5)
        assert resident.kept == pytest.approx(2 / 3, abs=0.005)
        assert resident.latency_ms == pytest.approx(15.0, abs=0.1), "10 ms alone"
        assert resident.uses["utilization"] == pytest.approx(33.3, abs=0.3)
    assert device.uses["utilization"] == pytest.approx(66.7, abs=0.6)


def test_most_throughput_counts_what_neighbours_take():
    """Two that fill a device alone (b = 1): s + 1.0 · s <= 1, so half each, as with no limit on
    utilization: alone on two devices each gets all."""
    models = [a_model(n, 100.0, b=1.0) for n in "xy"]
    wide = {"capacity": 1000.0, "objective": "max-throughput", "fairness": "max-min"}
    assert solve(a_problem(*models, count=1, **wide)).value == pytest.approx(0.5, abs=0.001)
    assert solve(a_problem(*models, count=2, **wide)).value == pytest.approx(1.0, abs=0.001)


def test_a_device_that_is_too_small_for_all_is_proven_so():
    problem = a_problem(*(a_model(n, b=0.4, rate=90.0) for n in "xy"), count=1)
    result = solve(problem)
    assert result.status == "infeasible"
    explanation = explain(problem, result, Deadline(10))
    assert "neighbours slow each other as was measured" in "\n".join(explanation.lines)
    assert any("1 more t4" in words for words in explanation.relaxations)


def test_many_models_get_a_layout_that_holds():
    """Forty at 60 % of a half-used device (30 % each), b = 0.9: with a second beside it a model
    keeps 1 - 0.9 · 0.3 = 73 %, with a third 46 %, less than it carries. In twos they take 20
    devices, divided perhaps fewer; 40 · 30 % fill 12, if neighbours did not matter."""
    models = [a_model(f"m{n}", b=0.9, rate=60.0) for n in range(40)]
    problem = a_problem(*models)
    result = solve(problem, 6)
    assert result.layout is not None
    assert check.violations(problem, result.layout) == []
    assert 12 < result.value <= 20
