"""A few devices filled anew, and layouts from which a search starts."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from ortools.sat.python import cp_model

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules
from placement.layout import check
from placement.layout.prediction import build_layout
from placement.problem.colocation import SHARES, Scale, scale
from placement.problem.fleet import Unit, units
from placement.solver.assignment import Replica, search
from placement.solver.compact import Outside, build
from placement.solver.improve import improve, worth
from placement.solver.refill import applies, refill
from placement.solver.result import Deadline
from placement.solver.symmetry import in_order


def a_problem(models: int, devices: int, seed: int, **settings: object) -> PlacementProblem:
    draw = random.Random(seed)
    made = tuple(
        Model(
            f"m{number}",
            tuple(
                Option(
                    f"k{k}",
                    "gpu",
                    {
                        "memory": round(draw.uniform(0.5, 5), 1),
                        "utilization": round(draw.uniform(10, 90)),
                    },
                    round(10 ** draw.uniform(1, 2)),
                )
                for k in range(3)
            ),
            weight=draw.choice([1.0, 2.5]),
        )
        for number in range(models)
    )
    return PlacementProblem(
        made,
        (PoolType("gpu", {"memory": 16, "utilization": 100}, {"memory": 0.4}),),
        (Pool("gpu", "gpu", devices),),
        (Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        objective="max-throughput",
        **settings,  # type: ignore[arg-type]
    )


def parts(problem: PlacementProblem) -> tuple[Scale, list[Unit], dict[str, Outside]]:
    fleet = units(problem, 100)
    return scale(problem), fleet, {name: Outside() for name, _ in problem.copies()}


def one_each(problem: PlacementProblem, fleet: list[Unit]) -> tuple[Replica, ...]:
    """A poor layout: the models in turn on the devices, the last the fullest, at small shares."""
    seats = [unit.seats[0].name for unit in reversed(fleet)]
    return tuple(
        Replica(model.name, 0, seats[n % len(seats)], SHARES // 10)
        for n, model in enumerate(problem.models)
    )


@pytest.mark.parametrize("seed", [0, 1, 4, 5])
def test_what_is_filled_anew_is_as_good_as_proven(seed: int) -> None:
    """Two devices and four models, from nothing, beside CP-SAT's proof."""
    problem = a_problem(4, 2, seed)
    scaled, fleet, outside = parts(problem)
    proven = search(problem, scaled, fleet, Deadline(60))
    assert proven.status == "optimal"
    filled = refill(problem, scaled, fleet, Deadline(60), (), outside)
    assert filled is not None
    assert check.violations(problem, build_layout(problem, fleet, filled)) == []
    assert worth(problem, fleet, filled) == pytest.approx(proven.value, rel=2e-3)


def test_what_models_carry_elsewhere_counts() -> None:
    """`m0` has its whole throughput elsewhere, so the room goes to `m1`."""
    option = Option("b1 c1", "gpu", {"memory": 9.0, "utilization": 50}, 100.0)
    problem = replace(a_problem(2, 1, 0), models=(Model("m0", (option,)), Model("m1", (option,))))
    scaled, fleet, _ = parts(problem)
    whole = Outside(carried=1_000_000 * SHARES, replicas=1)
    filled = refill(problem, scaled, fleet, Deadline(60), (), {"m0": whole, "m1": Outside()})
    assert filled == (Replica("m1", 0, "gpu", SHARES),)


def test_pins_and_forbidden_devices_are_heeded() -> None:
    rules = Rules(pins=(("m0", "gpu-2"),), forbidden=(("m1", "gpu-2"), ("m2", "gpu")))
    problem = a_problem(4, 2, 1, rules=rules)
    scaled, fleet, outside = parts(problem)
    filled = refill(problem, scaled, fleet, Deadline(60), (), outside)
    assert filled is not None
    seats = {name: {r.seat for r in filled if r.model == name} for name in ("m0", "m1", "m2")}
    assert seats["m0"] == {"gpu-2"}
    assert seats["m1"] <= {"gpu-1"}
    assert not seats["m2"]


def test_what_it_does_not_model_is_left_to_others() -> None:
    plain = a_problem(4, 2, 1)
    assert applies(plain)
    assert not applies(replace(plain, fairness="max-min"))
    assert not applies(replace(plain, objective="min-hardware"))
    assert not applies(replace(plain, rules=Rules(apart=(("m0", "m1"),))))
    assert not applies(replace(plain, max_devices=1))
    slow = replace(plain.models[0].options[0], sensitivity=0.5)
    assert not applies(replace(plain, models=(replace(plain.models[0], options=(slow,)),)))


@pytest.mark.parametrize("rules", [Rules(), Rules(apart=(("m0", "m1"),))])
def test_neighbourhoods_make_a_poor_layout_better(rules: Rules) -> None:
    """Twelve models on four devices, from a tenth of what one option of each carries.

    With a rule that `refill` does not know CP-SAT searches instead.
    """
    problem = a_problem(12, 4, 3, rules=rules)
    scaled, fleet, _ = parts(problem)
    poor = one_each(problem, fleet)
    assert check.violations(problem, build_layout(problem, fleet, poor)) == []
    better = improve(problem, scaled, fleet, poor, 30.0, Deadline(4))
    assert check.violations(problem, build_layout(problem, fleet, better)) == []
    assert worth(problem, fleet, better) > 3 * worth(problem, fleet, poor)


@pytest.mark.parametrize("seed", range(4))
def test_a_search_never_ends_below_its_start(seed: int) -> None:
    """A short search among 25 models on three devices, from what a longer one found there.

    The start is turned round, so that the devices stand in another order than the search's own.
    """
    problem = a_problem(25, 3, seed)
    scaled, fleet, outside = parts(problem)
    first = refill(problem, scaled, fleet, Deadline(60), (), outside)
    assert first is not None
    turned = {f"gpu-{n}": f"gpu-{4 - n}" for n in (1, 2, 3)}
    start = tuple(replace(replica, seat=turned[replica.seat]) for replica in first)
    found = search(problem, scaled, fleet, Deadline(60), seed, start, outside=outside)
    assert found.value is not None
    assert found.value >= worth(problem, fleet, start) - 1e-4  # shares count in whole COVERs there


def test_equal_devices_are_put_in_order() -> None:
    """The emptiest device first is refused by the model, the same layout in order is not.

    `gpu-2` is named by a rule, so it equals no other and keeps what it holds.
    """
    problem = a_problem(5, 5, 0, rules=Rules(pins=(("m3", "gpu-2"),)))
    problem = replace(
        problem, models=tuple(replace(m, options=m.options[:1]) for m in problem.models)
    )
    scaled, fleet, _ = parts(problem)
    layout = (
        Replica("m0", 0, "gpu-4", 10),
        Replica("m1", 0, "gpu-5", 20),
        Replica("m2", 0, "gpu-5", 30),
        Replica("m3", 0, "gpu-2", 40),
        Replica("m4", 0, "gpu-1", 50),
    )
    ordered = in_order(problem, scaled, fleet, layout)

    def status(replicas: tuple[Replica, ...]) -> object:
        built = build(problem, scaled, fleet, {})
        chosen = {(r.model, r.k, r.seat): r.share for r in replicas}
        for key, var in built.x.items():
            built.cp.add(var == int(key in chosen))
            built.cp.add(built.s[key] == chosen.get(key, 0))
        return cp_model.CpSolver().solve(built.cp)

    assert status(layout) == cp_model.INFEASIBLE
    assert status(ordered) in {cp_model.OPTIMAL, cp_model.FEASIBLE}
    homes = {replica.model: replica.seat for replica in ordered}
    assert homes["m1"] == homes["m2"]
    assert {homes["m0"], homes["m1"]} == {"gpu-3", "gpu-4"}
    assert (homes["m3"], homes["m4"]) == ("gpu-2", "gpu-1")
    assert {(r.model, r.k, r.share) for r in ordered} == {(r.model, r.k, r.share) for r in layout}
