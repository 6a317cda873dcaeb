"""Made-up fleets of models: devices and time of the solver, beside simpler ways to place.

    python benchmarks/fleets.py --models 200 --limit 20
    python benchmarks/fleets.py --models 5000 --limit 60 --at 10
    python benchmarks/fleets.py --compare --plot fleets.svg

A model's largest option needs 0.3 to 12 GB (log-uniform) and 5 to 95 % utilization (log-uniform);
more options trade memory against utilization. Seed s has 1 to 20 options, two or three resources
and devices of 16, 24 or 80 GB in turn, unless these are given. `--compare` places fleets of several
sizes also by first-fit and best-fit decreasing, the greedy of kube-scheduler's MostAllocated
strategy, plain CP-SAT, and SCIP and HiGHS on the compact model; `--plot` draws that (matplotlib).
"""

import argparse
import math
import random
import resource
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

from placement.solver.packing import BinType, Choice, ItemType, PackingInstance, solve_packing
from placement.solver.result import Deadline

SIZES = (10, 20, 50, 100, 200, 500, 1000)  # models of the fleets that are compared
COMPACT = 60_000  # variables up to which the compact model is built
OURS = "Model Placer"


def a_fleet(seed: int, models: int, options: int, resources: int, device_gb: int):
    """Models with up to `options` options each, in MB and tenths of a per cent."""
    rng = random.Random(f"{seed} {models} {options} {resources} {device_gb}")
    items = []
    for _ in range(models):
        memory = math.exp(rng.uniform(math.log(300), math.log(12_000)))
        utilization = math.exp(rng.uniform(math.log(50), math.log(950)))
        bandwidth = min(950.0, max(20.0, utilization * rng.uniform(0.3, 1.1)))
        choices = []
        for k in range(rng.randint(1, options) if options > 1 else 1):
            trade = 1.0 if k == 0 else rng.uniform(0.4, 1.0)
            needs = [
                memory * trade,
                min(950.0, utilization * rng.uniform(0.9, 1.1) / trade**0.5),
                min(950.0, bandwidth * rng.uniform(0.9, 1.1) / trade**0.3),
            ]
            choices.append(Choice(0, tuple(math.ceil(need) for need in needs[:resources])))
        items.append(ItemType(tuple(choices)))
    capacity = (device_gb * 1000 - 350, 1000, 1000)[:resources]  # a server takes 350 MB
    return PackingInstance(tuple(items), (BinType(capacity),))


def decreasing(instance: PackingInstance, *, best: bool) -> int:
    """Devices of first-fit or best-fit decreasing, each model by its leanest option."""
    capacity = instance.bins[0].capacity
    lean = [
        min((option.needs for option in item.options), key=partial(_part, capacity=capacity))
        for item in instance.items
    ]
    return _greedy(sorted(lean, key=lambda n: _part(n, capacity), reverse=True), capacity, best)


def most_allocated(instance: PackingInstance) -> int:
    """Devices of kube-scheduler's MostAllocated: models as they come, first option, fullest."""
    capacity = instance.bins[0].capacity
    return _greedy([item.options[0].needs for item in instance.items], capacity, True)


def _part(needs, capacity):
    return sum(n / c for n, c in zip(needs, capacity, strict=True))


def _greedy(all_needs, capacity, best) -> int:
    rooms: list[tuple[int, ...]] = []
    for needs in all_needs:
        fitting = [
            n
            for n, room in enumerate(rooms)
            if all(a <= b for a, b in zip(needs, room, strict=True))
        ]
        if not fitting:
            rooms.append(capacity)
            fitting = [len(rooms) - 1]
        n = min(fitting, key=lambda n: _part(rooms[n], capacity)) if best else fitting[0]
        rooms[n] = tuple(a - b for a, b in zip(rooms[n], needs, strict=True))
    return len(rooms)


def compact(instance: PackingInstance, limit_s: float, solver_name: str) -> int | None:
    """Devices of the plain model, x[model, option, device]; None without an answer in time."""
    from ortools.linear_solver import pywraplp

    devices = decreasing(instance, best=True)
    if devices * sum(len(item.options) for item in instance.items) > COMPACT:
        return None
    solver = pywraplp.Solver.CreateSolver(solver_name)
    solver.SetTimeLimit(int(limit_s * 1000))
    capacity = instance.bins[0].capacity
    used = [solver.BoolVar("") for _ in range(devices)]
    x = [[[solver.BoolVar("") for _ in used] for _ in item.options] for item in instance.items]
    for mine in x:
        solver.Add(sum(v for option in mine for v in option) == 1)
    for d, u in enumerate(used):
        for r, c in enumerate(capacity):
            load = [
                option.needs[r] * x[i][k][d]
                for i, item in enumerate(instance.items)
                for k, option in enumerate(item.options)
            ]
            solver.Add(sum(load) <= c * u)
        if d:
            solver.Add(used[d - 1] >= u)  # equal devices are used in order
    solver.Minimize(sum(used))
    status = solver.Solve()
    found = status in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}
    return round(solver.Objective().Value()) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--options", type=int, help="most of each model; default by seed, 1 to 20")
    parser.add_argument("--resources", type=int, choices=(2, 3), help="default by seed")
    parser.add_argument("--device", type=int, choices=(16, 24, 80), help="GB; default by seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20)))
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for each")
    parser.add_argument("--at", type=float, help="tell the gap after so many seconds as well")
    parser.add_argument("--compare", action="store_true", help="other ways beside ours")
    parser.add_argument("--plot", type=Path, help="draw what --compare measures: .svg or .png")
    arguments = parser.parse_args()
    if arguments.compare or arguments.plot:
        _compare(arguments)
    else:
        _measure(arguments)


def _measure(arguments: argparse.Namespace) -> None:
    print("| seed | options | resources | device | devices | bound | gap | at | time | status |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    gaps, early_gaps, times_s, proven = [], [], [], 0
    for seed in arguments.seeds:
        options = arguments.options or 1 + seed % 20
        resources = arguments.resources or 2 + seed // 2 % 2
        device_gb = arguments.device or (16, 24, 80)[seed % 3]
        fleet = a_fleet(seed, arguments.models, options, resources, device_gb)
        deadline = Deadline(arguments.limit)
        result, early = _watched(fleet, deadline, seed, arguments.at or math.inf)
        times_s.append(deadline.spent_s)
        gaps.append((result.price - result.bound) / result.price)
        early_gaps.append((early - result.bound) / early if early else math.inf)
        proven += result.status == "optimal"
        print(
            f"| {seed} | {options} | {resources} | {device_gb} GB | {result.price} |"
            f" {result.bound} | {gaps[-1]:.2%} | {early_gaps[-1]:.2%} | {times_s[-1]:.2f} s |"
            f" {result.status} |",
            flush=True,
        )
    memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    at = f", after {arguments.at:g} s at most {max(early_gaps):.2%}" if arguments.at else ""
    print(
        f"\n{arguments.models} models: {proven} of {len(gaps)} proven, gap at most {max(gaps):.2%}"
        f"{at}; longest {max(times_s):.2f} s of {arguments.limit:g} s, {memory_gb:.2f} GB of memory"
    )


def _watched(fleet, deadline, seed, at_s):
    """The result, and the devices that were found by then."""
    found = []

    def watch(price, _bound):
        if price is not None and deadline.spent_s <= at_s:
            found.append(price)

    result = solve_packing(fleet, deadline, seed, watch)
    return result, found[-1] if found else None


def _compare(arguments: argparse.Namespace) -> None:
    options, resources = arguments.options or 3, arguments.resources or 3
    device_gb, limit_s = arguments.device or 16, arguments.limit
    points: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    print("| models | bound | way | devices | time |")
    print("|---|---|---|---|---|")
    for models in SIZES:
        fleet = a_fleet(arguments.seeds[0], models, options, resources, device_gb)
        ours = solve_packing(fleet, deadline := Deadline(limit_s), arguments.seeds[0])
        took_s = deadline.spent_s
        _line(points, models, ours.bound, OURS, ours.price, took_s)
        for name, place in {
            "first-fit decreasing": partial(decreasing, best=False),
            "best-fit decreasing": partial(decreasing, best=True),
            "most allocated (kube-scheduler)": most_allocated,
            "plain CP-SAT": partial(compact, limit_s=limit_s, solver_name="SAT"),
            "plain SCIP": partial(compact, limit_s=limit_s, solver_name="SCIP"),
            "plain HiGHS": partial(compact, limit_s=limit_s, solver_name="HIGHS"),
        }.items():
            started_s = time.monotonic()
            devices = place(fleet)
            _line(points, models, ours.bound, name, devices, time.monotonic() - started_s)
    if arguments.plot:
        _draw(points, arguments.plot, limit_s)


def _line(points, models, bound, name, devices, took_s) -> None:
    print(f"| {models} | {bound} | {name} | {devices or 'none'} | {took_s:.2f} s |", flush=True)
    if devices:
        points[name].append((models, 100 * (devices / bound - 1), took_s))


def _draw(points, path: Path, limit_s: float) -> None:
    """Devices above the bound, and time, by the number of models."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (above, times) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, mine in points.items():
        models = [point[0] for point in mine]
        bold = {"linewidth": 2.6, "color": "black", "zorder": 3} if name == OURS else {}
        above.plot(models, [point[1] for point in mine], marker="o", label=name, **bold)
        times.plot(models, [max(point[2], 1e-3) for point in mine], marker="o", **bold)
    above.set_ylabel("devices above the proven bound, %")
    times.set_ylabel("seconds")
    times.set_yscale("log")
    times.axhline(limit_s, linestyle=":", color="grey")
    for axes in (above, times):
        axes.set_xscale("log")
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.minorticks_off()
        axes.set_xlabel("models")
        axes.grid(alpha=0.3)
    figure.legend(*above.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path)


if __name__ == "__main__":
    main()
