"""Made-up fleets of models: devices and time of the solver beside simpler ways to place.

    python benchmarks/fleets.py --models 200 --options 5 --resources 2 --device 16 --seeds 3

A model's largest option needs 0.3 to 12 GB (log-uniform) and 5 to 95 % utilization (log-uniform);
more options
trade memory against utilization. `--compare` adds first-fit and best-fit decreasing, the greedy of
kube-scheduler's MostAllocated strategy, plain CP-SAT and SCIP on the compact model.
"""

import argparse
import math
import random
import time
from functools import partial

from placement.packing import BinType, Choice, ItemType, PackingInstance, solve_packing
from placement.result import Deadline


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
        min(
            (option.needs for option in item.options),
            key=lambda needs: sum(n / c for n, c in zip(needs, capacity, strict=True)),
        )
        for item in instance.items
    ]
    return len(
        _greedy(sorted(lean, key=lambda n: _part(n, capacity), reverse=True), capacity, best)
    )


def most_allocated(instance: PackingInstance) -> int:
    """Devices of kube-scheduler's MostAllocated: models as they come, first option, fullest."""
    capacity = instance.bins[0].capacity
    return len(_greedy([item.options[0].needs for item in instance.items], capacity, True))


def _part(needs, capacity):
    return sum(n / c for n, c in zip(needs, capacity, strict=True))


def _greedy(all_needs, capacity, best):
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
    return rooms


def compact(
    instance: PackingInstance, devices: int, limit_s: float, solver_name: str
) -> int | None:
    """Devices of the plain model, x[model, option, device], by CP-SAT or SCIP."""
    from ortools.linear_solver import pywraplp

    solver = pywraplp.Solver.CreateSolver(solver_name)
    solver.SetTimeLimit(int(limit_s * 1000))
    capacity = instance.bins[0].capacity
    used = [solver.BoolVar("") for _ in range(devices)]
    x = [[[solver.BoolVar("") for _ in used] for _ in item.options] for item in instance.items]
    for mine in x:
        solver.Add(sum(v for option in mine for v in option) == 1)
    for d, u in enumerate(used):
        for r, c in enumerate(capacity):
            solver.Add(
                sum(
                    option.needs[r] * x[i][k][d]
                    for i, item in enumerate(instance.items)
                    for k, option in enumerate(item.options)
                )
                <= c * u
            )
        if d:
            solver.Add(used[d - 1] >= u)  # equal devices are used in order
    solver.Minimize(sum(used))
    status = solver.Solve()
    found = status in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}
    return round(solver.Objective().Value()) if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--options", type=int, default=1)
    parser.add_argument("--resources", type=int, choices=(2, 3), default=2)
    parser.add_argument("--device", type=int, choices=(16, 24, 80), default=16, help="GB")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for each")
    parser.add_argument("--compare", action="store_true")
    arguments = parser.parse_args()

    for seed in range(arguments.seeds):
        fleet = a_fleet(
            seed, arguments.models, arguments.options, arguments.resources, arguments.device
        )
        started_s = time.monotonic()
        result = solve_packing(fleet, Deadline(arguments.limit), seed)
        took_s = time.monotonic() - started_s
        gap = (result.price - result.bound) / result.price if result.price else math.nan
        print(
            f"seed {seed}: {result.price} devices >= {result.bound} (gap {gap:.2%})"
            f" {result.status} {took_s:.2f} s, {result.method}",
            flush=True,
        )
        if not arguments.compare:
            continue
        greedy: dict[str, partial[int | None]] = {
            "first-fit decreasing": partial(decreasing, fleet, best=False),
            "best-fit decreasing": partial(decreasing, fleet, best=True),
            "most allocated": partial(most_allocated, fleet),
        }
        devices = decreasing(fleet, best=True)
        if len(fleet.items) * devices <= 30_000:
            greedy["plain CP-SAT"] = partial(compact, fleet, devices, arguments.limit, "SAT")
            greedy["plain SCIP"] = partial(compact, fleet, devices, arguments.limit, "SCIP")
        for name, place in greedy.items():
            started_s = time.monotonic()
            answer = place()
            print(f"  {name}: {answer} devices, {time.monotonic() - started_s:.2f} s", flush=True)


if __name__ == "__main__":
    main()
