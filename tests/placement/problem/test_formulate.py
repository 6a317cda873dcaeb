from dataclasses import replace

import pytest

from placement.explain.explain import explain
from placement.problem.demands import read_demands
from placement.problem.fleet_file import read_fleet, single
from placement.problem.formulate import formulate
from placement.solver.result import Deadline
from placement.solver.solve import solve
from profiles.environment import Environment
from profiles.errors import InputError, NoAnswerError
from profiles.measurement import Baseline, HostUsage, Latency, LoadPoint, Measurement, Usage
from profiles.variant import Variant

GB = 10**9


def measured(model, memory_gb=4.0, utilization=20.0, batch=1, p99=10.0, kind="Tesla T4", **more):
    latency = Latency(p99 / 2, p99 / 2, p99 / 2, p99 * 0.8, p99, p99)
    usage = Usage(int(memory_gb * GB), int(memory_gb * GB), utilization, utilization / 2)
    figures = {"throughput": 100.0 * batch, "latency": latency, "usage": usage} | more
    environment = figures.pop("environment", Environment())
    return Measurement(Variant(model), LoadPoint(batch), kind, environment, **figures)


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


def test_a_limit_that_holds_for_nothing_is_said():
    """Nothing tells the cores of a single T4; power is none of the limits asked for."""
    notes = formulate([measured("a")], [SERVER], T4, limits=("memory", "cpu")).notes
    assert notes == ("cpu limits nothing: no device of the fleet tells how much of it it has.",)
    (note,) = formulate([measured("a")], [SERVER], T4, at_most={"power": 0.5}).notes
    assert note.startswith("--max-power limits nothing, as power is not among the limits")
    with pytest.raises(InputError, match="No device of the fleet has a known limit on cpu: "):
        formulate([measured("a")], [SERVER], T4, limits=("cpu",))


def test_a_missing_baseline_is_said():
    assert "no baseline" in formulate([measured("a")], [], T4).notes[0]


def test_a_failed_measurement_is_no_option():
    failed = measured("a", status="failed", reason="out of memory", usage=None)
    with pytest.raises(NoAnswerError, match="never measured with success: out of memory"):
        formulate([failed], [SERVER], T4)


def test_a_latency_limit_is_held_against_the_upper_confidence_limit():
    """Measured as 19 ms, and with 99 % confidence below 21 ms: not surely within 20 ms."""
    surely = Latency(9, 9, 9, 15, 19, 30, p99_upper_ms=21.0)
    demands = read_demands({"models": {"a": {"rate": 1, "latency_limit_ms": 20}}})
    (model,) = formulate([measured("a", latency=surely)], [SERVER], T4, demands).problem.models
    assert [option.latency_ms for option in model.options] == [21.0]
    (model,) = formulate([measured("a", latency=surely)], [SERVER], T4).problem.models
    assert [option.latency_ms for option in model.options] == [19.0]


def test_a_percentile_of_too_few_requests_is_unknown_and_said():
    """100 requests tell p90 (64 are needed), not p99 (662)."""
    few = measured("a", requests=100)
    for percentile, latency_ms in ((90, 5.0), (99, None)):
        demand = {"rate": 1, "latency_limit_ms": 20, "percentile": percentile}
        made = formulate([few], [SERVER], T4, read_demands({"models": {"a": demand}}))
        assert [option.latency_ms for option in made.problem.models[0].options] == [latency_ms]
    note, proportional = made.notes
    assert "`profile --part-load auto` measures both" in proportional
    assert "a: p99 latency is unknown in 1 of 1 measurements" in note
    assert "it takes 662 independent requests, they have 100 at most" in note
    assert "profile --latency-percentile 99 --remeasure" in note


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
        ([{"device": "T5"}], "row 1: Unknown device type 'T5'"),
        ([{"device": "T5", "memory": "much"}], "row 1: memory: 'much' is not an amount"),
        ([{"device": "Tesla T4", "count": -1}], "row 1: count must be at least 0"),
        ([{"device": "Tesla T4", "cuont": 1}], "cuont"),
        ([{"count": 1}], "device"),
        ([{"device": "Tesla T4", "mig": True}], "no MIG profiles"),
        ([{"device": "Tesla T4", "owned": "perhaps"}], "owned: expected true or false"),
        ([{"device": "Tesla T4", "price": -1}], "price must be at least 0"),
        ([{"device": "Tesla T4", "name": "x"}, {"device": "Tesla T4", "name": "x"}], "2 rows have"),
        ([{"device": "Tesla T4"}, {"device": "Tesla T4", "memory": "8GB"}], "differently"),
        ([{"device": "T5", "memory": "1e400GB"}], "row 1: memory: .* more memory than any"),
        ([{"device": "T5", "memory": 10**20}], "row 1: memory: .* more memory than any"),
        ([{"device": "T5", "memory": [1]}], r"row 1: memory: \[1\] is not an amount"),
        ([{"device": "Tesla T4", "host_memory": "1e99"}], "row 1: host_memory: .* more memory"),
        ([{"device": "Tesla T4", "count": 10**30}], "row 1: count must be at most"),
        ([{"device": "Tesla T4", "price": 1e300}], "row 1: price must be at most"),
        ([{"device": "Tesla T4", "price": float("nan")}], "row 1: price must be at least 0"),
        ([{"device": "Tesla T4", "price": 10**400}], "price: the number is too large"),
        ([{"device": "Tesla T4", "power": float("inf")}], "row 1: power must be at most"),
        ([{"device": "Tesla T4", "cpu": -4}], "row 1: cpu must be at least 0"),
        ([{"device": "Tesla T4", "cores": -1}], "row 1: cores must be at least 0"),
        ([{"device": "Tesla T4", "name": "../lab"}], "row 1: name: '../lab' cannot be a name"),
        ([{"device": "Tesla T4", "host": "a\nb"}], "row 1: host: .* a line break"),
        ([{"device": "T5\0", "memory": "8GB"}], "row 1: device: .* control character"),
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


# What is placed is what there is


def test_a_retrained_model_is_placed_as_it_is_now():
    """The old files needed 2 GB, the new ones need 9: two such models fill a T4 no more."""
    old = measured("a", memory_gb=2, model_digest="old", measured_at="2024-01-01")
    new = measured("a", memory_gb=9, model_digest="new", measured_at="2024-02-01")
    made = formulate([old, new, measured("b", memory_gb=9)], [SERVER], T4)
    (option,) = made.problem.models[0].options
    assert option.needs["memory"] == 9 * GB
    assert solve(made.problem).layout.gpu_count == 2
    assert made.notes == (
        "a: 1 measurement (up to 2024-01-01) on Tesla T4 of other model files left out; "
        "the newest alone count.",
    )


def test_files_that_were_measured_on_another_device_type_count_everywhere():
    """The model was retrained and measured on an L4 since; on the T4 it is not known any more."""
    old = measured("a", model_digest="old", measured_at="2024-01-01")
    new = measured("a", kind="NVIDIA L4", model_digest="new", measured_at="2024-02-01")
    with pytest.raises(NoAnswerError, match="Measurements on Tesla T4 are of other model files"):
        formulate([old, new], [SERVER], T4)
    assert formulate([old, new], [], [single("NVIDIA L4")]).problem.models[0].options


def test_a_retrained_model_that_only_failed_is_not_placed_as_it_was():
    old = measured("a", model_digest="old", measured_at="2024-01-01")
    failed = {"status": "failed", "reason": "out of memory", "usage": None}
    new = measured("a", model_digest="new", measured_at="2024-02-01", **failed)
    with pytest.raises(NoAnswerError, match="as it is now: out of memory Older measurements"):
        formulate([old, new], [SERVER], T4)


def test_the_newest_server_counts_on_each_device_type():
    """The T4s got Triton 2.51; the L4s still run 2.50, and were measured later."""
    rows = [
        measured("a", environment=Environment("2.50"), measured_at="2024-01-01"),
        measured("a", batch=2, environment=Environment("2.51"), measured_at="2024-01-02"),
        measured("a", kind="NVIDIA L4", environment=Environment("2.50"), measured_at="2024-01-03"),
    ]
    fleet = read_fleet([{"device": "Tesla T4"}, {"device": "NVIDIA L4"}])
    made = formulate(rows, [SERVER], fleet)
    options = made.problem.models[0].options
    assert [(o.name, o.device_type) for o in options] == [
        ("as configured b2 c1", "Tesla T4"),
        ("as configured b1 c1", "NVIDIA L4"),
    ]
    assert any("of another server (2.50) left out" in note for note in made.notes)


def test_a_table_that_is_imported_later_stands_against_what_was_profiled():
    """Rows without a digest: the newest rows of a device type count, others are not touched."""
    triton = Environment("2.51")
    profiled = measured("a", model_digest="x", environment=triton, measured_at="2024-01-01")
    elsewhere = measured("a", kind="NVIDIA L4", measured_at="2024-01-02")
    imported = measured("a", batch=8, measured_at="2024-01-03")
    fleet = read_fleet([{"device": "Tesla T4"}, {"device": "NVIDIA L4"}])
    both = formulate([profiled, elsewhere], [SERVER], fleet).problem.models[0]
    assert len(both.options) == 2
    later = formulate([profiled, elsewhere, imported], [SERVER], fleet).problem.models[0]
    assert [o.name for o in later.options] == ["as configured b1 c1", "as configured b8 c1"]


def with_host(cores: float, memory_gb: float) -> HostUsage:
    return HostUsage(cores, 0.0, int(memory_gb * GB))


HOSTS = [
    {"device": "Tesla T4", "host": "small", "count": 1, "cpu": 2, "host_memory": "8GB"},
    {"device": "Tesla T4", "host": "large", "count": 1, "cpu": 16, "host_memory": "64GB"},
    {"device": "Tesla T4", "host": "twin", "count": 1, "cpu": 2, "host_memory": "8GB"},
]
LIMITS = ("memory", "cpu", "host_memory")


@pytest.mark.parametrize("hosts", [HOSTS, HOSTS[::-1]])
def test_each_host_has_its_own_processors_and_memory_in_whatever_order(hosts):
    """6 cores or 20 GB of RAM are in the large host alone; with both of 4 GB on its GPU there is no
    room for 9 GB more beside the server's half.
    """
    rows = [
        measured("cores", host=with_host(6, 1)),
        measured("ram", host=with_host(1, 20)),
        measured("light", memory_gb=9, host=with_host(1, 1)),
    ]
    made = formulate(rows, [SERVER], read_fleet(hosts), limits=LIMITS)
    result = solve(made.problem)
    where = {r.model: d.name for d in result.layout.devices for r in d.residents}
    assert (where["cores"], where["ram"]) == ("large", "large")
    assert where["light"] in {"small", "twin"}
    assert set(made.device_types.values()) == {"Tesla T4"}
    assert len(made.problem.types) == 2
    for device in result.layout.devices:
        assert device.capacity["cpu"] == (16 if device.name == "large" else 2)


def test_hosts_that_differ_in_nothing_that_is_limited_are_one_type():
    made = formulate([measured("a")], [SERVER], read_fleet(HOSTS))
    assert [t.name for t in made.problem.types] == ["Tesla T4"]


def test_what_no_host_of_the_fleet_offers_is_infeasible():
    rows = [measured("a", host=with_host(17, 1))]
    made = formulate(rows, [SERVER], read_fleet(HOSTS), limits=LIMITS)
    assert solve(made.problem).status == "infeasible"


def test_slices_share_the_host_of_their_gpu():
    """An A30's 2g slice is half of it: half of its 8 cores, so 3 cores fit and 5 do not."""
    name = "NVIDIA A30"
    fleet = read_fleet([{"device": name, "mig": True, "count": 1, "cpu": 8}])
    for cores, status in ((3, "optimal"), (5, "infeasible")):
        rows = [measured("a", kind=f"{name} MIG 2g.12gb", host=with_host(cores, 1))]
        assert solve(formulate(rows, [], fleet, limits=LIMITS).problem).status == status


def test_limits_of_a_stream_rule_out_what_misses_them():
    """First responses at 300 and 90 ms; 40 ms between responses, in the second option only."""
    slow = measured("llm", batch=1, first_response=Latency(*[300.0] * 6))
    fast = measured(
        "llm",
        batch=2,
        first_response=Latency(*[90.0] * 6),
        between_responses=Latency(*[40.0] * 6),
    )

    def placed(**limits):
        demands = read_demands({"models": {"llm": limits}})
        return formulate([slow, fast], [SERVER], T4, demands).problem.models[0].options

    assert len(placed(first_response_limit_ms=300)) == 2
    assert [o.load for o in placed(first_response_limit_ms=100)] == [LoadPoint(2)]
    assert [o.load for o in placed(between_responses_limit_ms=50)] == [LoadPoint(2)]
    with pytest.raises(NoAnswerError, match=r"first response of at most 50 ms: the best .* 90 ms"):
        placed(first_response_limit_ms=50)


def test_a_member_of_a_composed_model_is_placed_with_it_unless_it_is_asked_for():
    composed = Variant("pipeline", members=(Variant("bert"),))
    rows = [replace(measured("pipeline"), variant=composed), measured("bert"), measured("other")]

    def placed(demands=None, **more):
        made = formulate(rows, [SERVER], T4, demands, **more)
        return [m.name for m in made.problem.models], made.notes

    names, notes = placed()
    assert names == ["other", "pipeline"]
    assert any("bert is placed within pipeline" in note for note in notes)
    assert placed(read_demands({"models": {"bert": {"rate": 5}}}))[0] == [
        "bert",
        "other",
        "pipeline",
    ]
    assert placed(models=["bert", "pipeline"])[0] == ["bert", "pipeline"]
