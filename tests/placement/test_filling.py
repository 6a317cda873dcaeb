from hypothesis import given, settings
from hypothesis import strategies as st

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, assignment, filling
from placement.check import violations
from placement.colocation import scale
from placement.fleet import units
from placement.prediction import build_layout
from placement.result import Deadline

RESOURCES = (Resource("memory", scales=False), Resource("utilization"))


def a_problem(models):
    made = tuple(
        Model(
            f"m{i}",
            tuple(
                Option(f"k{k}", "t", {"memory": memory, "utilization": utilization})
                for k, (memory, utilization) in enumerate(options)
            ),
        )
        for i, options in enumerate(models)
    )
    kind = PoolType("t", {"memory": 16, "utilization": 100}, {"memory": 1})
    return PlacementProblem(made, (kind,), (Pool("gpu", "t"),), RESOURCES)


needs = st.tuples(st.integers(0, 15), st.integers(0, 100))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(needs, min_size=1, max_size=3), min_size=1, max_size=7))
def test_filling_lies_between_its_bound_and_the_optimum(models):
    problem = a_problem(models)
    fleet = units(problem, len(models))
    made = scale(problem)
    filled = filling.fill(problem, made, fleet, Deadline(2))
    exact = assignment.search(problem, made, fleet, Deadline(10))
    assert filled.bound <= exact.value <= filled.devices
    assert violations(problem, build_layout(problem, fleet, filled.replicas)) == []


def test_more_than_half_a_device_counts_whole():
    """Ten models of 8 GB of 15 and ten of 60 %: no device holds two alike; ten pairs at best."""
    problem = a_problem([[(8, 10)]] * 10 + [[(5, 60)]] * 10)
    fleet = units(problem, 20)
    filled = filling.fill(problem, scale(problem), fleet, Deadline(1))
    assert filled.bound == filled.devices == 10


def test_a_thousand_models_are_filled_within_the_time_limit():
    problem = a_problem([[(1 + i % 7, 5 + i * 37 % 60)] for i in range(1000)])
    deadline = Deadline(3)
    filled = filling.fill(problem, scale(problem), units(problem, 1000), deadline)
    assert deadline.spent_s < 5
    assert filled.bound <= filled.devices <= 1.15 * filled.bound
