"""Why points failed: one reason is told once."""

from __future__ import annotations

import pytest

from analyzer.report.failures import by_reason, nothing_measured
from analyzer.report.tables import measurements_table
from analyzer.triton.log import telling_first
from profiles.environment import Environment
from profiles.errors import NoAnswerError, SurroundingsError
from profiles.measurement import LoadPoint, Measurement, Status
from profiles.variant import Variant

BROKEN = "Triton cannot load {}: no libpython\n\nIMPORTANT: a page of advice"


def a_point(
    model: str, reason: str, batch_size: int = 1, *, status: Status = "failed", failures: int = 0
) -> Measurement:
    return Measurement(
        Variant(model),
        LoadPoint(batch_size),
        "a CPU",
        Environment(),
        status=status,
        reason=reason.format(model) or None,
        failures=failures,
    )


def test_reasons_that_differ_in_the_model_and_in_numbers_are_one() -> None:
    points = [
        a_point("bert", "{}: 3 of 5 requests failed"),
        a_point("gpt", "{}: 1 of 9 requests failed"),
    ]
    (failure,) = by_reason(points)
    assert failure.headline == "bert: 3 of 5 requests failed"
    assert failure.points == tuple(points)


def test_the_table_has_a_page_of_advice_once_and_names_the_other_points() -> None:
    points = [a_point(model, BROKEN, size) for model in ("bert", "gpt") for size in (1, 2)]
    table = measurements_table([*points, a_point("gpt", "it hangs", 4)])
    assert table.count("a page of advice") == 1
    assert (
        "the same: bert [as configured] b2 c1, gpt [as configured] b1 c1, gpt [as configured] b2 c1"
        in table
    )
    assert "gpt [as configured] b4 c1: it hangs" in table


def test_a_run_without_a_figure_is_an_error_with_its_one_reason() -> None:
    """Models that are not served: the surroundings, 3. That refuse what they are sent: no, 1."""
    points = [a_point("bert", BROKEN, size) for size in (1, 2, 4)]
    error = nothing_measured(points)
    assert isinstance(error, SurroundingsError)
    assert str(error).startswith("All 3 points failed: Triton cannot load bert: no libpython\n")
    assert "advice" not in str(error)
    refused = nothing_measured([a_point("bert", "5 of 5 requests failed: No!", failures=5)])
    assert isinstance(refused, NoAnswerError)


def test_several_reasons_are_told_with_the_most_frequent_first() -> None:
    """What was skipped after a failure is counted, and is no reason of its own."""
    points = [
        a_point("bert", "out of memory"),
        a_point("bert", "b1 c1 ran out of memory already", 2, status="skipped"),
        a_point("gpt", BROKEN),
        a_point("gpt", BROKEN, 2),
    ]
    assert str(nothing_measured(points)).splitlines()[:3] == [
        "All 4 points failed:",
        "    2 points: Triton cannot load gpt: no libpython",
        "    1 point: out of memory",
    ]


def test_one_figure_is_enough_and_nothing_asked_for_is_no_failure() -> None:
    good = a_point("gpt", "", status="ok")
    assert nothing_measured([a_point("bert", BROKEN), good]) is None
    assert nothing_measured([]) is None


@pytest.mark.parametrize(
    ("reason", "first"),
    [
        ("one line", "one line"),
        ("ValueError: no\n\nAt:\n  model.py(3)", "ValueError: no"),
        (
            "ImportError: \n\nIMPORTANT: read\n\nOriginal error was: no datetime\n",
            "ImportError: no datetime",
        ),
        ("RuntimeError:\n\n  what went wrong\nmore", "RuntimeError: what went wrong"),
        ("nothing follows:\n\n", "nothing follows:"),
    ],
)
def test_the_first_line_of_a_reason_tells_something(reason: str, first: str) -> None:
    assert telling_first(reason).partition("\n")[0] == first
