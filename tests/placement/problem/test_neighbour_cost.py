"""What neighbours add to the cost of an inference: fitted, and counted in."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from placement import solve
from placement.problem.demands import read_demands
from placement.problem.fleet_file import single
from placement.problem.formulate import formulate
from placement.problem.neighbour_cost import (
    NeighbourCost,
    Run,
    beside,
    fit,
    median_error,
    runs,
    unseen_errors,
)
from placement.problem.part_load import curves
from placement.problem.problem import Option
from profiles.colocation import Colocation, Neighbour
from profiles.environment import Environment
from profiles.measurement import LoadPoint, Measurement, Usage
from profiles.variant import Variant

TRUE = {"a": 0.6, "b": 0.2, "c": 0.0}


def run_of(alone: dict[str, float], noise: float = 0.0) -> list[Colocation]:
    """Rows of residents whose inferences cost more as TRUE says; uses are parts of the device."""
    total = sum(alone.values())
    used = sum(use * (1 + TRUE[m] * (total - use)) for m, use in alone.items()) * (1 + noise)
    neighbours = {
        m: Neighbour(m, 100 * use, {"utilization": 100 * use}) for m, use in alone.items()
    }
    return [
        Colocation(
            run="+".join(f"{m}{use:g}" for m, use in alone.items()),
            model=model,
            device_type="Tesla T4",
            load=LoadPoint(),
            solo_throughput=100.0,
            throughput=100 * alone[model],
            neighbours=tuple(n for m, n in neighbours.items() if m != model),
            device_uses={"utilization": 100 * used},
        )
        for model in alone
    ]


def test_the_fit_finds_what_made_the_runs_and_predicts_three_beside_each_other():
    """Each pair at three loads, within 1 %: use of a triple is off by 10 % when added up."""
    rng = random.Random(1)
    rows = [
        row
        for one, other in combinations(TRUE, 2)
        for uses in ((0.5, 0.4), (0.3, 0.5), (0.45, 0.45))
        for row in run_of(dict(zip((one, other), uses, strict=True)), rng.gauss(0, 0.01))
    ]
    known = runs(rows)
    fits = fit(known.values())
    g = {model: fits[model, "Tesla T4"].g for model in TRUE}
    assert g["a"] > g["b"] > g["c"]
    assert g == pytest.approx(TRUE, abs=0.25), "few runs are drawn to what models have in common"
    (triple,) = runs(run_of({"a": 0.3, "b": 0.3, "c": 0.2})).values()
    plain = sum(triple.alone.values())
    predicted = plain + sum(g[m] * triple.felt(m) for m in triple.alone)
    assert plain / triple.used - 1 < -0.1
    assert predicted == pytest.approx(triple.used, rel=0.03)
    errors = unseen_errors(known)
    error, added_up = median_error(errors), median_error(errors, plain=True)
    assert error is not None
    assert added_up is not None
    assert error < added_up / 2


def test_what_costs_no_more_beside_others_is_fitted_so():
    run = Run("Tesla T4", {"a": 0.4, "b": 0.4}, 0.75)
    assert {cost.g for cost in fit([run]).values()} == {0.0}
    assert runs([row for row in run_of({"a": 0.5, "b": 0.2}) if row.model == "a"]) == {}
    assert fit([]) == {}


def test_a_replica_is_counted_with_as_many_neighbours_as_there_is_room_for():
    """50 of 90 % leave 40: 50 · (1 + 0.4 · 0.4) = 58. Alone at its limit it takes nothing more."""
    full = Option("k", "t4", {"utilization": 90.0}, 100.0)
    known = beside(curves(full, [], ["utilization"]), 0.4, 90.0)
    assert known.need("utilization", 5 / 9) == pytest.approx(50 * 1.16, rel=0.01)
    assert known.need("utilization", 1.0) == pytest.approx(90.0)
    assert beside(known, 0.0, 90.0) is known


def placed(costs, rate):
    rows = [
        Measurement(
            Variant(model),
            LoadPoint(),
            "Tesla T4",
            Environment(),
            throughput=100.0,
            usage=Usage(10**9, 10**9, 80.0),
        )
        for model in ("a", "b")
    ]
    demands = read_demands({"models": {model: {"rate": rate} for model in ("a", "b")}})
    made = formulate(rows, [], [single("Tesla T4")], demands, neighbour_costs=costs)
    layout = solve(made.problem, 10).layout
    assert layout is not None
    return layout


def test_models_that_fit_when_added_up_get_a_device_each_where_they_cost_more_together():
    """48 % each are 96 %; with 0.3 more beside a full device 48 · (1 + 0.3 · 0.52) = 55 % each."""
    costs = {(m, "Tesla T4"): NeighbourCost(m, "Tesla T4", 0.3, 5) for m in ("a", "b")}
    assert placed({}, 60).gpu_count == 1
    assert placed(costs, 60).gpu_count == 2
    together = placed(costs, 50)
    assert together.gpu_count == 1
    assert together.devices[0].uses["utilization"] == pytest.approx(2 * 40 * 1.18, rel=0.02)
