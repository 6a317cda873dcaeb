"""The solver against the best of every layout of small random problems, all features mixed.

`MODEL_PLACER_CASES=5000` takes more cases. Outside CI each run draws new ones; the first line of
a failure names the seed, and `MODEL_PLACER_SEED` repeats it.
"""

import os
import random
import time
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import pytest
from brute_force import TooLargeError, solve_exactly
from differences import against_brute_force
from exact_lp import maximise
from random_problems import small, smaller

from placement import Layout, Model, Option, PlacementProblem, Pool, PoolType, Resource, solve
from placement.layout import check

CASES = int(os.environ.get("MODEL_PLACER_CASES", "150"))
SEED = os.environ.get("MODEL_PLACER_SEED") or (
    "fixed" if os.environ.get("CI") else str(time.time_ns() % 10**9)
)
PARTS = 10  # so that tests run beside each other, and a failure leaves the rest


def differs(problem: PlacementProblem) -> str | None:
    try:
        return against_brute_force(problem)
    except TooLargeError:
        return None


@pytest.mark.timeout(max(300, CASES))
@pytest.mark.parametrize("part", range(PARTS))
def test_the_answer_equals_brute_force(part):
    for number in range(part, CASES, PARTS):
        problem = small(random.Random(f"{SEED} {number}"))
        wrong = differs(problem)
        if wrong:
            least = smaller(problem, differs)
            pytest.fail(f"seed {SEED}, case {number}: {wrong}\n{differs(least)}\n{least}")


def test_few_cases_are_left_out():
    """At least 97 of 100 problems are enumerated, and a fourth to three fourths of them hold."""
    counts: Counter[str] = Counter()
    for number in range(100):
        try:
            best = solve_exactly(small(random.Random(f"counted {number}")))
        except TooLargeError:
            counts["left out"] += 1
        else:
            counts["holds" if best else "does not"] += 1
    assert counts["left out"] <= 3
    assert 25 <= counts["holds"] <= 85


def test_brute_force_knows_the_answer_to_a_plain_problem():
    """Rate 300 takes three replicas of 100, each 7680 of 15360 MiB: two on one GPU is not allowed
    (a server holds a model once), so three GPUs at 1.5; a second model shares one of them.
    """
    options = (Option("k", "gpu", {"memory": 7680}, 100.0),)
    problem = PlacementProblem(
        (Model("a", options, rate=300.0), Model("b", options)),
        (PoolType("gpu", {"memory": 15360}),),
        (Pool("gpu", "gpu", None, 1.5),),
        (Resource("memory", scales=False),),
    )
    best = solve_exactly(problem)
    assert best is not None
    assert best.value == Fraction("4.5")


def test_the_linear_program_is_exact():
    """Maximise x + y with 3x + y <= 1, x + 3y <= 1: both are a quarter. x >= 1/2 leaves nothing."""
    one = Fraction(1)
    rows = [([3 * one, one], one), ([one, 3 * one], one)]
    assert maximise([one, one], rows) == (Fraction(1, 2), [one / 4, one / 4])
    assert maximise([one, one], [*rows, ([-one, 0 * one], -one / 2)]) is None
    assert maximise([one, 0 * one], [*rows, ([0 * one, -one], -one / 4)]) == (
        one / 4,
        [one / 4, one / 4],
    )


def mutations(problem, layout):
    """What surely breaks a layout that holds, each with a word for it."""
    devices = list(layout.devices)

    def changed(row, **changes):
        return Layout((*devices[:row], replace(devices[row], **changes), *devices[row + 1 :]))

    gpus: dict[str, set[str]] = {}
    for device in devices:
        for resident in device.residents:
            gpus.setdefault(resident.model, set()).add(device.parent or device.name)
    counts = Counter(r.model for d in devices for r in d.residents)
    models = dict(problem.copies())
    for row, device in enumerate(devices):
        yield "a stranger", changed(row, name="stranger", parent=None)
        yield "twice", Layout((*devices, device))
        for number, resident in enumerate(device.residents):
            rest = (*device.residents[:number], *device.residents[number + 1 :])
            model = models[resident.model]
            if counts[resident.model] == len(gpus[resident.model]) == model.min_replicas:
                yield "one replica too few", changed(row, residents=rest)
            yield "a model twice", changed(row, residents=(*device.residents, resident))
            more = (*rest, replace(resident, share=resident.share + 1.1))
            yield "more than all", changed(row, residents=more)
            yield "no such option", changed(row, residents=(*rest, replace(resident, option="k9")))
            if problem.objective == "min-hardware" and not model.rate:
                less = replace(resident, share=0.5, rate=resident.rate / 2)
                yield "less than the measured load", changed(row, residents=(*rest, less))


def test_the_checker_finds_every_mutation():
    problems = (small(random.Random(f"mutated {SEED} {n}")) for n in range(10 * CASES))
    for problem in islice(problems, max(30, CASES // 5)):
        result = solve(problem, 20, tie_break=False)
        if result.layout is None:
            continue
        assert check.violations(problem, result.layout) == []
        for what, broken in mutations(problem, result.layout):
            assert check.violations(problem, broken), (what, problem)
        assert check.objective(problem, result.layout) == pytest.approx(result.value)
        used = result.layout.gpu_count
        if used:
            assert check.violations(replace(problem, max_devices=used - 1), result.layout)
        for device in result.layout.devices:
            rules = replace(problem.rules, excluded_devices=(device.parent or device.name,))
            assert check.violations(replace(problem, rules=rules), result.layout)
            for resident in device.residents:
                forbidden = ((resident.model, device.name),)
                rules = replace(problem.rules, forbidden=forbidden)
                assert check.violations(replace(problem, rules=rules), result.layout)
