"""The checker against layouts that hold, each mutated into one that does not."""

from dataclasses import replace

import pytest

from placement import (
    Layout,
    Model,
    Option,
    PlacedDevice,
    PlacementProblem,
    Pool,
    PoolType,
    Resident,
    Resource,
    Rules,
)
from placement.layout.check import moves, objective, slowed, violations

OPTION = Option("b1 c1", "t4", {"memory": 6, "utilization": 40}, 100.0, 10.0)
SLOW = Option("b8 c1", "t4", {"memory": 7, "utilization": 50}, 200.0, 40.0)


def a_model(name, **settings):
    return Model(name, (OPTION, SLOW), **settings)


PROBLEM = PlacementProblem(
    models=(
        a_model("a", latency_limit_ms=20),
        a_model("b", rate=150, min_replicas=2),
        a_model("c"),
    ),
    types=(
        PoolType("t4", {"memory": 16, "utilization": 100}, {"memory": 1, "utilization": 5}),
        PoolType("slice", {"memory": 8}, {}),
    ),
    pools=(
        Pool("north", "t4", 2, 1.5, "n"),
        Pool("south", "t4", 2, 1.0, "s", (("slice", "slice"),)),
    ),
    resources=(Resource("memory", scales=False, unit="GB"), Resource("utilization")),
    rules=Rules(
        pins=(("a", "north"),),
        forbidden=(("c", "north-1"),),
        apart=(("a", "c"),),
        spread=("b",),
        excluded_devices=("south-2",),
    ),
    current=(("a", "north-1"), ("c", "north-1")),
    max_moves=1,
    move_price=0.25,
)


def on(name, host, *residents):
    return PlacedDevice(name, "t4", residents, host=host)


def resident(model, share=1.0, option=OPTION):
    return Resident(model, option.name, share, option.throughput * share)


HOLDS = Layout(
    (
        on("north-1", "n", resident("a"), resident("b", 0.75)),
        on("south-1", "s", resident("c"), resident("b", 0.75)),
    )
)


def swapped(index, **changes):
    devices = list(HOLDS.devices)
    devices[index] = replace(devices[index], **changes)
    return Layout(tuple(devices))


def test_a_layout_that_holds_has_no_violations():
    """Memory 1 + 6 + 6 = 13 of 16; utilization 5 + 40 + 0.75 · 40 = 75 of 100."""
    assert violations(PROBLEM, HOLDS) == []


def test_the_objective_is_recomputed():
    """1.5 + 1.0 for the devices; c moved, for 0.25."""
    assert moves(PROBLEM, HOLDS) == [("c", "south-1")]
    assert objective(PROBLEM, HOLDS) == pytest.approx(2.75)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (swapped(0, residents=(resident("a"),)), "b: needs 2 distinct GPUs, runs on 1"),
        (swapped(0, residents=(resident("a"), resident("b", 0.5))), "b: carries 125"),
        (
            swapped(0, residents=(resident("a", 0.5), resident("b", 0.75))),
            "a: has no rate, so it carries its whole measured load",
        ),
        (
            swapped(0, residents=(resident("a", option=SLOW), resident("b", 0.75))),
            "a exceeds its latency limit of 20 ms",
        ),
        (
            swapped(0, residents=(resident("a"), resident("b"), resident("x"))),
            "unknown model 'x'",
        ),
        (
            swapped(0, residents=(resident("a"), resident("a"), resident("b", 0.75))),
            "holds a 2 times",
        ),
        (
            swapped(1, residents=(resident("c"), resident("b", 0.75), resident("a"))),
            "needs 19 GB of memory, has 16",
        ),
        (swapped(1, residents=(resident("c", option=SLOW), resident("b", 1.5))), "share of 1.5"),
        (
            swapped(1, residents=(resident("c"), replace(resident("b", 0.75), rate=100.0))),
            "b is stated to carry 100 inferences per second; its share there is 75",
        ),
        (
            swapped(1, residents=(resident("c"), replace(resident("b"), option="b2"))),
            "b has no option 'b2' on t4",
        ),
        (swapped(1, name="south-2"), "south-2: is excluded"),
        (swapped(1, name="south-3"), "the fleet has no such device"),
        (swapped(1, name="north-2"), "is in host n, not s"),
        (swapped(1, name="north-2", host="n"), "b: must be spread over hosts, but host n has 2"),
        (swapped(1, device_type="v100"), "unknown device type 'v100'"),
        (swapped(1, parent="south-1", name="south-1/t4-1"), "belong to no partition of south"),
        (swapped(1, name="north-1", host="n"), "Device north-1 is listed 2 times"),
        (
            Layout((HOLDS.devices[1], on("south-1", "s", resident("a")))),
            "a: is pinned to north but runs on south-1",
        ),
        (swapped(0, residents=(resident("c"), resident("b", 0.75))), "c: is forbidden on north-1"),
        (
            swapped(0, residents=(resident("a"), resident("c"))),
            "a and c: must be apart, but run on north-1",
        ),
        (swapped(0, name="north-2"), "2 moves, at most 1"),
    ],
)
def test_a_mutation_is_found(layout, said):
    assert any(said in line for line in violations(PROBLEM, layout)), violations(PROBLEM, layout)


def test_models_that_belong_together_are_held_together():
    problem = replace(PROBLEM, rules=Rules(together=(("a", "c"),)))
    assert any("must be together" in line for line in violations(problem, HOLDS))


def test_least_growth_is_the_least_models():
    """a: 100 of its best 200; b: 150 of its rate 150; c: 100 of 200."""
    problem = replace(
        PROBLEM, objective="max-throughput", fairness="max-min",
        models=tuple(replace(m, latency_limit_ms=None) for m in PROBLEM.models),
    )  # fmt: skip
    assert objective(problem, HOLDS) == pytest.approx(0.5)
    assert objective(replace(problem, fairness="sum"), HOLDS) == pytest.approx(2.0)


def test_two_slices_of_one_gpu_are_one_of_the_gpus_that_a_model_runs_on():
    """Both replicas of `b` on slices of south-1 are lost with it."""
    option = Option("b1", "slice", {"memory": 6}, 100.0)
    problem = replace(PROBLEM, models=(Model("b", (option,), min_replicas=2),), rules=Rules())
    layout = Layout(
        tuple(
            PlacedDevice(
                f"south-1/slice-{n}", "slice", (resident("b", option=option),),
                host="s", parent="south-1",
            )
            for n in (1, 2)
        )
    )  # fmt: skip
    assert violations(problem, layout) == ["b: needs 2 distinct GPUs, runs on 1."]
    assert violations(replace(problem, models=(Model("b", (option,)),)), layout) == []
    third = replace(layout.devices[1], name="south-1/slice-3")
    assert violations(
        replace(problem, models=(Model("b", (option,)),)), Layout((layout.devices[0], third))
    ) == ["south-1: south-1/slice-1, south-1/slice-3 belong to no partition of south."]


def slowed_pair(rated: float, *, b: float = 1.0, **settings):
    """`r` at 40/s on half of a device, beside `f`, which would fill 60 % of it and has no rate."""
    problem = PlacementProblem(
        (
            Model("r", (Option("k", "t4", {}, 100.0, 10.0, busy=0.5, sensitivity=b),), rate=40.0),
            Model("f", (Option("k", "t4", {}, 100.0, 10.0, busy=0.6, sensitivity=1.0),)),
        ),
        (PoolType("t4", {}),),
        (Pool("gpu", "t4", 1),),
        (Resource("memory", scales=False),),
        **settings,
    )
    reached = 1 - 0.5 * rated
    residents = (
        Resident("r", "k", rated, 100 * rated), Resident("f", "k", 1.0, 100 * reached)
    )  # fmt: skip
    return problem, Layout((PlacedDevice("gpu", "t4", residents),))


def test_neighbours_count_at_the_rate_that_they_reach():
    """f reaches 1 - 0.5 · 0.5 = 0.75 of its load and takes 0.45 of the device: r keeps 0.55.

    Counted at its full load, f would leave r 0.4. With b = 1.2, r keeps 1 - 1.2 · 0.45 = 0.46.
    """
    assert violations(*slowed_pair(0.5)) == []
    assert violations(*slowed_pair(0.5, b=1.2)) == [
        "gpu: r carries a share of 0.5; its neighbours leave it 0.46."
    ]


def test_a_limit_on_slowdown_holds_for_models_without_a_rate():
    """f keeps 0.8 of its load beside 0.4 of r, which takes 0.2 of the device."""
    assert violations(*slowed_pair(0.4, max_slowdown=0.2)) == []
    assert violations(*slowed_pair(0.4, max_slowdown=0.19)) == [
        "gpu: f reaches 0.8 of its measured load beside its neighbours; max_slowdown asks for 0.81."
    ]
    assert slowed(*slowed_pair(0.4)) == [
        "f on gpu: reaches 80% of its measured load beside its neighbours."
    ]


def test_a_rule_that_names_a_model_twice_binds_once():
    problem = replace(PROBLEM, rules=Rules(apart=(("a", "a", "b", "b"),), together=(("a", "a"),)))
    layout = Layout((on("north-1", "n", resident("c"), resident("b", 0.75)), *HOLDS.devices[1:]))
    assert not any("apart" in line for line in violations(problem, layout))


def test_what_stands_at_any_share_is_counted_beside_what_grows_with_it():
    """30 of 40 % stand there: at half of its throughput the replica needs 30 + 5. Two need 70 of
    the 75 % that are there beside a server's 5 %, three 105."""
    option = replace(OPTION, needs={"memory": 3, "utilization": 40}, standing={"utilization": 30})
    models = tuple(Model(name, (option,), rate=50) for name in ("a", "b", "c"))
    types = (PoolType("t4", {"memory": 16, "utilization": 75}, {"utilization": 5}),)
    problem = PlacementProblem(models, types, (Pool("gpu", "t4", 1),), PROBLEM.resources)
    residents = tuple(Resident(m.name, option.name, 0.5, 50.0) for m in models)
    two = replace(problem, models=models[:2])
    assert violations(two, Layout((PlacedDevice("gpu", "t4", residents[:2]),))) == []
    (said,) = violations(problem, Layout((PlacedDevice("gpu", "t4", residents),)))
    assert "needs 110 % of utilization, has 75" in said
