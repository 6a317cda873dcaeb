"""Figures and numbers at the edge of what a problem may state."""

import time
from dataclasses import replace

import numpy as np
import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules, solve
from placement.explain.frontier import frontier
from placement.layout import check
from placement.problem.fleet import units
from placement.solver import exact
from placement.solver.instance import compile_instance
from placement.solver.relaxation import relax
from placement.solver.result import Deadline
from placement.solver.running import replicas_of
from profiles.errors import InputError

OPTION = Option("b1", "t4", {"memory": 5.0, "utilization": 30.0}, 100.0)


def a_problem(count=None, memory=16.0, **settings):
    models = tuple(Model(name, (OPTION,)) for name in "abc")
    return replace(
        PlacementProblem(
            models,
            (PoolType("t4", {"memory": memory, "utilization": 100}),),
            (Pool("t4", "t4", count),),
            (Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        ),
        **settings,
    )


def test_a_capacity_far_above_every_need_keeps_integers_small():
    """1e18 GB are 2e17 times the need: times the thousandths of headroom beyond 64 bits."""
    result = solve(a_problem(memory=1e18), 10)
    assert (result.status, result.value) == ("optimal", 1.0)


def test_a_model_may_need_more_replicas_than_a_thousand():
    """2000 replicas on distinct GPUs: none carries more than a 2000th of what is asked for."""
    models = (Model("a", (OPTION,), min_replicas=2000), *a_problem().models[1:])
    result = solve(a_problem(models=models), 20)
    assert result.value is not None
    assert result.value >= 2000


def test_a_million_devices_are_not_listed_one_by_one():
    started = time.monotonic()
    result = solve(a_problem(1_000_000, objective="max-throughput"), 3)
    assert result.value == 3.0
    assert time.monotonic() - started < 10


def test_a_device_of_an_unlimited_pool_has_a_number_within_reason():
    pinned = Rules(pins=(("a", "t4-99999999999999"),))
    with pytest.raises(InputError, match="unknown device or pool 't4-99999999999999'"):
        solve(a_problem(rules=pinned), 1)
    result = solve(a_problem(rules=Rules(pins=(("a", "t4-1000000"),))), 5)
    assert result.value == 1.0


def test_the_compact_model_is_not_stated_when_time_is_short():
    """3000 models on 12 devices: 36,000 variables take seconds to state."""
    models = (replace(a_problem().models[0], count=3000),)
    problem = a_problem(12, models=models)
    started = time.monotonic()
    fleet = units(problem, 12)
    assert exact.search(problem, fleet, Deadline(0.1)).status == "unknown"
    assert time.monotonic() - started < 2


def test_rates_far_above_any_throughput_are_bounded_without_overflow():
    """Rows of a model with fewer options than another's stand for nothing, whatever the rate."""
    two = (OPTION, replace(OPTION, name="b2", throughput=200.0, needs={"memory": 9.0}))
    models = (Model("a", two, rate=1e12), Model("b", (OPTION,), rate=1e12))
    instance = compile_instance(a_problem(3, models=models))
    with np.errstate(all="raise"):
        assert relax(instance, Deadline(5), feasibility=True).bound > 0


def test_a_running_layout_is_a_candidate_even_without_time():
    problem = a_problem(rules=Rules(apart=(("a", "b", "c"),)))
    layout = solve(problem, 10).layout
    assert layout is not None
    current = tuple((r.model, d.name) for d in layout.devices for r in d.residents)
    running = replace(problem, current=current, max_moves=0)
    result = solve(running, deadline=Deadline(0.0), start=replicas_of(running, layout))
    assert result.layout is not None
    assert not check.violations(running, result.layout)


def test_candidates_that_only_relax_the_problem_leave_no_note():
    """Counting devices heeds no pin, and a packing no second replica: neither is a fault."""
    rules = Rules(pins=(("a", "t4-1"), ("b", "t4-1")), apart=(("a", "b", "c"),))
    result = solve(a_problem(rules=rules), 10)
    assert (result.status, result.notes) == ("infeasible", ())


def test_a_frontier_ends_in_time_and_heeds_max_devices():
    models = (replace(a_problem().models[0], count=500),)
    started = time.monotonic()
    points = frontier(a_problem(models=models), Deadline(1.0))
    assert time.monotonic() - started < 6
    assert len(points) >= 167
    assert frontier(a_problem(3, max_devices=0), Deadline(1.0)) == []


@pytest.mark.parametrize(("busy", "sensitivity"), [(1e6, 1.0), (1.0, 1e6)])
def test_a_slowdown_beyond_reason_is_refused(busy, sensitivity):
    option = replace(OPTION, busy=busy, sensitivity=sensitivity)
    models = (Model("a", (option,)), Model("b", (option,)))
    with pytest.raises(InputError, match=r"models\.a\.options\.b1\..*out of range"):
        solve(a_problem(models=models), 1)


def test_the_largest_slowdown_that_may_be_stated_is_solved_in_time():
    option = replace(OPTION, busy=2.0, sensitivity=100.0)
    started = time.monotonic()
    result = solve(a_problem(models=tuple(Model(n, (option,)) for n in "abc")), 5)
    assert result.value == 1.0
    assert time.monotonic() - started < 10
