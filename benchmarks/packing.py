"""Bin packing and vector packing with published answers: how many are proven, how fast.

    python benchmarks/packing.py --directory DIRECTORY --set bpplib_scholl1 [--sample 40]

Each file DIRECTORY/SET.json holds `instances`: name, capacity (a number per resource), items as
[[sizes], count], and published bounds: lb and ub, or lb and opt. The exit status is 1 when an
answer contradicts them: a packing below a published lower bound, a proof above a published packing.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

from placement.packing import BinType, Choice, ItemType, PackingInstance, solve_packing
from placement.result import Deadline


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--set", required=True)
    parser.add_argument("--sample", type=int, help="so many, drawn by the seed; default all")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--match", default="", help="only instances whose name contains this")
    parser.add_argument("--resources", type=int)
    parser.add_argument("--most-items", type=int)
    parser.add_argument("--least-items", type=int, default=0)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()

    instances = [
        case
        for case in json.loads((arguments.directory / f"{arguments.set}.json").read_text())[
            "instances"
        ]
        if arguments.match in case["name"]
        and (arguments.resources or len(case["capacity"])) == len(case["capacity"])
        and arguments.least_items <= case["n"] <= (arguments.most_items or case["n"])
    ]
    if arguments.sample:
        random.seed(arguments.seed)
        instances = random.sample(instances, min(arguments.sample, len(instances)))
    proven, within_one, contradictions, times = 0, 0, 0, []
    for case in instances:
        instance = PackingInstance(
            tuple(ItemType((Choice(0, tuple(size)),), count) for size, count in case["items"]),
            (BinType(tuple(case["capacity"])),),
        )
        started_s = time.monotonic()
        result = solve_packing(instance, Deadline(arguments.limit), arguments.seed)
        times.append(time.monotonic() - started_s)
        best = case.get("ub", case.get("opt"))
        price = result.price if result.price is not None else sys.maxsize
        wrong = (best is not None and result.bound > best) or price < (case["lb"] or 0)
        contradictions += wrong
        proven += result.status == "optimal"
        within_one += price - result.bound <= 1
        if arguments.verbose or wrong or result.status != "optimal":
            print(
                f"{case['name']:30} {result.status:9} {result.price} >= {result.bound}"
                f" published {case['lb']}..{best} {times[-1]:6.2f} s {result.method}"
                f"{' WRONG' if wrong else ''}",
                flush=True,
            )
    times.sort()
    print(
        f"{arguments.set}: {proven} of {len(instances)} proven, {within_one} within one bin,"
        f" {contradictions} contradictions; median {times[len(times) // 2]:.2f} s,"
        f" longest {times[-1]:.2f} s of {arguments.limit:g} s"
    )
    sys.exit(contradictions > 0)


if __name__ == "__main__":
    main()
