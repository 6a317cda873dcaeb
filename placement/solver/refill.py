"""A few devices filled anew by a mixed integer program, the rest of the fleet as it stands.

    x[i,d,j] in {0,1}, s[i,d,j] in [0, x]   item i on seat d in row j
    sum_j x <= 1,  sum base·x + slope·s <= room[d] for each seat and resource
    met[i] <= carried elsewhere + sum throughput·s / rate[i],  met[i] <= 1
    met[i] <= (replicas elsewhere + sum x) / replicas[i]     where replicas are demanded
    maximise sum worth[i]·met[i]

SCIP deals with the real shares. It only proposes: what it chose is put on the seats as far as it
fits, and counts when the layout is better.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from placement.solver.incumbent import Incumbent

SETTINGS = "numerics/feastol = 1e-9\nmisc/catchctrlc = FALSE\n"
QUICK = "separating/maxroundsroot = 2\nlimits/totalnodes = 50\nlimits/gap = 0.001\n"
ABSENT = 10.0  # times its worth: what a replica that is missing costs

Chosen = tuple[int, int, int, float]  # item, seat, row, share


def refill(
    incumbent: Incumbent,
    where: Mapping[int, Iterable[int]],
    worth: Mapping[int, float],
    limit_s: float,
    settings: str = "",
) -> list[Chosen]:
    """What to put on the seats, on which none of the items stands now.

    `where`: the seats that each item may take; `worth`: of carrying all of its rate.
    """
    from ortools.linear_solver import pywraplp

    instance = incumbent.instance
    mip = pywraplp.Solver.CreateSolver("SCIP")
    mip.SetSolverSpecificParametersAsString(SETTINGS + settings)
    mip.SetTimeLimit(int(1000 * limit_s) + 1)
    x: dict[tuple[int, int, int], Any] = {}
    s: dict[tuple[int, int, int], Any] = {}
    on: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    goal: Any = 0
    for i, seats in where.items():
        item = instance.items[i]
        left, lacking = incumbent.missing(i)
        carried: Any = item.rate - left
        present: Any = item.replicas - lacking
        for d in seats:
            if i in incumbent.residents[d] or not incumbent.may(i, d):
                continue
            here = []
            for j in range(item.rows.start, item.rows.stop):
                if instance.type_of[j] != incumbent.type[d]:
                    continue
                key = (i, d, j)
                x[key] = mip.BoolVar("")
                s[key] = x[key]
                if instance.slope[j].any():
                    s[key] = mip.NumVar(0, 1, "")
                    mip.Add(s[key] <= x[key])
                on[d].append(key)
                here.append(x[key])
                carried += float(instance.throughput[j]) * s[key]
                present += x[key]
            if len(here) > 1:
                mip.Add(sum(here) <= 1)
        met = mip.NumVar(0, 1, "")
        if item.rate > 0:
            mip.Add(met * item.rate <= carried)
        if item.replicas and incumbent.flexible:  # all stand by at least
            there = mip.NumVar(0, 1, "")
            mip.Add(there * item.replicas <= present)
            goal += ABSENT * max(1.0, worth[i]) * there
        elif item.replicas:
            mip.Add(met * item.replicas <= present)
        goal += max(1e-3, worth[i]) * met
    for d, keys in on.items():
        for r in range(instance.resources):
            load = [
                float(instance.base[j, r]) * x[i, d, j] + float(instance.slope[j, r]) * s[i, d, j]
                for i, d, j in keys
                if instance.base[j, r] or instance.slope[j, r]
            ]
            if load:
                mip.Add(sum(load) <= float(min(incumbent.free[d, r], 1e9)))
    mip.Maximize(goal)
    if mip.Solve() not in {pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE}:
        return []
    return [
        (*key, min(1.0, max(0.0, s[key].solution_value())))
        for key, var in x.items()
        if var.solution_value() > 0.5
    ]


def put_chosen(incumbent: Incumbent, chosen: Iterable[Chosen]) -> None:
    """Put what was chosen on its seats, with the share for which there is room."""
    for i, d, j, wanted in chosen:
        share = min(wanted, incumbent.most_share(d, j))
        if share >= 0 and incumbent.fits(i, d, j, share):
            incumbent.put(i, d, j, share)
