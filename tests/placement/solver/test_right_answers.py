"""Answers that were wrong once, each with its arithmetic."""

import random
import time
from dataclasses import replace

import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules, solve
from placement.explain.frontier import frontier
from placement.layout import check
from placement.problem.validate import validate
from placement.solver.result import Deadline
from profiles.errors import InputError

MEMORY = Resource("memory", scales=False, unit="GB")
UTILIZATION = Resource("utilization")


def a_problem(models, count=None, price=1.0, capacity=None, **settings):
    pools = settings.pop("pools", (Pool("gpu", "t4", count, price),))
    return PlacementProblem(
        tuple(models),
        (PoolType("t4", capacity or {"memory": 16, "utilization": 100}),),
        pools,
        (MEMORY, UTILIZATION),
        **settings,
    )


def an_option(memory=1.0, utilization=10.0, throughput=100.0, name="k", **settings):
    return Option(
        name, "t4", {"memory": memory, "utilization": utilization}, throughput, **settings
    )


def a_model(name, memory=1.0, utilization=10.0, throughput=100.0, **settings):
    return Model(name, (an_option(memory, utilization, throughput),), **settings)


def solved(problem, limit_s=20):
    result = solve(problem, limit_s)
    if result.layout is not None:
        assert check.violations(problem, result.layout) == []
        assert check.objective(problem, result.layout) == pytest.approx(result.value, rel=1e-9)
    return result


# Exact numbers


@pytest.mark.parametrize("replicas", [3, 6, 7, 9, 11, 12])
@pytest.mark.parametrize("counted", [True, False])
def test_replicas_that_just_carry_the_rate_suffice(replicas, counted):
    """A replica carries 100: a rate of 300 takes three. A server holds a model once: three GPUs."""
    model = a_model("a", rate=100.0 * replicas)
    result = solved(a_problem([model], count=replicas if counted else None))
    assert (result.status, result.value) == ("optimal", replicas)


def test_one_replica_more_is_needed_for_a_little_more():
    """300.0001 takes a fourth GPU, which three do not have."""
    model = a_model("a", rate=300.0001)
    assert solved(a_problem([model])).value == 4
    assert solved(a_problem([model], count=3)).status == "infeasible"


@pytest.mark.parametrize(
    ("capacity", "need", "together"),
    [(15360, 7680, 2), (15360, 5120, 3), (1.0, 0.1, 10), (0.3, 0.1, 3), (23034, 7678, 3)],
)
def test_models_that_just_fit_share_a_device(capacity, need, together):
    """7680 + 7680 = 15360 MiB; 0.1 + 0.1 + 0.1 = 0.3, though floats sum to more. One more model
    takes a second device."""
    problem = a_problem([a_model("a", need, 0, count=together)], capacity={"memory": capacity})
    assert (solved(problem).status, solved(problem).value) == ("optimal", 1)
    more = replace(problem, models=(a_model("a", need, 0, count=together + 1),))
    assert (solved(more).status, solved(more).value) == ("optimal", 2)


def test_a_third_of_a_device_each_is_one_device():
    """Each at 100 of 300 inferences per second takes a third of the utilization of 100 %."""
    models = [a_model(name, 1, 100, 300.0, rate=100.0) for name in "abc"]
    result = solved(a_problem(models))
    assert (result.status, result.value) == ("optimal", 1)


def test_a_third_that_is_rounded_up_is_too_much():
    """33.34 % three times is 100.02 %, 33.33 % is 99.99 %."""
    much = [a_model(name, 1, 33.34) for name in "abc"]
    little = [a_model(name, 1, 33.33) for name in "abc"]
    assert solved(a_problem(much)).value == 2
    assert solved(a_problem(little)).value == 1


@pytest.mark.parametrize("weight", [0.0004, 1e-6])
def test_small_weights_count(weight):
    """The model fits and carries all: its weight is the value."""
    model = a_model("a", weight=weight)
    result = solved(a_problem([model], count=1, objective="max-throughput"))
    assert result.status == "optimal"
    assert result.value == pytest.approx(weight, rel=1e-6)


def test_a_small_weight_beside_a_large_one_decides():
    """Only one of b and c fits beside a: the heavier by 0.0001 goes in, 1 + 0.0003."""
    models = [
        a_model("a", 8, weight=1.0, min_replicas=0),
        a_model("b", 8, weight=0.0003, min_replicas=0),
        a_model("c", 8, weight=0.0002, min_replicas=0),
    ]
    result = solved(a_problem(models, count=1, objective="max-throughput"))
    assert result.value == pytest.approx(1.0003, rel=1e-9)


def test_a_price_of_moves_as_fine_as_an_hour_of_a_month():
    """b (10 GB) fits beside neither copy of a (8 GB): two GPUs; nothing has to move."""
    problem = a_problem(
        [a_model("a", 8, count=2), a_model("b", 10)],
        current=(("a#1", "gpu-1"), ("a#2", "gpu-1"), ("b", "gpu-2")),
        move_price=0.1 / 730,
    )
    result = solved(problem)
    assert (result.status, result.value) == ("optimal", 2)
    moved = replace(problem, rules=Rules(excluded_devices=("gpu-2",)))
    assert solved(moved).value == pytest.approx(2 + 0.1 / 730, rel=1e-12)


# Devices


@pytest.mark.parametrize(
    "rules",
    [
        Rules(pins=(("a", "gpu-3"),)),
        Rules(forbidden=(("b", "gpu-1"), ("c", "gpu-2"))),
        Rules(excluded_devices=("gpu-1",)),
        Rules(pins=(("a", "gpu-4"), ("b", "gpu-5"), ("c", "gpu-6"))),
    ],
)
def test_an_unlimited_pool_is_as_good_as_a_counted_one(rules):
    """Three models of 9 of 16 GB take three GPUs, wherever rules send them."""
    models = [a_model(name, 9) for name in "abc"]
    for count in (None, 12):
        result = solved(a_problem(models, count, rules=rules))
        assert (result.status, result.value) == ("optimal", 3)


def test_a_name_that_means_two_devices_is_refused():
    """The second device of `a` would be a-2, its first a-1, as the other pool."""
    pools = (Pool("a", "t4", 2), Pool("a-1", "t4", 1))
    with pytest.raises(InputError, match="'a-1' is also a device of pool 'a'"):
        validate(a_problem([a_model("m")], pools=pools))
    unlimited = (Pool("a", "t4"), Pool("a-700", "t4", 3))
    with pytest.raises(InputError, match="'a-700' is also a device of pool 'a'"):
        validate(a_problem([a_model("m")], pools=unlimited))
    sliced = (Pool("a", "t4", 1, partitions=(("t4",),)), Pool("a/t4-1", "t4", 1))
    with pytest.raises(InputError, match="'a/t4-1' is also a slice of pool 'a'"):
        validate(a_problem([a_model("m")], pools=sliced))
    validate(a_problem([a_model("m")], pools=(Pool("a", "t4", 2), Pool("a-3", "t4", 1))))


def sliced(models, count=2, **settings):
    """GPUs that are used whole or as two slices of 8 GB."""
    return PlacementProblem(
        tuple(models),
        (PoolType("a100", {"memory": 16}), PoolType("half", {"memory": 8})),
        (Pool("gpu", "a100", count, 1.0, partitions=(("half", "half"),)),),
        (MEMORY,),
        **settings,
    )


def on_slices(name, memory=6, **settings):
    return Model(name, (Option("k", "half", {"memory": memory}, 100.0),), **settings)


def test_two_slices_of_one_gpu_are_no_two_gpus():
    """Two replicas on distinct GPUs cost 2; a rate of 200 takes two slices of one, which cost 1."""
    result = solved(sliced([on_slices("a", min_replicas=2)]))
    assert (result.status, result.value) == ("optimal", 2)
    result = solved(sliced([on_slices("a", rate=200.0)]))
    assert (result.status, result.value) == ("optimal", 1)
    assert solved(sliced([on_slices("a", min_replicas=2)], 1)).status == "infeasible"


def test_an_excluded_slice_is_not_used():
    """Three slices for three models need two GPUs; without gpu-1's first slice all the same."""
    models = [on_slices(name) for name in "abc"]
    rules = Rules(excluded_devices=("gpu-1/half-1",))
    result = solved(sliced(models, rules=rules))
    assert (result.status, result.value) == ("optimal", 2)
    both = Rules(excluded_devices=("gpu-1/half-1", "gpu-2/half-2"))
    assert solved(sliced(models, rules=both)).status == "infeasible"


def test_a_slice_that_no_partition_has_is_refused():
    with pytest.raises(InputError, match="unknown device or pool 'gpu-1/half-3'"):
        validate(sliced([on_slices("a")], rules=Rules(excluded_devices=("gpu-1/half-3",))))


def test_the_frontier_goes_on_while_more_devices_carry_more():
    """A rate of 300 by replicas of 100: a third, two thirds, all of it."""
    problem = a_problem([a_model("a", rate=300.0)], objective="max-throughput")
    points = frontier(problem, Deadline(20))
    assert [p.value for p in points[:3]] == pytest.approx([1 / 3, 2 / 3, 1.0], rel=1e-6)
    assert [p.status for p in points[:3]] == ["optimal"] * 3


# Options


def test_an_insensitive_option_is_worth_its_memory():
    """Beside b, which takes half of the device, the leaner option of a keeps 1 - 1.5 · 0.5; the one
    of 2 GB keeps all. One device."""
    a = Model(
        "a",
        (
            an_option(1, name="lean", sensitivity=1.5, busy=0.1),
            an_option(2, name="insensitive", sensitivity=0.0, busy=0.1),
        ),
        rate=100.0,
    )
    b = Model("b", (an_option(1, 50, busy=0.5),), rate=100.0)
    result = solved(a_problem([a, b]))
    assert (result.status, result.value) == ("optimal", 1)


# Bounds


@pytest.mark.parametrize("models", [60, 300])
def test_devices_that_are_filled_to_the_last_are_proven(models):
    """A tenth of a device each, written as 0.1 of 1.0: a tenth of the models' number, at 0.1."""
    each = [a_model(f"m{n}", 0.1, 10, 300.0, rate=300.0) for n in range(models)]
    devices = models // 10
    capacity = {"memory": 1.0, "utilization": 100}
    for count in (None, devices):
        result = solved(a_problem(each, count, 0.1, capacity))
        assert result.status == "optimal"
        assert result.value == pytest.approx(0.1 * devices, rel=1e-9)
    assert solved(a_problem(each, devices - 1, 0.1, capacity)).status == "infeasible"


# No answer is lost


def a_mixed_fleet(models, rated, seed=1, slowed=False):
    """`rated` of the models with rates from a part of one replica to several, others without."""
    rng = random.Random(seed)
    made = []
    for number in range(models):
        memory, throughput = rng.uniform(0.5, 7), rng.uniform(20, 400)
        options = []
        for k in range(rng.randint(1, 3)):
            busy = rng.uniform(20, 90)
            options.append(
                Option(
                    f"k{k}",
                    "t4",
                    {"memory": round(memory * (1 + 0.3 * k), 2), "utilization": round(busy, 1)},
                    round(throughput * (1 + 0.5 * k), 1),
                    busy=round(busy / 100, 3) if slowed else 0.0,
                    sensitivity=round(rng.uniform(0, 1.2), 2) if slowed else 0.0,
                )
            )
        rate = round(throughput * rng.uniform(0.05, 2.5), 1) if number < rated else None
        made.append(Model(f"m{number}", tuple(options), rate=rate))
    return a_problem(made)


def test_two_hundred_models_of_which_half_have_rates():
    """A layout with a bound, and no exception (an option at part load was exchanged)."""
    result = solved(a_mixed_fleet(200, 100), 5)
    assert result.layout is not None
    assert 0 < result.bound <= result.value


@pytest.mark.parametrize("rated", [250, 125])
def test_slowdown_that_is_known_does_not_cost_the_limit(rated):
    """250 models in 5 s: 125 s once. A shared machine may take thrice as long."""
    problem = a_mixed_fleet(250, rated, slowed=True)
    started_s = time.monotonic()
    result = solved(problem, 5)
    assert time.monotonic() - started_s < 15
    assert result.layout is not None
    assert 0 < result.bound <= result.value


@pytest.mark.parametrize(
    "settings",
    [{"rules": Rules(apart=(("m0", "m1"),))}, {"max_devices": 10_000}],
    ids=["one apart pair", "max_devices that cannot bind"],
)
def test_a_rule_that_hardly_binds_hardly_costs(settings):
    """300 models without rates: one more device at most than without the rule."""
    rng = random.Random(3)
    models = [
        a_model(f"m{n}", round(rng.uniform(0.5, 7), 1), round(rng.uniform(5, 45), 1))
        for n in range(300)
    ]
    problem = a_problem(models)
    free = solved(problem, 5)
    bound = solved(replace(problem, **settings), 5)
    assert bound.value <= free.value + 1
    assert bound.bound >= free.bound - 1


# Neighbours


def test_a_model_without_a_rate_counts_as_much_as_it_reaches():
    """f would fill 0.6 of the device and reaches 1 - 0.5 · 0.5 = 0.75 of that beside r: r keeps
    1 - 0.45 = 0.55 of its speed and carries 50 of 100. One device; two if f may lose no more than
    a tenth."""
    r = Model("r", (an_option(busy=0.5, sensitivity=1.0),), rate=50.0)
    f = Model("f", (an_option(busy=0.6, sensitivity=1.0),))
    result = solved(a_problem([r, f]))
    assert result.value == 1
    result = solved(a_problem([r, f], max_slowdown=0.1))
    assert result.value == 2


# Running fleets


def test_a_repair_moves_as_little_as_it_can():
    """gpu-3 is lost: c moves to gpu-2, one move. All on one device would be cheaper, two moves."""
    models = [a_model(name, 4) for name in "abc"]
    problem = a_problem(
        models,
        current=(("a", "gpu-1"), ("b", "gpu-2"), ("c", "gpu-3")),
        rules=Rules(excluded_devices=("gpu-3",)),
        repair=True,
    )
    result = solved(problem)
    assert (result.status, result.value) == ("optimal", 2)
    assert len(check.moves(problem, result.layout)) == 1
    assert solved(replace(problem, repair=False)).value == 1


def test_two_cheap_devices_are_compared_with_one_that_is_sliced():
    """Two copies apart: two small devices cost 1.4, two slices of one big device 1.5."""
    option = Option("k", "small", {"memory": 2, "utilization": 30}, 10.0)
    types = tuple(
        PoolType(name, {"memory": memory, "utilization": 90})
        for name, memory in (("big", 10), ("small", 6))
    )
    pools = (
        Pool("b", "big", None, 1.5, partitions=(("small",), ("small", "small"))),
        Pool("c", "small", None, 0.7),
    )
    models = (Model("a", (option,), count=2),)
    rules = Rules(apart=(("a",),))
    result = solved(PlacementProblem(models, types, pools, (MEMORY, UTILIZATION), rules))
    assert (result.status, result.value, result.bound) == ("optimal", 1.4, 1.4)
