import pytest

from placement.explain.explain import explain
from placement.problem.demands import read_demands
from placement.problem.fleet_file import read_fleet, single
from placement.problem.formulate import formulate
from placement.solver.result import Deadline
from placement.solver.solve import solve
from profiles.environment import Environment
from profiles.errors import InputError, NoAnswerError
from profiles.measurement import Baseline, Latency, LoadPoint, Measurement, Usage
from profiles.variant import Variant

GB = 10**9


def measured(model, memory_gb=4.0, utilization=20.0, batch=1, p99=10.0, kind="Tesla T4", **more):
    latency = Latency(p99 / 2, p99 / 2, p99 / 2, p99 * 0.8, p99, p99)
    usage = Usage(int(memory_gb * GB), int(memory_gb * GB), utilization, utilization / 2)
    figures = {"throughput": 100.0 * batch, "latency": latency, "usage": usage} | more
    return Measurement(Variant(model), LoadPoint(batch), kind, Environment(), **figures)


SERVER = Baseline("Tesla T4", Environment(), GB // 2, 3.0, 0.0)
T4 = [single("Tesla T4")]


def test_every_measured_point_is_an_option():
    made = formulate([measured("a"), measured("a", batch=4)], [SERVER], T4).problem
    assert [o.name for o in made.models[0].options] == [
        "as configured b1 c1",
        "as configured b4 c1",
    ]
    assert made.types[0].baseline == {
        "memory": GB // 2,
        "utilization": 3.0,
        "memory_utilization": 0,
    }


def test_a_rule_leaves_a_part_of_the_capacity():
    """80 % of 100 % utilization, 90 % of 15360 MiB."""
    made = formulate([measured("a")], [], T4, at_most={"utilization": 0.8, "memory": 0.9}).problem
    assert made.types[0].capacity["utilization"] == 80
    assert made.types[0].capacity["memory"] == pytest.approx(0.9 * 15360 * 2**20)


def test_a_missing_baseline_is_said():
    assert "no baseline" in formulate([measured("a")], [], T4).notes[0]


def test_a_failed_measurement_is_no_option():
    failed = measured("a", status="failed", reason="out of memory", usage=None)
    with pytest.raises(NoAnswerError, match="never measured with success: out of memory"):
        formulate([failed], [SERVER], T4)


def test_an_option_that_misses_the_latency_limit_is_out():
    rows = [measured("a", p99=31.0), measured("b")]
    demands = read_demands({"models": {"a": {"latency_limit_ms": 20}}})
    problem = formulate(rows, [SERVER], T4, demands).problem
    result = solve(problem)
    assert result.status == "infeasible"
    told = explain(problem, result, Deadline(5))
    assert told.lines == (
        "a meets its p99 limit of 20 ms in no option; "
        "the best is 31 ms (as configured b1 c1 on Tesla T4).",
    )
    assert told.relaxations == ("a p99 limit of 31 ms for a, not 20 ms", "without a")
    relaxed = read_demands({"models": {"a": {"latency_limit_ms": 20, "percentile": 50}}})
    assert solve(formulate(rows, [SERVER], T4, relaxed).problem).value == 0.5


def test_slices_are_offered_where_a_model_was_measured_on_them():
    """Two models that need apart devices share one A30 as two slices of 12 GB."""
    name = "NVIDIA A30"
    kind = f"{name} MIG 2g.12gb"
    fleet = read_fleet([{"device": name, "mig": True, "price": 1.3}])
    rows = [measured(m, kind=kind) for m in "ab"]
    demands = read_demands({"rules": {"apart": [["a", "b"]]}})
    result = solve(formulate(rows, [], fleet, demands).problem)
    assert result.value == pytest.approx(1.3)
    assert {d.device_type for d in result.layout.devices} == {kind}


def test_an_owned_device_costs_nothing():
    fleet = read_fleet(
        [{"device": "Tesla T4"}, {"device": "Tesla T4", "name": "lab", "owned": True}]
    )
    result = solve(formulate([measured("a")], [SERVER], fleet).problem)
    assert (result.value, result.layout.devices[0].name) == (0, "lab")


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([{"device": "T5"}], "row 1: 'T5' is no device type"),
        ([{"device": "T5", "memory": "much"}], "row 1: 'much' is not an amount"),
        ([{"device": "Tesla T4", "count": -1}], "row 1: count must not be negative"),
        ([{"device": "Tesla T4", "cuont": 1}], "cuont"),
        ([{"count": 1}], "device"),
        ([{"device": "Tesla T4", "mig": True}], "no MIG profiles"),
        ([{"device": "Tesla T4", "owned": "perhaps"}], "owned: true or false is"),
        ([{"device": "Tesla T4", "price": -1}], "price must be at least 0"),
        ([{"device": "Tesla T4", "name": "x"}, {"device": "Tesla T4", "name": "x"}], "2 rows have"),
        ([{"device": "Tesla T4"}, {"device": "Tesla T4", "memory": "8GB"}], "differently"),
        ({}, "a list of devices"),
        (["Tesla T4"], "row 1: a mapping"),
    ],
)
def test_a_broken_fleet_is_named(rows, named):
    with pytest.raises(InputError, match=named):
        read_fleet(rows)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"models": {"a": {"rate": 0}}}, r"models\.a\.rate: must be above zero"),
        ({"models": {"a": {"rate": "fast"}}}, "rate"),
        ({"models": {"a": {"percentile": 42}}}, "must be 50, 90, 95 or 99"),
        ({"models": {"a": {"replicas": -1}}}, "must not be negative"),
        ({"models": {"a": {"speed": 1}}}, "speed"),
        ({"rules": {"pins": [{"model": "a"}]}}, "device"),
        ({"rule": {}}, "rule"),
        ([], "a mapping"),
        ({"models": ["a"]}, "models"),
    ],
)
def test_broken_demands_are_named(document, named):
    with pytest.raises(InputError, match=named):
        read_demands(document)


def test_an_unknown_model_in_the_demands_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'bert'"):
        formulate([measured("bert")], [], T4, read_demands({"models": {"brt": {}}}))
