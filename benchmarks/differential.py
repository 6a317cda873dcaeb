"""Random problems at scale: against brute force, and each stated in two ways.

    python benchmarks/differential.py --cases 1000 --seed 0 --workers 2

Half of the cases are small problems whose best value is enumerated in exact arithmetic
(tests/brute_force.py), half are problems up to some thirty models of which two statements are
solved (tests/differences.py). Prints each difference with the least problem that shows it, and a
table of what was drawn. The exit code is 1 if there was a difference.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from brute_force import TooLargeError
from differences import against_brute_force, between_statements
from random_problems import large, small, smaller

CHUNK = 20  # cases of one task


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="of both kinds together")
    parser.add_argument("--seed", default=str(time.time_ns() % 10**9), help="default: by the clock")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--limit", type=float, default=3.0, help="seconds for one of two statements"
    )
    parser.add_argument("--brute-limit", type=float, default=20.0, help="for a small problem")
    parser.add_argument("--kinds", nargs="+", default=["brute", "pairs"], metavar="brute|pairs")
    parser.add_argument("--shrink", action="store_true", help="show the least problem as well")
    arguments = parser.parse_args()
    each = arguments.cases // len(arguments.kinds)
    tasks = [
        (kind, arguments.seed, range(first, min(each, first + CHUNK)), arguments)
        for first in range(0, each, CHUNK)
        for kind in arguments.kinds
    ]
    started_s = time.monotonic()
    counts: Counter[tuple[str, str]] = Counter()
    with ProcessPoolExecutor(arguments.workers) as pool:
        for found, differences in pool.map(_run, tasks):
            counts.update(found)
            for difference in differences:
                print(difference, flush=True)
    took_s = time.monotonic() - started_s
    print(f"\nseed {arguments.seed}: {each * len(arguments.kinds)} cases in {took_s:.0f} s\n")
    print("| kind | what | cases | different |")
    print("|---|---|---|---|")
    for (kind, what), cases in sorted(counts.items()):
        if not what.startswith("! "):
            print(f"| {kind} | {what} | {cases} | {counts[kind, '! ' + what]} |")
    wrong = sum(cases for (_, what), cases in counts.items() if what.startswith("! "))
    print(f"\n{wrong} different")
    return 1 if wrong else 0


def _run(task):
    kind, seed, numbers, arguments = task
    counts: Counter[tuple[str, str]] = Counter()
    differences = []
    for number in numbers:
        rng = random.Random(f"{seed} {kind} {number}")
        problem = small(rng) if kind == "brute" else rng.choice([small, large])(rng)
        if kind == "brute":
            what = f"{problem.objective}{', repair' if problem.repair else ''}"
            try:
                wrong = against_brute_force(problem, arguments.brute_limit)
            except TooLargeError:
                what, wrong = "left out: too large", None
        else:
            what, wrong = between_statements(problem, rng, arguments.limit)
        counts[kind, what] += 1
        if wrong:
            counts[kind, "! " + what] += 1
            told = f"{kind} {number}, {what}: {wrong}"
            if arguments.shrink and kind == "brute":
                least = smaller(problem, _differs)
                told += f"\n  least: {_differs(least)}\n  {least}"
            elif arguments.shrink:
                told += f"\n  {problem}"
            differences.append(told)
    return counts, differences


def _differs(problem):
    try:
        return against_brute_force(problem)
    except TooLargeError:
        return None


if __name__ == "__main__":
    sys.exit(main())
