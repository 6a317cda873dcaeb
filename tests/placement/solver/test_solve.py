from dataclasses import replace

import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules, solve
from placement.layout import check
from placement.solver.solve import TO_A_GRAIN
from profiles.errors import InputError

MEMORY = Resource("memory", scales=False, unit="GB")
UTILIZATION = Resource("utilization")


def a_model(name, memory=4.0, utilization=20.0, throughput=100.0, kind="t4", **settings):
    needs = {"memory": memory, "utilization": utilization}
    return Model(name, (Option("b1 c1", kind, needs, throughput, 10.0),), **settings)


def a_problem(*models, count=None, **settings):
    return PlacementProblem(
        models=models,
        types=(PoolType("t4", {"memory": 16, "utilization": 100}, {"memory": 1}),),
        pools=(Pool("gpu", "t4", count),),
        resources=(MEMORY, UTILIZATION),
        **settings,
    )


def test_memory_forces_a_second_gpu():
    """1 + 8 + 8 = 17 GB do not fit 16."""
    result = solve(a_problem(a_model("a", 8), a_model("b", 8)))
    assert (result.status, result.value, result.bound) == ("optimal", 2, 2)


def test_without_any_limit_one_gpu_is_enough():
    """So asks the explanation, when it looks for the smallest set of facts that clash."""
    models = (Model(n, (Option("b1", "t4", {}, 100.0, 10.0),)) for n in "abc")
    problem = replace(a_problem(*models), types=(PoolType("t4", {}),), resources=())
    result = solve(problem)
    assert (result.status, result.value) == ("optimal", 1)


def test_the_server_is_paid_once_per_device():
    """1 + 5 + 5 + 5 = 16 GB; were it paid by model, 18."""
    assert solve(a_problem(*(a_model(n, 5) for n in "abc"))).value == 1


def test_a_rate_is_split_where_one_device_cannot_carry_it():
    """150 inferences per second at 60 % for 100 take 90 %: one device could, but one replica
    carries 100 at most, so that two replicas on two devices are needed."""
    result = solve(a_problem(a_model("a", 2, 60, rate=150)))
    assert result.value == 2
    assert result.layout.rates()["a"] >= 150


def test_half_the_rate_takes_half_the_utilization():
    """Two models of 100 % utilization at full throughput share a device at 50 of 100 each."""
    models = [a_model(n, 2, 100, rate=50) for n in "ab"]
    assert solve(a_problem(*models)).value == 1


def test_most_throughput_on_one_device():
    """Both would need 200 % together: each carries half, the growth factor is 0.5."""
    models = [a_model(n, 2, 100) for n in "ab"]
    problem = a_problem(*models, count=1, objective="max-throughput", fairness="max-min")
    assert solve(problem).value == pytest.approx(0.5)
    assert solve(replace(problem, fairness="sum")).value == pytest.approx(1.0)


def test_a_model_on_no_device_is_infeasible():
    assert solve(a_problem(a_model("a", 15.5))).status == "infeasible"


def test_replicas_are_spread_over_hosts():
    """Two replicas, hosts north (two devices) and south (one): one replica each."""
    problem = replace(
        a_problem(a_model("a", min_replicas=2)),
        pools=(Pool("north", "t4", 2, 0.1, "n"), Pool("south", "t4", 1, 1.0, "s")),
        rules=Rules(spread=("a",)),
    )
    result = solve(problem)
    assert {d.host for d in result.layout.devices} == {"n", "s"}
    assert result.value == pytest.approx(1.1)


def test_a_gpu_may_be_cut_into_slices():
    """Kept apart, two small models take one GPU in two slices where they took two whole ones."""
    models = [a_model(n, 4, 20) for n in "ab"]
    sliced = [
        replace(m, options=(*m.options, replace(m.options[0], device_type="slice"))) for m in models
    ]
    problem = replace(
        a_problem(*sliced, rules=Rules(apart=(("a", "b"),))),
        types=(
            PoolType("t4", {"memory": 16, "utilization": 100}, {"memory": 1}),
            PoolType("slice", {"memory": 8, "utilization": 50}, {"memory": 1}),
        ),
    )
    assert solve(problem).value == 2
    cut = replace(problem, pools=(Pool("gpu", "t4", None, partitions=(("slice", "slice"),)),))
    result = solve(cut)
    assert result.value == 1
    assert [d.name for d in result.layout.devices] == ["gpu-1/slice-1", "gpu-1/slice-2"]
    assert check.violations(cut, result.layout) == []


def test_nothing_moves_when_moving_costs_more_than_a_device():
    """Two half-full devices could be one; at price 1 a device a move for 1.5 is not worth it."""
    problem = a_problem(
        a_model("a"), a_model("b"), current=(("a", "gpu-1"), ("b", "gpu-2")), move_price=1.5
    )
    assert solve(problem).value == 2
    assert solve(replace(problem, move_price=0.5)).value == 1.5


def test_a_lost_device_is_replaced_by_another():
    """gpu-1 of three is lost: the model that ran there moves, the other stays on gpu-2."""
    problem = a_problem(
        a_model("a", 9),
        a_model("b", 9),
        count=3,
        current=(("a", "gpu-1"), ("b", "gpu-2")),
        move_price=0.1,
        rules=Rules(excluded_devices=("gpu-1",)),
    )
    layout = solve(problem).layout
    where = {r.model: d.name for d in layout.devices for r in d.residents}
    assert where == {"a": "gpu-3", "b": "gpu-2"}


def test_a_layout_far_up_an_unlimited_pool_is_kept():
    problem = a_problem(a_model("a"), current=(("a", "gpu-7"),), move_price=1.0)
    assert [d.name for d in solve(problem).layout.devices] == ["gpu-7"]


@pytest.mark.parametrize("objective", ["min-hardware", "max-throughput"])
def test_the_same_problem_and_seed_give_the_same_layout(objective):
    """Seven models in three sizes: many layouts are equally good, and one of them is chosen."""
    models = [a_model(n, 3 + i % 3, 20 + 7 * (i % 4), 50 + i) for i, n in enumerate("abcdefg")]
    problem = a_problem(*models, count=4, objective=objective)
    first = solve(problem, seed=3)
    assert first.status == "optimal"
    assert first.notes == ((TO_A_GRAIN,) if objective == "max-throughput" else ())
    assert all(solve(problem, seed=3).layout == first.layout for _ in range(3))


def test_at_most_so_many_devices_may_be_used():
    """A large device at 5, or two small ones at 1 each."""
    models = [
        replace(a_model(n, 8), options=tuple(
            Option("b1", kind, {"memory": 8, "utilization": 20}, 100.0, 10.0)
            for kind in ("t4", "large")
        ))
        for n in "ab"
    ]  # fmt: skip
    problem = replace(
        a_problem(*models),
        types=(PoolType("t4", {"memory": 9}), PoolType("large", {"memory": 16})),
        pools=(Pool("small", "t4"), Pool("large", "large", price=5.0)),
    )
    assert solve(problem).value == 2
    limited = replace(problem, max_devices=1)
    result = solve(limited)
    assert result.value == 5
    assert check.violations(limited, result.layout) == []
    assert check.violations(limited, solve(problem).layout) == [
        "2 devices are in use, at most 1 are allowed."
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rules": Rules(pins=(("x", "gpu"),))}, "rules.pins: unknown model 'x'"),
        ({"rules": Rules(excluded_devices=("tpu",))}, "unknown device or pool 'tpu'"),
        ({"pools": (Pool("gpu", "v100"),)}, "unknown device type 'v100'"),
        ({"models": (a_model("a"), a_model("a"))}, "the name 'a' is used 2 times"),
        ({"models": (a_model("a", -1),)}, "memory: must be a number of at least 0"),
        ({"models": (a_model("a", rate=0),)}, "rate: must be above zero"),
        ({"models": (a_model("a", kind="v100"),)}, "unknown device type 'v100'"),
        ({"objective": "max-throughput"}, "fleet of known size"),
    ],
)
def test_a_problem_that_makes_no_sense_is_refused(change, named):
    with pytest.raises(InputError, match=named):
        solve(replace(a_problem(a_model("a")), **change))
