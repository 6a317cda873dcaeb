"""The slowdown model on plain figures: what it learns, what it does not assume."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placement.problem.slowdown import (
    Runner,
    SlowdownModel,
    fit,
    median_error,
    reached,
    unseen_errors,
)
from profiles.colocation import Colocation, Neighbour
from profiles.measurement import LoadPoint

T4 = "Tesla T4"


def a_row(
    model: str = "bert", kept: float = 0.8, use: float = 0.5, run: str = "", **more: object
) -> Colocation:
    """`model` keeps a part of its 100 infer/s beside one that uses a part of the device."""
    row = Colocation(
        run=run or f"{model} {use}",
        model=model,
        device_type=T4,
        load=LoadPoint(1, 2),
        solo_throughput=100.0,
        throughput=100.0 * kept,
        neighbours=(Neighbour("other", 10.0, {"utilization": 100 * use}),),
        uses={"utilization": 60.0},
    )
    return replace(row, **more)  # type: ignore[arg-type]


def test_nothing_is_assumed_before_it_was_measured():
    assert fit([]).speed("bert", T4, 1.0) == 1.0
    learnt = fit([a_row("bert", kept=0.5)])
    assert learnt.speed("bert", T4, 0.5) < 1.0
    assert learnt.speed("bert", "NVIDIA L4", 0.5) == 1.0, "on another device type"
    assert learnt.speed("gpt", T4, 0.5) == 1.0, "another model"


def test_a_straight_line_is_found_again():
    """b = 0.4: at 25, 50 and 75 % of neighbours' use it keeps 90, 80 and 70 %."""
    rows = [a_row(kept=1 - 0.4 * use, use=use) for use in (0.25, 0.5, 0.75)]
    assert fit(rows).sensitivity("bert", T4) == pytest.approx(0.4)


def test_few_rows_are_drawn_to_what_all_have_in_common():
    """Nine models lose all that the neighbours use (b = 1); one row says b = 0.

    The common b lies near 1. One own row at half use weighs as much as the prior: half of it.
    """
    rows = [a_row(f"m{n}", kept=0.5) for n in range(9)] + [a_row("odd", kept=1.0)]
    one = fit(rows).sensitivity("odd", T4)
    assert one == pytest.approx(0.45)
    many = fit(rows + [a_row("odd", kept=1.0, run=f"r{n}") for n in range(9)])
    assert many.sensitivity("odd", T4) < 0.15


def test_a_rate_that_was_reached_bounds_the_loss_and_no_more():
    """It was asked for 30 of 100 and gave 30: it kept at least 30 %, as b = 1 says too.

    Asked for 70 beside half a device it gave 70: b = 1 would have left it 50.
    """
    slow = [a_row("bert", kept=0.5, run=f"r{n}") for n in range(3)]
    easy = a_row("bert", kept=0.3, wanted_throughput=30.0, run="easy")
    assert fit([*slow, easy]).sensitivity("bert", T4) == pytest.approx(1.0)
    denied = a_row("bert", kept=0.7, wanted_throughput=70.0, run="denied")
    assert fit([*slow, denied]).sensitivity("bert", T4) < fit(slow).sensitivity("bert", T4)
    missed = a_row("bert", kept=0.2, wanted_throughput=30.0, run="missed")
    assert fit([*slow, missed]).sensitivity("bert", T4) > fit(slow).sensitivity("bert", T4)


def test_rows_that_tell_nothing_are_left_out():
    assert fit([a_row(failures=3), a_row(use=0.0), a_row(kept=0.0)]) == SlowdownModel()


def test_faster_together_is_no_negative_slowdown():
    assert fit([a_row(kept=1.2)]).speed("bert", T4, 1.0) == 1.0


def test_two_that_fill_a_device_share_it():
    """b = 1 and 100 % use each: v = 1 - v, half each. Asked for 30 %, one leaves 70 % to the other.

    With b = 0 nothing is lost.
    """
    both = [Runner(1.0, 1.0, b=1.0), Runner(1.0, 1.0, b=1.0)]
    assert reached(both) == pytest.approx([0.5, 0.5], abs=0.01)
    paced = [Runner(0.3, 1.0, b=1.0), Runner(1.0, 1.0, b=1.0)]
    assert reached(paced) == pytest.approx([0.3, 0.7], abs=0.01)
    assert reached([Runner(1.0, 1.0, b=0.0)] * 2) == pytest.approx([1.0, 1.0])


@given(
    st.lists(st.tuples(st.floats(0, 1.5), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6)
)
def test_nobody_reaches_more_than_its_neighbours_leave(figures):
    runners = [Runner(share, use, b) for b, share, use in figures]
    shares = reached(runners)
    total = sum(r.use * v for r, v in zip(runners, shares, strict=True))
    for r, v in zip(runners, shares, strict=True):
        left = max(0.0, 1.0 - r.b * (total - r.use * v))
        assert 0 <= v <= min(r.share, left) + 1e-9


def test_a_device_that_thrashes_is_shared_evenly_all_the_same():
    """b = 1.2: v = 1 - 1.2 v, so 0.45 each. One in full and nothing for the other fulfils the
    equations, too, and is what no scheduler does."""
    assert reached([Runner(1.0, 1.0, b=1.2)] * 2) == pytest.approx([0.4545, 0.4545], abs=0.005)
    uneven = reached([Runner(1.0, 1.0, b=1.25), Runner(1.0, 1.0, b=1.15)])
    assert uneven == pytest.approx([0.445, 0.445], abs=0.02)


def test_many_that_thrash_share_evenly_too():
    """v = 1 - (n - 1) b v: steps towards that must be small enough not to overshoot."""
    assert reached([Runner(1.0, 1.0, b=1.375)] * 3) == pytest.approx([1 / 3.75] * 3, abs=0.005)
    assert reached([Runner(1.0, 1.0, b=1.5)] * 6) == pytest.approx([1 / 8.5] * 6, abs=0.005)


def test_one_that_hardly_uses_the_device_does_not_hold_the_other_back():
    """It is slowed itself: 1 - 1.0 · v of the other, which keeps all but 0.05 · that."""
    small, big = reached([Runner(1.0, 0.05, b=1.0), Runner(1.0, 0.9, b=1.0)])
    assert big > 0.95
    assert small == pytest.approx(1 - 0.9 * big, abs=0.02)


def test_the_error_is_told_on_runs_that_the_fit_has_not_seen():
    """Two alike share a device, 200 runs or one: half each, so that the others tell each run.

    Without a slowdown 100 is predicted where 50 is measured: off by 100 %.
    """

    def a_pair(run: str) -> list[Colocation]:
        half = {"utilization": 50.0}
        return [
            a_row(m, kept=0.5, run=run, uses={"utilization": 100.0},
                  neighbours=(Neighbour(n, 50.0, half),))
            for m, n in (("a", "b"), ("b", "a"))
        ]  # fmt: skip

    assert unseen_errors(a_pair("1")) == [], "no other run tells of it"
    errors = unseen_errors(a_pair("1") + a_pair("2"))
    assert len(errors) == 4
    assert median_error(errors) == pytest.approx(0.0, abs=0.01)
    assert median_error(errors, plain=True) == pytest.approx(1.0)
