"""The layout that runs now, as one of the problem's: its options and shares found anew.

The current layout says which model runs on which device, not in which option or with which share.
These are chosen by a mixed integer program, one for each set of devices that models connect:

    x[i,d,j] in {0,1}, s[i,d,j] in [0, x]   item i on device d, where it runs now, in row j
    sum_j x <= 1,  sum base·x + slope·s <= 1 for each device and resource
    met[i] <= sum throughput·s / rate[i],  met[i] <= sum x / replicas[i],  met[i] <= 1
    maximise sum of the items' values times met[i]

It only proposes: shares are settled by `shares.py`, and the checker has the last word.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from placement.problem.fleet import Places
from placement.solver.incumbent import Incumbent, open_named
from placement.solver.result import Deadline
from placement.solver.shares import settle

SETTINGS = "numerics/feastol = 1e-9\nmisc/catchctrlc = FALSE\nlimits/gap = 1e-6\n"
LEAST_S = 0.05


def stay(incumbent: Incumbent, deadline: Deadline) -> None:
    """Put what runs now where it runs, as far as that holds; the rest is left unmet."""
    seats: dict[str, int] = {}
    instance = incumbent.instance
    for item in instance.items:
        for device in sorted(item.current):
            if device not in seats:
                d = open_named(incumbent, device)
                if d is not None:
                    seats[device] = d
    for items in _components(incumbent, seats):
        left = max(LEAST_S, deadline.left_s * 0.5)
        chosen = _choose(incumbent, items, seats, left)
        for i, d, j, wanted in chosen:
            share = min(wanted, incumbent.most_share(d, j))
            if share >= 0 and incumbent.fits(i, d, j, share):
                incumbent.put(i, d, j, share)
    for d in seats.values():
        incumbent.close_empty(d)
    for i in range(len(instance.items)):
        incumbent.recount(i)
    _settle(incumbent)


def _components(incumbent: Incumbent, seats: dict[str, int]) -> list[list[int]]:
    """Items that share devices, directly or through others; the smallest sets first."""
    leader: dict[str, str] = {name: name for name in seats}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    items = incumbent.instance.items
    mine = [(i, [d for d in sorted(item.current) if d in seats]) for i, item in enumerate(items)]
    for _, here in mine:
        for other in here[1:]:
            leader[find(other)] = find(here[0])
    groups: dict[str, list[int]] = defaultdict(list)
    for i, here in mine:
        if here:
            groups[find(here[0])].append(i)
    return sorted(groups.values(), key=len)


def _choose(
    incumbent: Incumbent, items: list[int], seats: dict[str, int], limit_s: float
) -> list[tuple[int, int, int, float]]:
    """Item, seat, row and share of what the program keeps."""
    from ortools.linear_solver import pywraplp

    instance = incumbent.instance
    mip = pywraplp.Solver.CreateSolver("SCIP")
    mip.SetSolverSpecificParametersAsString(SETTINGS)
    mip.SetTimeLimit(int(1000 * limit_s) + 1)
    x: dict[tuple[int, int, int], Any] = {}
    s: dict[tuple[int, int, int], Any] = {}
    on: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    goal: Any = 0
    for i in items:
        item = instance.items[i]
        carried: Any = 0
        present: Any = 0
        for device in sorted(item.current):
            d = seats.get(device)
            if d is None or not incumbent.may(i, d):
                continue
            here = []
            for j in range(item.rows.start, item.rows.stop):
                if instance.type_of[j] != incumbent.type[d]:
                    continue
                key = (i, d, j)
                x[key] = mip.BoolVar("")
                if instance.slope[j].any():
                    s[key] = mip.NumVar(0, 1, "")
                    mip.Add(s[key] <= x[key])
                else:
                    s[key] = x[key]
                on[d].append(key)
                here.append(x[key])
                carried += float(instance.throughput[j]) * s[key]
                present += x[key]
            if len(here) > 1:
                mip.Add(sum(here) <= 1)
        met = mip.NumVar(0, 1, "")
        if item.rate > 0:
            mip.Add(met * item.rate <= carried)
        if item.replicas:
            mip.Add(met * item.replicas <= present)
        goal += max(1e-3, float(incumbent.unit[i] * item.rate)) * met
    for keys in on.values():
        for r in range(instance.resources):
            load = [
                float(instance.base[j, r]) * x[i, d, j] + float(instance.slope[j, r]) * s[i, d, j]
                for i, d, j in keys
                if instance.base[j, r] or instance.slope[j, r]
            ]
            if load:
                mip.Add(sum(load) <= 1)
    mip.Maximize(goal)
    if mip.Solve() not in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}:
        return []
    return [
        (*key, min(1.0, max(0.0, s[key].solution_value())))
        for key, var in x.items()
        if var.solution_value() > 0.5
    ]


def _settle(incumbent: Incumbent) -> None:
    """Shares that carry every rate exactly, where there are any."""
    problem = incumbent.instance.problem
    if any(len(item.members) > 1 for item in incumbent.instance.items):
        return
    places = Places(problem)
    replicas = incumbent.replicas()
    kinds = {r.seat: places.find(r.seat).device_type for r in replicas}  # type: ignore[union-attr]
    settled = settle(problem, kinds, replicas)
    if settled is None:
        return
    number = {item.name: i for i, item in enumerate(incumbent.instance.items)}
    seat = {incumbent.name_of[int(d)]: int(d) for d in incumbent.seats()}
    for replica in settled:
        incumbent.set_share(number[replica.model], seat[replica.seat], replica.share)
    for i in range(len(incumbent.instance.items)):
        incumbent.recount(i)
