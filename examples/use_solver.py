"""The placement solver from Python, with figures from anywhere.

    python examples/use_solver.py

A speech model has to serve 400 requests per second within 25 ms, a text model 900; each was
measured on two kinds of GPU. Which GPUs are needed, and what runs where?
"""

from dataclasses import replace

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, solve
from placement.explain.explain import explain
from placement.solver.result import Deadline

problem = PlacementProblem(
    models=(
        Model(
            "speech",
            rate=400.0,
            latency_limit_ms=25.0,
            options=(
                Option("batch 1", "T4", {"memory": 3.1, "utilization": 70}, 150.0, 9.0),
                Option(
                    "batch 8", "T4", {"memory": 3.9, "utilization": 85}, 320.0, 31.0
                ),  # too slow
                Option("batch 1", "L4", {"memory": 3.1, "utilization": 60}, 300.0, 5.0),
                Option("batch 8", "L4", {"memory": 3.9, "utilization": 80}, 720.0, 16.0),
            ),
        ),
        Model(
            "text",
            rate=900.0,
            min_replicas=2,  # one may fail
            options=(
                Option("batch 8", "T4", {"memory": 6.4, "utilization": 90}, 600.0, 40.0),
                Option("batch 8", "L4", {"memory": 6.4, "utilization": 90}, 1300.0, 19.0),
            ),
        ),
    ),
    types=(
        PoolType("T4", {"memory": 15.7, "utilization": 90}, baseline={"memory": 0.4}),
        PoolType("L4", {"memory": 23.0, "utilization": 90}, baseline={"memory": 0.4}),
    ),
    pools=(Pool("old", "T4", count=4, price=0.35), Pool("new", "L4", price=0.80)),
    resources=(Resource("memory", scales=False, unit="GB"), Resource("utilization")),
)


def show(problem: PlacementProblem) -> None:
    """Solve and print the layout, with the reasons."""
    result = solve(problem, time_limit_s=10, seed=0)
    for device in result.layout.devices if result.layout else ():
        print(f"{device.name} ({device.device_type}, {device.price:g} per hour)")
        for resident in device.residents:
            print(f"  {resident.model} as {resident.option}: {resident.rate:.0f}/s")
    for line in explain(problem, result, Deadline(5)).lines:
        print(line)
    print(f"{result.status}: value {result.value}, bound {result.bound}\n")


if __name__ == "__main__":
    show(problem)
    print("The four old GPUs alone, and as much as they carry:")
    old = replace(problem, pools=problem.pools[:1])
    show(replace(old, objective="max-throughput", fairness="max-min"))
