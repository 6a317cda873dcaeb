"""Bin packing and vector packing with published answers: how many are proven, how fast.

    python benchmarks/packing.py --directory DIRECTORY [--set falkenauer_t] [--sample 9]

Each file in the directory holds `instances`: name, capacity (a number per resource), items as
[[sizes], count], and published bounds: lb and ub, or lb and opt. The exit status is 1 when an
answer contradicts them: a packing below a published lower bound, a proof above a published packing.
`--set made_up` needs no directory: see `made_up_bins.py`.
"""

import argparse
import json
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from made_up_bins import made_up

from placement.solver.packing import BinType, Choice, ItemType, PackingInstance, solve_packing
from placement.solver.result import Deadline


@dataclass(frozen=True)
class Set:
    """Instances, the seconds for each, and what is asked of them."""

    file: str
    limit_s: float
    asked: str
    resources: tuple[int, ...] = (1,)
    items: tuple[int, int] = (0, sys.maxsize)


SETS = {
    "falkenauer_u": Set("bpplib_falkenauer_u", 20, "all proven"),
    "falkenauer_t": Set("bpplib_falkenauer_t", 60, "95 % proven"),
    "scholl1": Set("bpplib_scholl1", 20, "all proven"),
    "scholl2": Set("bpplib_scholl2", 20, "all proven"),
    "three_resources": Set("vbp_panigrahy", 60, "97 % proven", (3,), (0, 121)),
    "three_resources_larger": Set("vbp_panigrahy", 60, "90 % within 1", (3,), (122, sys.maxsize)),
    "five_resources": Set("vbp_panigrahy", 60, "90 % within 1", (5,)),
    "made_up": Set("", 60, "no contradiction", tuple(range(1, 10))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--set", action="append", choices=SETS, help="default all")
    parser.add_argument("--sample", type=int, help="so many of each set, drawn by the seed")
    parser.add_argument("--limit", type=float, help="seconds for each, instead of the set's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--match", default="", help="only instances whose name contains this")
    parser.add_argument("--verbose", action="store_true", help="one line for each instance")
    arguments = parser.parse_args()
    names = arguments.set or [name for name in SETS if arguments.directory or name == "made_up"]

    print("| set | time limit | asked | proven | within one bin | wrong | median | longest |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    wrong = sum(_run(name, SETS[name], arguments) for name in names)
    sys.exit(wrong > 0)


def _run(name: str, chosen: Set, arguments: argparse.Namespace) -> int:
    """Prints the set's line; how many answers contradict what is published."""
    instances = [
        case
        for case in _instances(chosen, arguments.directory)
        if arguments.match in case["name"]
        and len(case["capacity"]) in chosen.resources
        and chosen.items[0] <= case["n"] <= chosen.items[1]
    ]
    if arguments.sample:
        random.seed(arguments.seed)
        instances = random.sample(instances, min(arguments.sample, len(instances)))
    limit_s = arguments.limit or chosen.limit_s
    proven, within_one, wrong, times_s = 0, 0, 0, []
    for case in instances:
        instance = PackingInstance(
            tuple(ItemType((Choice(0, tuple(size)),), count) for size, count in case["items"]),
            (BinType(tuple(case["capacity"])),),
        )
        started_s = time.monotonic()
        result = solve_packing(instance, Deadline(limit_s), arguments.seed)
        times_s.append(time.monotonic() - started_s)
        best = case.get("ub", case.get("opt"))
        price = result.price if result.price is not None else sys.maxsize
        contradicts = (best is not None and result.bound > best) or price < (case["lb"] or 0)
        wrong += contradicts
        proven += result.status == "optimal"
        within_one += price - result.bound <= 1
        if arguments.verbose or contradicts:
            print(
                f"{case['name']:30} {result.status:9} {result.price} >= {result.bound}"
                f" published {case['lb']}..{best} {times_s[-1]:6.2f} s {result.method}"
                f"{' WRONG' if contradicts else ''}",
                file=sys.stderr,
                flush=True,
            )
    times_s.sort()
    print(
        f"| {name}, {len(instances)} | {limit_s:g} s | {chosen.asked} | {proven} | {within_one} |"
        f" {wrong} | {times_s[len(times_s) // 2]:.2f} s | {times_s[-1]:.1f} s |",
        flush=True,
    )
    return wrong


def _instances(chosen: Set, directory: Path | None) -> list[dict]:
    if not chosen.file:
        return made_up()
    if directory is None:
        sys.exit("--directory: where are the files of the published sets?")
    return json.loads((directory / f"{chosen.file}.json").read_text())["instances"]


if __name__ == "__main__":
    main()
