"""Placing at the sizes that teams have, beside the simple ways, in one run.

    python benchmarks/engine.py --sizes 50 200 1000 5000 --seeds 0 1 2 --limit 60
    python benchmarks/engine.py --sizes 1000 --features rates,replicas,spread,apart,hosts --limit 5
    python benchmarks/engine.py --moves --sizes 20 200 1000 --limit 20
    python benchmarks/engine.py --parvagpu
    python benchmarks/engine.py --plain 100000 --limit 60

A line for each case as it comes: status, value, proven bound, gap, time and peak memory of a
process of its own, and the best of the simple ways (benchmarks/simple_ways.py); `!` marks a case in
which a simple way is better, in which the layout breaks a rule, or which overran its limit by more
than a second. `--json` prints JSON lines instead. The exit code is 1 if there was such a case.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from realistic_problems import GENERATORS
from simple_ways import compact, simple_ways

from placement import Layout, Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules
from placement.layout import check
from profiles.device import find_device
from profiles.mig import largest, partitions

DATA = Path(__file__).parent / "data" / "parvagpu"
FEATURES = ("rates", "rates,replicas,spread,apart,hosts", "rates,replicas,spread,apart,limited")
MOVES = ("keep", "price", "lost", "rate up", "repair lost", "repair rate")
LATE_S = 1.0
COMPACT_SIZE = 100  # models up to which SCIP or HiGHS is asked
PARVAGPU = {1: (2, 3, 5, 7, 12, 15), 10: (None,) * 4 + (113, 145), 100: (None,) * 4 + (1117, 1446)}


@dataclass(frozen=True)
class Case:
    """One problem and how long it may take."""

    kind: str  # a generator, `parvagpu slot`, `parvagpu apart`
    models: int
    features: str
    seed: int
    limit_s: float
    move: str = ""
    factor: int = 1  # of ParvaGPU's rates
    workers: int | None = None

    def __str__(self) -> str:
        if self.kind.startswith("parvagpu"):
            return f"{self.kind} S{self.seed} x{self.factor}"
        named = f"{self.kind} {self.models} {self.features.replace(',', '+')} seed {self.seed}"
        return f"{named}, {self.move}" if self.move else named


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 1000, 5000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--generators", nargs="+", choices=GENERATORS, default=["realistic"])
    parser.add_argument("--features", nargs="+", default=FEATURES, help="each a list with commas")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each case")
    parser.add_argument("--compact", choices=["SCIP", "HIGHS", "none"], default="none")
    parser.add_argument("--moves", action="store_true", help="running layouts instead")
    parser.add_argument("--parvagpu", action="store_true", help="published scenarios instead")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--plain", type=int, metavar="N", help="N models without rates instead")
    parser.add_argument("--workers", type=int, help="cores; without, all that there are")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # solve this one and print JSON
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(_solve(Case(**json.loads(arguments.case)))))
        return 0
    found = []
    for case in _cases(arguments):
        told = _run(replace(case, workers=arguments.workers), arguments.compact)
        found.append(told)
        print(json.dumps(told) if arguments.json else _line(told), flush=True)
    if not arguments.json:
        print(_summary(found))
    return 1 if any(told["faults"] for told in found) else 0


def _cases(arguments: argparse.Namespace) -> list[Case]:
    limit_s = arguments.limit
    if arguments.parvagpu:
        return [
            Case(f"parvagpu {way}", 11, "", scenario, limit_s, factor=factor)
            for factor in arguments.factors
            for scenario in range(1, 7)
            for way in ("slot", "apart")
        ]
    if arguments.plain:
        return [Case("plain", arguments.plain, "", seed, limit_s) for seed in arguments.seeds]
    return [
        Case(generator, size, features, seed, limit_s, move)
        for generator in arguments.generators
        for size in arguments.sizes
        for features in (["rates"] if arguments.moves else arguments.features)
        for seed in arguments.seeds
        for move in (MOVES if arguments.moves else [""])
    ]


def _run(case: Case, solver_name: str) -> dict[str, Any]:
    """What the solver answers in a process of its own, beside the simple ways in this one."""
    asked = json.dumps(case.__dict__)
    done = subprocess.run(
        [sys.executable, __file__, "--case", asked], capture_output=True, text=True, check=False
    )
    told: dict[str, Any] = {"case": str(case), **case.__dict__}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {**told, "status": "failed", "faults": [last]}
    told |= json.loads(done.stdout.splitlines()[-1])
    faults = told["faults"]
    if case.move or case.kind.startswith("parvagpu"):
        return told
    problem = GENERATORS[case.kind](case.models, case.seed, _features(case))
    ways = {}
    for name, way in simple_ways(problem):
        started_s = time.monotonic()
        layout = way()
        took_s = time.monotonic() - started_s
        if layout is not None:
            broken = check.violations(problem, layout)
            assert not broken, f"{case}, {name}: {broken[0]}"
            ways[name] = (check.objective(problem, layout), took_s)
    if solver_name != "none" and case.models <= COMPACT_SIZE:
        started_s = time.monotonic()
        answer = compact(problem, solver_name, case.limit_s)
        if answer:
            ways[solver_name] = (answer[0], time.monotonic() - started_s)
    told["simple"] = {name: [value, took_s] for name, (value, took_s) in ways.items()}
    if ways:
        sign = 1 if problem.objective == "min-hardware" else -1
        best = min(ways, key=lambda name: sign * ways[name][0])
        told["best simple"] = best
        value = told["value"]
        if value is None or sign * (value - ways[best][0]) > 1e-9 * abs(ways[best][0]):
            faults.append(f"worse than {best}")
    return told


def _solve(case: Case) -> dict[str, Any]:
    """The solver's answer to the case, checked."""
    from placement import solve
    from placement.solver.running import replicas_of

    problem, stay, layout = _problem(case)
    start = replicas_of(problem, layout) if layout is not None else ()  # as `--current` gives it
    started_s = time.monotonic()
    result = solve(problem, time_limit_s=case.limit_s, seed=0, workers=case.workers, start=start)
    wall_s = time.monotonic() - started_s
    faults = []
    if result.layout is not None:
        faults += check.violations(problem, result.layout)[:1]
    if wall_s > case.limit_s + LATE_S:
        faults.append("late")
    told = {
        "status": result.status,
        "value": result.value,
        "bound": result.bound,
        "gap": result.gap,
        "wall_s": wall_s,
        "method": result.method,
        "memory_gb": _peak_gb(),
        "stay": stay,
        "faults": faults,
    }
    if case.move:
        if result.layout is None:
            faults.append("no answer")
        else:
            told["moves"] = len(check.moves(problem, result.layout))
        if stay is not None and (result.value is None or result.value > stay + 1e-9):
            faults.append("worse than staying")
    if case.kind.startswith("parvagpu"):
        known = PARVAGPU.get(case.factor, (None,) * 6)[case.seed - 1]
        if known is not None and result.value is not None and result.value < known - 1e-9:
            faults.append(f"fewer than the proven {known}")
        if known is not None and (result.status != "optimal" or result.value != known):
            faults.append(f"not proven {known}")
    return told


def _peak_gb() -> float:
    """Of this process, and of the largest of those that it started."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(which).ru_maxrss for which in who) / 2**20


def _features(case: Case) -> frozenset[str]:
    return frozenset(case.features.split(",")) - {""}


def _problem(case: Case) -> tuple[PlacementProblem, float | None, Layout | None]:
    """The problem, what staying costs where a layout runs that holds, and that layout."""
    if case.kind.startswith("parvagpu"):
        return parvagpu(case.seed, case.factor, case.kind.split()[1]), None, None
    problem = GENERATORS[case.kind](case.models, case.seed, _features(case))
    if not case.move:
        return problem, None, None
    return _running(problem, case)


def _running(
    problem: PlacementProblem, case: Case
) -> tuple[PlacementProblem, float | None, Layout]:
    """The problem while a layout runs that was found before in half of the limit."""
    from placement import solve

    layout = solve(problem, time_limit_s=case.limit_s / 2, seed=1).layout
    if layout is None:
        raise AssertionError("No layout to start from.")
    rng = random.Random(f"moves {case.seed}")
    current = tuple((r.model, d.name) for d in layout.devices for r in d.residents)
    problem = replace(problem, current=current)
    if case.move.endswith("lost"):
        lost = rng.choice(layout.devices)
        problem = replace(problem, rules=Rules(excluded_devices=(lost.name,)))
        allowed = max(10, 2 * len(lost.residents))
        return _repairing(problem, case, allowed), None, layout
    if case.move in {"rate up", "repair rate"}:
        number = rng.randrange(len(problem.models))
        grown = problem.models[number]
        grown = replace(grown, rate=round((grown.rate or 1.0) * 1.05, 4))
        models = (*problem.models[:number], grown, *problem.models[number + 1 :])
        problem = replace(problem, models=models)
        return _repairing(problem, case, 3), _stay(problem, layout), layout
    if case.move == "price":
        problem = replace(problem, move_price=0.05)
    else:
        problem = replace(problem, max_moves=5)
    return problem, _stay(problem, layout), layout


def _repairing(problem: PlacementProblem, case: Case, allowed: int) -> PlacementProblem:
    if case.move.startswith("repair"):
        return replace(problem, repair=True)
    return replace(problem, max_moves=allowed)


def _stay(problem: PlacementProblem, layout: Layout) -> float | None:
    if check.violations(problem, layout):
        return None
    return check.objective(problem, layout)


def parvagpu(scenario: int, factor: int, way: str) -> PlacementProblem:
    """ParvaGPU's scenario with every rate so many times; one model a slice.

    `slot`: by a resource of which every model needs one, a slice has one. `apart`: by a rule over
    all models.
    """
    rates, limits = (_table(f"SLO_{name}.csv")[scenario - 1] for name in ("req_rate", "latency"))
    profiles = [p for p in find_device("NVIDIA A100 80GB PCIe").mig if p.profile != "1g.20gb"]
    slices = {p.profile[0]: p.profile for p in profiles}
    legal = largest(partitions(tuple(profiles)))
    models = []
    for path, rate, limit in zip(sorted(DATA.glob("prof_data/*.csv")), rates, limits, strict=True):
        if rate == "N/A":
            continue
        options = []
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                per_process = float(row["Throughput"])
                count = int(row["Workload Number"])
                if per_process > 0:
                    options.append(
                        Option(
                            f"b{row['Batch size']} p{count}",
                            slices[row["Mig instance"]],
                            {"slot": 1.0} if way == "slot" else {},
                            round(per_process * count, 3),
                            round(float(row["Latency"]) * 1000, 3),
                        )
                    )
        models.append(
            Model(
                path.stem,
                tuple(options),
                rate=float(rate) * factor,
                latency_limit_ms=round(float(limit) / 2 * 0.9, 4),
            )
        )
    everyone = (tuple(m.name for m in models),) if way == "apart" else ()
    return PlacementProblem(
        tuple(models),
        (PoolType("A100", {}), *(PoolType(name, {"slot": 1.0}) for name in slices.values())),
        (Pool("a100", "A100", partitions=legal),),
        (Resource("slot", scales=False, unit="slots"),),
        Rules(apart=everyone),
    )


def _table(name: str) -> list[list[str]]:
    with (DATA / "SLO" / name).open(encoding="utf-8") as file:
        return list(csv.reader(file))


def _line(told: dict[str, Any]) -> str:
    parts = [f"{told['case']}, {told['limit_s']:g} s: {told['status']}"]
    if told.get("value") is not None:
        parts.append(f"{told['value']:.6g}")
    if told.get("bound") is not None:
        parts.append(f"bound {told['bound']:.6g}")
    if told.get("gap") is not None:
        parts.append(f"gap {told['gap']:.2%}")
    if "moves" in told:
        parts.append(f"{told['moves']} moves")
    if told.get("stay") is not None:
        parts.append(f"staying {told['stay']:.6g}")
    if "wall_s" in told:
        parts.append(f"in {told['wall_s']:.1f} s, {told['memory_gb']:.2f} GB")
    if "best simple" in told:
        name = told["best simple"]
        value, took_s = told["simple"][name]
        parts.append(f"best simple: {name} {value:.6g} in {took_s:.1f} s")
    if told["faults"]:
        parts.append("! " + "; ".join(told["faults"]))
    return " | ".join(parts)


def _summary(found: list[dict[str, Any]]) -> str:
    gaps = [told["gap"] for told in found if told.get("gap") is not None]
    proven = sum(told["status"] in {"optimal", "infeasible"} for told in found)
    late = max((told["wall_s"] - told["limit_s"] for told in found if "wall_s" in told), default=0)
    faults = sum(bool(told["faults"]) for told in found)
    return (
        f"\n{len(found)} cases: {proven} proven, gap at most {max(gaps, default=0):.2%}, latest "
        f"{late:+.1f} s from its limit, most memory "
        f"{max((told.get('memory_gb', 0) for told in found), default=0):.2f} GB, {faults} with !"
    )


if __name__ == "__main__":
    sys.exit(main())
