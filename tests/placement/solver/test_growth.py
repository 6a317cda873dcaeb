"""Most throughput on fleets too large for the compact model."""

import random
from dataclasses import replace

import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, solve
from placement.layout import check
from placement.layout.prediction import build_layout
from placement.problem.colocation import scale
from placement.problem.fleet import units
from placement.solver.aggregate import melt
from placement.solver.growth import grow
from placement.solver.result import Deadline
from placement.solver.solve import EXACT, _size


def a_fleet(models, devices, options, fairness):
    draw = random.Random(5)
    made = tuple(
        Model(
            f"m{number}",
            tuple(
                Option(
                    f"k{k}",
                    "gpu",
                    {
                        "memory": round(draw.uniform(0.5, 5) * (1 + 0.2 * k), 1),
                        "utilization": round(draw.uniform(10, 90)),
                    },
                    round(10 ** draw.uniform(1, 2)),
                )
                for k in range(options)
            ),
        )
        for number in range(models)
    )
    return PlacementProblem(
        made,
        (PoolType("gpu", {"memory": 16, "utilization": 100}, {"memory": 0.4}),),
        (Pool("gpu", "gpu", devices),),
        (Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        objective="max-throughput",
        fairness=fairness,
    )


@pytest.mark.parametrize(("fairness", "gap"), [("sum", 0.08), ("max-min", 0.15)])
def test_a_packed_plan_comes_near_the_bound(fairness, gap):
    """40 models with three options on 13 GPUs, before any neighbourhood is searched.

    It ends by itself, long before a minute; the goals of 3 and 10 % are for what follows, too.
    """
    problem = a_fleet(40, 13, 3, fairness)
    scaled, fleet = scale(problem), units(problem, 13)
    assert _size(problem, fleet) > EXACT // 10
    raised = melt(problem, scaled, fleet, Deadline(60)).bound
    grown = grow(problem, scaled, fleet, raised, Deadline(60))
    layout = build_layout(problem, fleet, grown.replicas)
    assert check.violations(problem, layout) == []
    assert grown.bound * (1 - gap) < check.objective(problem, layout) <= grown.bound


@pytest.mark.parametrize("fairness", ["sum", "max-min"])
def test_too_little_time_proves_nothing(fairness):
    """A relaxation that was cut short is no bound: it once made a first layout `optimal`."""
    result = solve(a_fleet(150, 50, 3, fairness), 0.4)
    assert result.status in {"feasible", "unknown"}
    if result.layout:
        longer = solve(a_fleet(150, 50, 3, fairness), 4)
        assert result.bound >= longer.value


def test_a_bound_is_lowered_to_what_whole_replicas_carry():
    """Six models of 9 GB, of which a 16 GB GPU holds one, each carry 60 of their best 100.

    Ten GPUs hold ten replicas, so parts of replicas would carry 0.6 · 10 / 6 = 1.0; above 0.6 every
    model needs two, and there is no room for twelve.
    """
    needs = {"memory": 9.0, "utilization": 10}
    options = (
        Option("small", "gpu", needs, 60.0),
        Option("large", "gpu", {"memory": 15.7, "utilization": 10}, 100.0),
    )
    problem = a_fleet(0, 10, 1, "max-min")
    problem = replace(problem, models=tuple(Model(f"m{i}", options) for i in range(6)))
    scaled, fleet = scale(problem), units(problem, 10)
    grown = grow(problem, scaled, fleet, 1.0, Deadline(10))
    assert 0.6 <= grown.bound < 0.61
    layout = build_layout(problem, fleet, grown.replicas)
    assert check.objective(problem, layout) == pytest.approx(0.6, abs=0.01)
