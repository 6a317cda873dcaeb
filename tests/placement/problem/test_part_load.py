"""Curves of use and latency at part load, and the options that they become."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import exp, factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, solve
from placement.layout import check
from placement.problem.colocation import use
from placement.problem.demands import read_demands
from placement.problem.fleet_file import single
from placement.problem.formulate import formulate
from placement.problem.part_load import Part, concave, curves, isotonic, pieces, unseen_errors
from profiles.environment import Environment
from profiles.measurement import Latency, LoadPoint, Measurement, Usage
from profiles.variant import Variant

USE = Resource("utilization")
# A batch of n inferences, 8 at most, takes 4 + n ms, and the next one takes what arrived meanwhile.
# Eight in flight make batches of four: 500 infer/s, at 100 % of the device.
MOST, WAITING = 8, 80


@cache
def batching_use(share: float) -> float:
    """Percent of the device at a part of 500 infer/s that arrive at random, computed exactly.

    The numbers that wait when a batch ends are a Markov chain: a batch takes 4 + n ms, before it
    the device idles until something arrives where nothing waits.
    """
    rate = 0.5 * share  # per ms
    sizes = [max(1, min(waiting, MOST)) for waiting in range(WAITING)]
    moves = np.zeros((WAITING, WAITING))
    for waiting, size in enumerate(sizes):
        left, mean = max(0, waiting - size), rate * (4 + size)
        for arrived in range(WAITING - left):
            moves[waiting, left + arrived] = exp(-mean) * mean**arrived / factorial(arrived)
    moves /= moves.sum(axis=1, keepdims=True)
    system = np.vstack([moves.T - np.eye(WAITING), np.ones(WAITING)])
    chance = np.linalg.lstsq(system, np.append(np.zeros(WAITING), 1.0), rcond=None)[0]
    busy = float(sum(p * (4 + size) for p, size in zip(chance, sizes, strict=True)))
    return 100 * busy / (busy + float(chance[0]) / rate)


def parts(*shares: float) -> list[Part]:
    return [Part(s, {"utilization": batching_use(s)}, 5 / (1 - 0.9 * s)) for s in shares]


FULL = Option("k", "t4", {"utilization": 100.0, "memory": 4.0}, 500.0, latency_ms=16.0)


def test_use_is_predicted_within_five_per_cent_from_four_points():
    """The line of full load is off by more than twice at a tenth of the rate (25 % for 10 %)."""
    known = curves(FULL, parts(0.2, 0.5, 0.8, 0.95), ["utilization"])
    for percent in range(10, 101):
        share = percent / 100
        truth = batching_use(share)
        assert known.need("utilization", share) == pytest.approx(truth, rel=0.05)
    assert batching_use(0.1) > 2 * 100 * 0.1


def test_pieces_are_nowhere_below_the_curve_and_one_is_on_it():
    known = curves(FULL, parts(0.2, 0.5, 0.8, 0.95), ["utilization"])
    made = pieces(FULL, known, None)
    assert 1 < len(made) <= 6
    for percent in range(1, 101):
        share = percent / 100
        lines = [use(USE, option, share) for option in made]
        assert min(lines) >= known.need("utilization", share) - 1e-9
        need = known.need("utilization", share)
        assert min(lines) <= need + 0.02 * max(need, 10.0) + 1e-9
    assert all(option.needs["memory"] == 4.0 for option in made)


def test_a_straight_line_stays_one_option():
    """Points within a per cent of the proportional."""
    seen = [Part(s, {"utilization": 100 * s * 1.01}) for s in (0.2, 0.5, 0.8)]
    (option,) = pieces(FULL, curves(FULL, seen, ["utilization"]), None)
    assert (option.name, option.throughput, option.load_part) == ("k", 500.0, 1.0)
    assert use(USE, option, 0.5) == pytest.approx(50, abs=1)


def test_an_option_serves_a_limit_up_to_the_rate_at_which_it_keeps_it():
    """5 ms at 20 %, 20 ms at 60 %: 12.5 ms is half way, at 40 %; by full load, 16 ms, it is out."""
    seen = [Part(0.2, {"utilization": 20}, 5.0), Part(0.6, {"utilization": 60}, 20.0)]
    known = curves(FULL, seen, ["utilization"])
    (option,) = pieces(FULL, known, 12.5)
    assert option.throughput == pytest.approx(200)
    assert option.needs["utilization"] == pytest.approx(40)
    assert option.latency_ms == pytest.approx(12.5)
    assert option.load_part == pytest.approx(0.4)
    (most,) = pieces(FULL, known, 50.0)
    assert most.throughput == pytest.approx(300), "nothing is known beyond the last point"
    (none,) = pieces(FULL, known, 4.0)
    assert none.latency_ms == 5.0, "it is told by how much the limit is missed"


def test_neighbours_that_slow_a_model_leave_options_that_answer_sooner():
    known = curves(FULL, parts(0.2, 0.5, 0.8), ["utilization"])
    slowed = replace(FULL, sensitivity=1.0, busy=1.0)
    tops = sorted({option.throughput for option in pieces(slowed, known, 14.0)})
    assert tops == pytest.approx([100.0, 250.0, 500 * known.most(14.0)])


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_isotonic_and_concave_are_what_they_say(values: list[float]):
    rising = isotonic(values)
    assert list(rising) == sorted(rising)
    assert sum(rising) == pytest.approx(sum(values))
    shares = [n / len(values) for n in range(len(values) + 1)]
    curve = concave(shares, (0.0, *rising))
    slopes = [b - a for a, b in pairwise(curve)]
    assert all(c >= v for c, v in zip(curve, (0.0, *rising), strict=True))
    assert all(a >= b - 1e-9 for a, b in pairwise(slopes))


def test_a_point_is_predicted_by_its_neighbours():
    """Half way between nothing and 40 is 20, where 25 was measured: a fifth too low."""
    assert unseen_errors([0, 0.5, 1], [0, 25, 40]) == pytest.approx([-0.2])


# From measurements to a layout


def measured(load: LoadPoint, throughput: float, use_percent: float, p99_ms: float) -> Measurement:
    return Measurement(
        Variant("batcher"),
        load,
        "Tesla T4",
        Environment(),
        throughput=throughput,
        latency=Latency(p99_ms / 2, *[p99_ms] * 5),
        usage=Usage(10**9, 10**9, use_percent, use_percent),
    )


ROWS = [
    measured(LoadPoint(1, 8), 500.0, 100.0, 16.0),
    *(
        measured(
            LoadPoint(1, None, 500 * s, "poisson"), 500 * s, batching_use(s), 5 / (1 - 0.9 * s)
        )
        for s in (0.2, 0.5, 0.8, 0.95)
    ),
]


def placed(rows, demand, **more):
    demands = read_demands({"models": {"batcher": demand}})
    made = formulate(rows, [], [single("Tesla T4")], demands, **more)
    return made, solve(made.problem, 10)


def test_points_at_part_load_are_no_options_of_their_own():
    """Without a rate the model runs at its full load, not at the least that was measured."""
    made, result = placed(ROWS, {})
    (option,) = made.problem.models[0].options
    assert option.throughput == 500.0
    assert result.layout is not None
    assert result.layout.devices[0].uses["utilization"] == 100.0


def test_the_layout_that_proportional_use_would_overfill_takes_more():
    """A tenth of the rate uses 25 % where 10 % is proportional: of ten such models four fit a
    device, not ten; three devices are needed."""
    ten = {f"batcher{n}": {"rate": 50} for n in range(10)}
    rows = [replace(m, variant=Variant(name)) for name in ten for m in ROWS]
    demands = read_demands({"models": ten})
    made = formulate(rows, [], [single("Tesla T4")], demands)
    result = solve(made.problem, 10)
    assert result.status == "optimal"
    assert result.layout is not None
    assert result.layout.gpu_count == 3
    assert check.violations(made.problem, result.layout) == []
    for device in result.layout.devices:
        for resident in device.residents:
            truth = batching_use(resident.rate / 500)
            assert resident.uses["utilization"] == pytest.approx(truth, rel=0.05)
    proportional = formulate(
        [m for m in rows if m.load.concurrency], [], [single("Tesla T4")], demands
    )
    overfull = solve(proportional.problem, 10).layout
    assert overfull is not None
    assert overfull.gpu_count == 1


def test_a_limit_that_full_load_misses_is_kept_at_a_part_of_it():
    """p99 is 16 ms in full load; 10 ms are kept up to 54 % or so: 250 of 500 infer/s are."""
    _, result = placed(ROWS, {"rate": 250, "latency_limit_ms": 10})
    assert result.status == "optimal"
    assert result.layout is not None
    ((resident,),) = (device.residents for device in result.layout.devices)
    assert resident.rate == pytest.approx(250)
    assert resident.load_part is not None
    assert 0.5 < resident.load_part < 0.6
    assert resident.uses["utilization"] == pytest.approx(batching_use(0.5), rel=0.02)
    by_full_load = [m for m in ROWS if m.load.concurrency]
    _, none = placed(by_full_load, {"rate": 250, "latency_limit_ms": 10})
    assert none.status == "infeasible"


def test_the_best_layout_is_drawn_with_the_lowest_piece():
    """Whatever piece the search put there: what is predicted is on the curve."""
    known = curves(FULL, parts(0.2, 0.5, 0.8), ["utilization"])
    options = tuple(pieces(FULL, known, None))
    problem = PlacementProblem(
        (Model("a", options, rate=100.0),),
        (PoolType("t4", {"utilization": 100, "memory": 16}),),
        (Pool("gpu", "t4"),),
        (USE, Resource("memory", scales=False)),
    )
    result = solve(problem, 10)
    assert result.layout is not None
    (resident,) = result.layout.devices[0].residents
    assert resident.uses["utilization"] == pytest.approx(batching_use(0.2), rel=0.01)
