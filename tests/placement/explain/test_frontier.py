"""What so many devices carry at most, or cost at least, whichever of the fleet they are."""

import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource
from placement.explain.frontier import frontier
from placement.solver.result import Deadline
from profiles.errors import InputError

RESOURCES = (Resource("memory", scales=False, unit="GB"), Resource("utilization"))


def a_mixed_fleet(small=2, large=1, **settings):
    """A large device carries three times a small one at five times its price."""
    models = tuple(
        Model(
            name,
            (
                Option("b1", "small", {"memory": 2, "utilization": 100}, 100.0),
                Option("b1", "large", {"memory": 2, "utilization": 100}, 300.0),
            ),
            rate=200.0,
        )
        for name in "ab"
    )
    kinds = ("small", "large")
    return PlacementProblem(
        models,
        tuple(PoolType(kind, {"memory": 8, "utilization": 100}) for kind in kinds),
        (Pool("s", "small", small, 1.0), Pool("l", "large", large, 5.0)),
        RESOURCES,
        **settings,
    )


def test_one_device_is_the_best_one_not_the_cheapest():
    """400/s are wanted: the large carries 300, with one small 400, all that is wanted."""
    points = frontier(a_mixed_fleet(objective="max-throughput"), Deadline(30))
    assert [point.value for point in points] == pytest.approx([1.5, 2, 2], abs=1e-3)
    assert [point.used for point in points[:2]] == [{"large": 1}, {"large": 1, "small": 1}]
    assert all(point.status == "optimal" for point in points)


def test_prices_fall_where_many_small_devices_do_what_one_large_does():
    """400/s: two devices are a large and a small one for 6; four small ones cost 4."""
    points = frontier(a_mixed_fleet(small=4), Deadline(30))
    assert [point.value for point in points] == [None, 6, 6, 4, 4]
    assert points[0].status == "infeasible"
    assert points[3].used == {"small": 4}


def test_a_price_without_an_end_of_the_fleet_ends_where_no_more_is_saved():
    points = frontier(a_mixed_fleet(small=None, large=None), Deadline(30))
    assert [point.value for point in points] == [None, 6, 6, 4]


def test_fewer_devices_than_the_proven_price_buys_are_infeasible():
    """Utilization needs six devices, of which each costs 1: no five carry the nine models."""
    uses = (23, 56, 43, 60, 79, 54, 76, 48, 52)
    models = tuple(
        Model(f"m{number}", (Option("b1", "t4", {"memory": 1, "utilization": use}, 1.0),))
        for number, use in enumerate(uses)
    )
    kind = PoolType("t4", {"memory": 16, "utilization": 100})
    problem = PlacementProblem(models, (kind,), (Pool("t4", "t4", None),), RESOURCES)
    points = frontier(problem, Deadline(10))
    assert [point.status for point in points] == ["infeasible"] * 5 + ["optimal"]
    assert points[-1].value == 6


def test_no_point_is_worse_than_its_neighbour():
    points = frontier(a_mixed_fleet(4, 2, objective="max-throughput"), Deadline(0.2))
    values = [point.value or 0.0 for point in points]
    bounds = [point.bound for point in points if point.bound is not None]
    assert values == sorted(values)
    assert bounds == sorted(bounds)
    assert all(v <= b + 1e-6 for v, b in zip(values[-len(bounds) :], bounds, strict=True))


def test_growth_without_end_is_refused():
    problem = a_mixed_fleet(None, objective="max-throughput", fairness="max-min")
    with pytest.raises(InputError, match="known size"):
        frontier(problem, Deadline(5))
