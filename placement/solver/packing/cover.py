"""The best choice among packings that are known.

    x[p] in 0..   sum_p copies[i,p]·x[p] >= count[i]   sum_{p of b} x[p] <= left[b]
    sum_p price[p]·x[p] <= limit

CP-SAT is quick where there are few packings, HiGHS where there are thousands. HiGHS counts in
floats: what it finds is checked as any packing is, what it calls impossible is asked of CP-SAT.
"""

from __future__ import annotations

import datetime
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from placement.solver.packing.instance import Packing
from placement.solver.packing.table import Table
from placement.solver.result import Deadline

START_S = 0.3  # to load and fill a solver takes about so long


@dataclass(frozen=True)
class Cover:
    """Bins, or that these packings allow none within the limit; neither: it is not known."""

    bins: list[Packing] | None = None
    impossible: bool = False


def cover(
    table: Table,
    counts: Any,
    left: list[int | None],
    columns: list[Packing],
    limit: int,
    deadline: Deadline,
    seed: int,
    work_s: float,
    *,
    once: bool = False,
) -> Cover:
    """Bins for all copies that cost at most `limit`, by CP-SAT in `work_s` of its own time.

    Impossible is what these packings cannot do: others may. With `once`, no copy may be in two
    packings, and any price within the limit will do: quicker where bins have to be full.
    """
    if deadline.left_s <= START_S:
        return Cover()
    from ortools.sat.python import cp_model

    cp = cp_model.CpModel()
    uses = []
    holders: dict[int, list[Any]] = {int(i): [] for i in counts.nonzero()[0]}
    per_kind: list[list[Any]] = [[] for _ in table.entries]
    for packing in columns:
        copies = Counter(i for i, _ in packing.contents)
        x = cp.new_int_var(0, _most(copies, counts), "")
        uses.append(x)
        per_kind[packing.bin].append(x)
        for i, number in copies.items():
            holders[i].append(number * x)
    if not all(holders.values()):
        return Cover(impossible=True)
    for i, terms in holders.items():
        held = cp_model.LinearExpr.sum(terms)
        cp.add(held == int(counts[i]) if once else held >= int(counts[i]))
    for xs, available in zip(per_kind, left, strict=True):
        if available is not None and xs:
            cp.add(cp_model.LinearExpr.sum(xs) <= available)
    step = table.instance.step()
    prices = [kind.price // step for kind in table.instance.bins]
    cost = cp_model.LinearExpr.weighted_sum(uses, [prices[p.bin] for p in columns])
    cp.add(cost <= limit // step)
    if not once:
        cp.minimize(cost)
    solver, status = run(cp, deadline, seed, work_s)
    if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
        return Cover(impossible=status == cp_model.INFEASIBLE)
    return Cover(_bins(columns, [solver.value(x) for x in uses], counts))


def run(cp: Any, deadline: Deadline, seed: int, work_s: float | None = None) -> tuple[Any, Any]:
    """CP-SAT, by one worker, so that the same seed gives the same answer; its solver and status."""
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.catch_sigint_signal = False  # the deadline is told instead
    if work_s is not None:
        solver.parameters.max_deterministic_time = work_s
    solver.parameters.max_time_in_seconds = max(0.01, deadline.left_s - 0.05)
    deadline.watch(solver.stop_search)
    try:
        status = solver.solve(cp)
    finally:
        deadline.unwatch(solver.stop_search)
    return solver, status


def cover_many(
    table: Table,
    counts: Any,
    left: list[int | None],
    columns: list[Packing],
    limit: int,
    deadline: Deadline,
    seed: int,
    work_s: float,
) -> Cover:
    """As `cover`, by HiGHS until the deadline; `work_s` is for CP-SAT to prove the impossible."""
    if deadline.left_s <= START_S:
        return Cover()
    from ortools.math_opt.python import mathopt

    model = mathopt.Model()
    rows = {int(i): model.add_linear_constraint(lb=float(counts[i])) for i in counts.nonzero()[0]}
    step = table.instance.step()
    price = model.add_linear_constraint(ub=float(limit // step))
    limits = [None if n is None else model.add_linear_constraint(ub=float(n)) for n in left]
    uses = []
    for packing in columns:
        copies = Counter(i for i, _ in packing.contents)
        x = model.add_integer_variable(lb=0.0, ub=float(_most(copies, counts)))
        uses.append(x)
        for i, number in copies.items():
            rows[i].set_coefficient(x, float(number))
        price.set_coefficient(x, float(table.instance.bins[packing.bin].price // step))
        row = limits[packing.bin]
        if row is not None:
            row.set_coefficient(x, 1.0)
    parameters = mathopt.SolveParameters(
        time_limit=datetime.timedelta(seconds=max(0.05, deadline.left_s - 0.05)),
        random_seed=seed,
        presolve=mathopt.Emphasis.OFF,  # HiGHS's heeds no time limit: half a minute at times
    )
    result = _until_stopped(
        partial(mathopt.solve, model, mathopt.SolverType.HIGHS, params=parameters), deadline
    )
    if result is None:
        return Cover()
    if result.has_primal_feasible_solution():
        return Cover(_bins(columns, [round(v) for v in result.variable_values(uses)], counts))
    if result.termination.reason != mathopt.TerminationReason.INFEASIBLE:
        return Cover()
    return cover(table, counts, left, columns, limit, deadline, seed, work_s)


def _most(copies: Counter[int], counts: Any) -> int:
    return max(-(-int(counts[i]) // number) for i, number in copies.items())


def _bins(columns: list[Packing], amounts: Iterable[int], counts: Any) -> list[Packing] | None:
    """The packings so often, without what is covered twice; None where a copy is missing."""
    rest = Counter({int(i): int(counts[i]) for i in counts.nonzero()[0]})
    bins = []
    for packing, amount in zip(columns, amounts, strict=True):
        for _ in range(amount):
            kept = []
            for i, k in packing.contents:
                if rest[i] > 0:
                    rest[i] -= 1
                    kept.append((i, k))
            if kept:
                bins.append(Packing(packing.bin, tuple(kept)))
    return None if any(rest.values()) else bins


def _until_stopped(work: Callable[[], Any], deadline: Deadline) -> Any:
    """What `work` returns, or None as soon as the deadline is told to end.

    MathOpt's Python has no interrupter (OR-Tools 9.15): what is not waited for ends with its own
    time limit, or with the process.
    """
    ended = threading.Event()
    results: list[Any] = []
    errors: list[Exception] = []

    def run_it() -> None:
        try:
            results.append(work())
        except Exception as error:  # raised again where it is waited for
            errors.append(error)
        ended.set()

    threading.Thread(target=run_it, daemon=True).start()
    deadline.watch(ended.set)
    ended.wait()
    deadline.unwatch(ended.set)
    if errors:
        raise errors[0]
    return results[0] if results else None
