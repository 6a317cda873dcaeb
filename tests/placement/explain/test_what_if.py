"""What if: one device less, or 5 % more of each resource."""

from dataclasses import replace

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, solve
from placement.explain.what_if import what_if
from placement.solver.result import Deadline, Result


def a_problem(*memory: float, **settings) -> PlacementProblem:
    """Models of so much memory and 10 % of utilization each, on devices of 10 GB."""
    return PlacementProblem(
        models=tuple(
            Model(f"m{n}", (Option("b1", "t4", {"memory": need, "utilization": 10.0}, 100.0),))
            for n, need in enumerate(memory)
        ),
        types=(PoolType("t4", {"memory": 10.0, "utilization": 100.0}),),
        pools=(Pool("rack", "t4", None, 2.0),),
        resources=(Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        **settings,
    )


def told(problem: PlacementProblem) -> tuple[str, ...]:
    return what_if(problem, solve(problem, 10), Deadline(10))


def test_a_little_more_memory_saves_a_device():
    """Two of 5.2 GB need 10.4 GB together: more than 10, less than 10.5."""
    assert told(a_problem(5.2, 5.2)) == (
        "With 1 device at most: not everything fits.",
        "With 5% more memory on each device: 1 device at a price of 2 instead of 2 devices at 4.",
        "With 5% more utilization on each device: no change.",
    )


def test_of_one_device_none_can_be_spared():
    assert told(a_problem(1.0)) == (
        "With 5% more memory on each device: no change.",
        "With 5% more utilization on each device: no change.",
    )


def test_most_throughput_is_told_as_a_change():
    """Twenty of 10 % share one device: each runs at half its load, with 105 % at 52.5 % of it."""
    problem = a_problem(*[0.4] * 20, objective="max-throughput")
    problem = replace(problem, pools=(replace(problem.pools[0], count=1),))
    assert told(problem) == (
        "With 5% more memory on each device: relative throughput 10 (+0.0%).",
        "With 5% more utilization on each device: relative throughput 10.5 (+5.0%).",
    )


def test_nothing_is_asked_without_a_layout_or_time():
    problem = a_problem(5.2, 5.2)
    assert what_if(problem, Result("unknown"), Deadline(10)) == ()
    assert what_if(problem, solve(problem, 10), Deadline(0)) == ()
