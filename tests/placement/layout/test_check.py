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
from placement.layout.check import moves, objective, violations

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
        (swapped(0, residents=(resident("a"),)), "b: 1 replicas, at least 2"),
        (swapped(0, residents=(resident("a"), resident("b", 0.5))), "b: carries 125"),
        (
            swapped(0, residents=(resident("a", 0.5), resident("b", 0.75))),
            "a: runs at its measured",
        ),
        (
            swapped(0, residents=(resident("a", option=SLOW), resident("b", 0.75))),
            "a misses its latency limit of 20 ms",
        ),
        (
            swapped(0, residents=(resident("a"), resident("b"), resident("x"))),
            "x is no model of the problem",
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
            "b says 100 inferences per second; its share is 75",
        ),
        (
            swapped(1, residents=(resident("c"), replace(resident("b"), option="b2"))),
            "b has no option 'b2' on t4",
        ),
        (swapped(1, name="south-2"), "south-2: is excluded"),
        (swapped(1, name="south-3"), "the fleet has no such device"),
        (swapped(1, name="north-2"), "stands in host n, not s"),
        (swapped(1, name="north-2", host="n"), "b: is spread over hosts, but n has 2"),
        (swapped(1, device_type="v100"), "no device type 'v100'"),
        (swapped(1, parent="south-1", name="south-1/t4-1"), "is no legal partition"),
        (swapped(1, name="north-1", host="n"), "Device north-1 is listed 2 times"),
        (
            Layout((HOLDS.devices[1], on("south-1", "s", resident("a")))),
            "a: is pinned to north but runs on south-1",
        ),
        (swapped(0, residents=(resident("c"), resident("b", 0.75))), "c: is forbidden on north-1"),
        (
            swapped(0, residents=(resident("a"), resident("c"))),
            "a and c: kept apart, but both run on north-1",
        ),
        (swapped(0, name="north-2"), "2 moves, at most 1"),
    ],
)
def test_a_mutation_is_found(layout, said):
    assert any(said in line for line in violations(PROBLEM, layout)), violations(PROBLEM, layout)


def test_models_that_belong_together_are_held_together():
    problem = replace(PROBLEM, rules=Rules(together=(("a", "c"),)))
    assert any("kept together" in line for line in violations(problem, HOLDS))


def test_least_growth_is_the_least_models():
    """a: 100 of its best 200; b: 150 of its rate 150; c: 100 of 200."""
    problem = replace(
        PROBLEM, objective="max-throughput", fairness="max-min",
        models=tuple(replace(m, latency_limit_ms=None) for m in PROBLEM.models),
    )  # fmt: skip
    assert objective(problem, HOLDS) == pytest.approx(0.5)
    assert objective(replace(problem, fairness="sum"), HOLDS) == pytest.approx(2.0)
