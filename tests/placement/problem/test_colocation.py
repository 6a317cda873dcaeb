from hypothesis import given
from hypothesis import strategies as st

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource
from placement.problem.colocation import COVER, LARGEST, cover, scale, total, use

MEMORY = Resource("memory", scales=False)
UTILIZATION = Resource("utilization")


def a_problem(capacity, needs, baseline=0.0):
    options = tuple(Option(f"k{i}", "t", {"memory": need}) for i, need in enumerate(needs))
    return PlacementProblem(
        (Model("m", options),),
        (PoolType("t", {"memory": capacity}, {"memory": baseline}),),
        (Pool("t", "t"),),
        (MEMORY,),
    )


def test_memory_is_needed_whole_and_utilization_by_the_share():
    option = Option("k", "t", {"memory": 4, "utilization": 60})
    assert use(MEMORY, option, 0.5) == 4
    assert use(UTILIZATION, option, 0.5) == 30
    assert total(UTILIZATION, 5, [(option, 0.5), (option, 1.0)]) == 95


def test_decimals_lose_nothing():
    """0.1 + 0.2 fills 0.3, whatever floats say."""
    problem = a_problem(0.3, [0.1, 0.2])
    made = scale(problem)
    first, second = (made.needs(o)[0] for o in problem.models[0].options)
    assert first + second == made.room(problem.types[0])[0] == 3


amounts = st.floats(0.001, 1e12, allow_nan=False)


@given(amounts, st.lists(amounts, min_size=1, max_size=6), st.floats(0, 1))
def test_what_fits_in_integers_fits_in_floats(capacity, needs, part):
    baseline = capacity * part
    problem = a_problem(capacity, needs, baseline)
    made = scale(problem)
    room = made.room(problem.types[0])[0]
    assert room <= LARGEST
    if sum(made.needs(o)[0] for o in problem.models[0].options) <= room:
        assert baseline + sum(needs) <= capacity * (1 + 1e-9)


def test_throughput_equal_to_the_rate_covers_it():
    assert cover(1381.6, 1381.6) == COVER
    assert cover(1.0, 3.0) == COVER // 3
