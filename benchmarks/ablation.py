"""What each strategy of the solver is worth: every problem without it, beside the whole.

    python benchmarks/ablation.py --part engine --limit 10
    python benchmarks/ablation.py --part packing --directory DIRECTORY --limit 10
    python benchmarks/ablation.py --only "packed plan" --seeds 0 1 2

A strategy is switched off in a process of its own, with one worker. Prints a row for each strategy
and problem: value, bound and time, with and without; then, for each strategy, on how many problems
the answer was worse without it, better, proven no more, or proven later by half.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from engine import Case
from engine import _problem as problem_of
from throughput import problem as throughput_problem

from placement import PlacementProblem, solve

SAME = 1e-6  # relative: values that are called equal
LATER_S = 0.5  # what is proven later by less is called noise

Switch = tuple[str, Any]  # what to replace ("module:name"), and by what


def _nothing(*args: object, **named: object) -> None:
    """Does nothing and finds nothing."""
    del args, named


def _returns(value: Any) -> Callable[..., Any]:
    def always(*args: object, **named: object) -> Any:
        del args, named
        return value

    return always


def _as_it_stands(problem: object, bound: float) -> float:
    del problem
    return bound


HERE = "placement.solver"
ENGINE: dict[str, tuple[Switch, ...]] = {
    "a slot for each model": ((f"{HERE}.least_hardware:with_own_slots", _returns(None)),),
    "each type alone": ((f"{HERE}.least_hardware:_alone", _returns(None)),),
    "packed plan": (
        (f"{HERE}.least_hardware:_packed", _returns(None)),
        (f"{HERE}.most_throughput:plan", _returns(None)),
    ),
    "neighbourhoods": (
        (f"{HERE}.least_hardware:improve", _returns(0)),
        (f"{HERE}.least_hardware:improve_on", _nothing),
        (f"{HERE}.most_throughput:improve", _returns(0)),
        (f"{HERE}.most_throughput:improve_on", _nothing),
    ),
    "refill by SCIP": ((f"{HERE}.improve:refill", _returns([])),),
    "exchange of types": ((f"{HERE}.improve:EXCHANGED", 0.0),),
    "annealing": ((f"{HERE}.improve:WARM", 0.0),),
    "concentration of room": ((f"{HERE}.improve:CONCENTRATION", 0.0),),
    "counts of devices": ((f"{HERE}.least_hardware:exclusive", _returns(False)),),
    "compact model": (
        (f"{HERE}.least_hardware:_fleet", _returns(None)),
        (f"{HERE}.most_throughput:EXACT", -1),
        (f"{HERE}.most_throughput:LOOKED_AT", -1),
    ),
    "packing as a relaxation": ((f"{HERE}.least_hardware:is_plain", _returns(False)),),
    "packing": (
        (f"{HERE}.least_hardware:is_packing", _returns(False)),
        (f"{HERE}.least_hardware:is_plain", _returns(False)),
    ),
    "models pinned to one place": ((f"{HERE}.least_hardware:crowded", _returns(frozenset())),),
    "next price": ((f"{HERE}.least_hardware:next_price", _as_it_stands),),
}
PACKING: dict[str, tuple[Switch, ...]] = {
    "subset sums": ((f"{HERE}.packing.engine:fill_up", _nothing),),
    "cardinality": ((f"{HERE}.packing.engine:count", _nothing),),
    "listing all": ((f"{HERE}.packing.engine:close", _nothing),),
    "filling": ((f"{HERE}.packing.engine:_fill", _nothing),),
    "side by side": ((f"{HERE}.packing.filling:MANY", 10**9),),
    "diving": ((f"{HERE}.packing.engine:dive", _nothing),),
    "covering": ((f"{HERE}.packing.engine:POOL", -1),),
    "column generation": ((f"{HERE}.packing.engine:DISTINCT", -1),),
    "compact model of bins": ((f"{HERE}.packing.engine:_compact", _returns(False)),),
    "repacking": ((f"{HERE}.packing.engine:_repack", _nothing),),
}


def _engine_cases(limit_s: float, seeds: list[int]) -> dict[str, dict[str, Any]]:
    rules = "rates,replicas,spread,apart,hosts"
    rows: list[tuple[str, int, str, str]] = [
        ("realistic", 20, "rates", ""),
        ("realistic", 50, "rates", ""),
        ("realistic", 200, "rates", ""),
        ("realistic", 1000, "rates", ""),
        ("realistic", 50, rules, ""),
        ("realistic", 200, rules, ""),
        ("uneven", 20, "rates", ""),
        ("uneven", 200, "rates", ""),
        ("realistic", 60, "rates", "rate up"),
        ("realistic", 60, "rates", "price"),
        ("plain", 120, "", ""),
    ]
    cases = {}
    for seed in seeds:
        for kind, number, features, move in rows:
            case = Case(kind, number, features, seed, limit_s, move, workers=1)
            cases[str(case)] = case.__dict__
        for fairness in ("sum", "max-min"):
            name = f"throughput {fairness} 100 models seed {seed}"
            cases[name] = {"throughput": fairness, "seed": seed, "limit_s": limit_s}
    for scenario, factor, way in ((5, 1, "slot"), (6, 1, "apart"), (6, 10, "slot")):
        case = Case(f"parvagpu {way}", 11, "", scenario, limit_s, factor=factor, workers=1)
        cases[str(case)] = case.__dict__
    return cases


def _packing_cases(limit_s: float, directory: Path | None, seeds: list[int]) -> dict[str, Any]:
    cases: dict[str, Any] = {}
    for seed in seeds:
        for resources in (1, 2, 3):
            for kinds in (1, 3):
                cases[f"made up {resources} resources, {kinds} bins, seed {seed}"] = {
                    "models": 150, "resources": resources, "kinds": kinds, "seed": seed,
                    "limit_s": limit_s,
                }  # fmt: skip
    cases["6000 models"] = {
        "models": 6000, "resources": 2, "kinds": 1, "seed": 0, "limit_s": limit_s,
    }  # fmt: skip
    for file in sorted(directory.glob("*.json")) if directory else ():
        instances = json.loads(file.read_text())["instances"]
        for number in sorted({0, len(instances) // 2, len(instances) - 1}):
            name = f"{file.stem} {instances[number]['name']}"
            cases[name] = {"file": str(file), "number": number, "limit_s": limit_s}
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=["engine", "packing"], default="engine")
    parser.add_argument("--directory", type=Path, help="published sets of bin packing")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for each")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", help="these strategies")
    parser.add_argument("--side-by-side", type=int, default=2, help="processes at once")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(_solve(**json.loads(arguments.case))))
        return
    switches = ENGINE if arguments.part == "engine" else PACKING
    if arguments.part == "engine":
        cases = _engine_cases(arguments.limit, arguments.seeds)
    else:
        cases = _packing_cases(arguments.limit, arguments.directory, arguments.seeds)
    names = ["", *(arguments.only or switches)]
    asked = [(case, name) for case in cases for name in names]
    with ThreadPoolExecutor(arguments.side_by_side) as pool:
        answers = pool.map(lambda a: _run(a[1], cases[a[0]]), asked)
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for (case, name), answer in zip(asked, answers, strict=True):
            found[case, name] = answer
            print(_row(case, name, answer), flush=True)
    print()
    print(f"{'without':28} {'worse':>6} {'by':>7} {'better':>7} {'unproven':>9} {'later':>6}")
    for name in names[1:]:
        print(_told(name, [(found[case, ""], found[case, name]) for case in cases]))


def _row(case: str, name: str, answer: dict[str, Any]) -> str:
    value, bound = (
        f"{answer[k]:.6g}" if answer[k] is not None else "-" for k in ("value", "bound")
    )
    told = f"{answer['status']:10} {value:>10} {bound:>10} {answer['wall_s']:6.1f} s"
    return f"{case:60} {name or 'whole':28} {told}"


def _told(name: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    worse = better = unproven = later = 0
    by = 0.0
    for whole, without in pairs:
        change = _change(whole, without)
        worse += change > SAME
        better += change < -SAME
        by += change
        proven = whole["status"] in {"optimal", "infeasible"}
        if proven and without["status"] != whole["status"]:
            unproven += 1
        elif proven and without["wall_s"] > 1.5 * whole["wall_s"] + LATER_S:
            later += 1
    return f"{name:28} {worse:6} {by / len(pairs):7.2%} {better:7} {unproven:9} {later:6}"


def _change(whole: dict[str, Any], without: dict[str, Any]) -> float:
    """By which part the answer is worse without the strategy."""
    if whole["value"] is None or without["value"] is None:
        return float(whole["value"] is not None) - float(without["value"] is not None)
    sign = -1 if whole["most"] else 1
    return float(sign * (without["value"] - whole["value"]) / max(abs(whole["value"]), 1e-9))


def _run(name: str, case: dict[str, Any]) -> dict[str, Any]:
    asked = json.dumps({"name": name, "case": case})
    command = [sys.executable, __file__, "--case", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}, {case}:\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _solve(name: str, case: dict[str, Any]) -> dict[str, Any]:
    problem, start = _problem(case)
    for what, replacement in {**ENGINE, **PACKING}.get(name, ()):
        module, attribute = what.split(":")
        owner = importlib.import_module(module)
        if not hasattr(owner, attribute):
            raise AttributeError(f"{module} has no {attribute}: the strategy was renamed.")
        setattr(owner, attribute, replacement)
    started_s = time.monotonic()
    result = solve(problem, time_limit_s=case["limit_s"], seed=0, workers=1, start=start)
    return {
        "status": result.status,
        "value": result.value,
        "bound": result.bound,
        "wall_s": time.monotonic() - started_s,
        "most": problem.objective == "max-throughput",
    }


def _problem(case: dict[str, Any]) -> tuple[PlacementProblem, Any]:
    from placement.solver.running import replicas_of

    if "throughput" in case:
        return throughput_problem(100, 32, 2, case["seed"], case["throughput"]), ()
    if "file" in case:
        return _published(case), ()
    if "kinds" in case:
        return _made_up(**case), ()
    problem, _, layout = problem_of(Case(**case))
    return problem, replicas_of(problem, layout) if layout is not None else ()


def _published(case: dict[str, Any]) -> PlacementProblem:
    from placement import Model, Option, Pool, PoolType, Resource

    instance = json.loads(Path(case["file"]).read_text())["instances"][case["number"]]
    names = [f"r{r}" for r in range(len(instance["capacity"]))]
    models = tuple(
        Model(f"m{n}", (Option("o", "bin", dict(zip(names, sizes, strict=True))),), count=count)
        for n, (sizes, count) in enumerate(instance["items"])
    )
    room = dict(zip(names, instance["capacity"], strict=True))
    resources = tuple(Resource(name, scales=False) for name in names)
    return PlacementProblem(models, (PoolType("bin", room),), (Pool("bin", "bin"),), resources)


def _made_up(
    models: int, resources: int, kinds: int, seed: int, limit_s: float
) -> PlacementProblem:
    import random

    from placement import Model, Option, Pool, PoolType, Resource

    del limit_s
    rng = random.Random(f"{models} {resources} {kinds} {seed}")
    names = [f"r{r}" for r in range(resources)]
    made = tuple(
        Model(
            f"m{n}",
            tuple(
                Option(f"k{k}", f"bin{k}", {name: rng.randint(50, 450 + 100 * k) for name in names})
                for k in range(kinds)
            ),
        )
        for n in range(models)
    )
    types = tuple(PoolType(f"bin{k}", dict.fromkeys(names, 1000 + 400 * k)) for k in range(kinds))
    pools = tuple(Pool(f"bin{k}", f"bin{k}", price=10 + 3 * k) for k in range(kinds))
    return PlacementProblem(
        made, types, pools, tuple(Resource(name, scales=False) for name in names)
    )


if __name__ == "__main__":
    main()
