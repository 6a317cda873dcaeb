"""One problem in two statements: the answers must not contradict each other.

Beyond the reach of brute force. `MODEL_PLACER_CASES` and `MODEL_PLACER_SEED` as there.
"""

import os
import random
import time
from dataclasses import replace

import pytest
from differences import Pair, between_statements, contradiction, statements
from random_problems import large, small

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource

CASES = int(os.environ.get("MODEL_PLACER_CASES", "150")) // 5
SEED = os.environ.get("MODEL_PLACER_SEED") or (
    "fixed" if os.environ.get("CI") else str(time.time_ns() % 10**9)
)
PARTS = 5
LIMIT_S = 3.0


@pytest.mark.timeout(max(300, 10 * CASES))
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("draw", [small, large])
def test_two_statements_of_a_problem_agree(draw, part):
    for number in range(part, CASES, PARTS):
        rng = random.Random(f"{SEED} {draw.__name__} {number}")
        problem = draw(rng)
        name, wrong = between_statements(problem, rng, LIMIT_S)
        assert not wrong, f"seed {SEED}, case {number}, {name}: {wrong}\n{problem}"


PLAIN = PlacementProblem(
    (Model("a", (Option("k", "gpu", {"memory": 6.0}),), count=2),),
    (PoolType("gpu", {"memory": 10.0}),),
    (Pool("gpu", "gpu", None, 1.0),),
    (Resource("memory", scales=False),),
)


def test_a_contradiction_is_seen():
    """Two models of 6 GB need two GPUs of 10 GB, two of 5 GB one."""
    easier = replace(PLAIN, models=(Model("a", (Option("k", "gpu", {"memory": 5.0}),), count=2),))
    assert contradiction(PLAIN, Pair("half", easier), 5) is not None
    assert contradiction(PLAIN, Pair("no worse", easier, relation="no worse"), 5) is None
    assert contradiction(easier, Pair("no worse", PLAIN, relation="no worse"), 5) is not None


def test_many_statements_are_drawn():
    """A problem with every feature has at least twenty other statements."""
    names = set()
    for number in range(30):
        rng = random.Random(f"counted {number}")
        names |= {pair.name for pair in statements(large(rng), rng)}
    assert len(names) >= 20
