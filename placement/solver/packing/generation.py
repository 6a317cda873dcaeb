"""Column generation: the linear relaxation over all packings of one bin.

    minimise sum price[p]·x[p]   sum_p copies[i,p]·x[p] >= count[i]   sum_{p of b} x[p] <= limit[b]

GLOP solves it over the packings known; its dual prices, rounded down to integers, are item values
for which a search finds better packings, or proves how little there is to find: Farley's bound
from these integers is exact, whatever GLOP's floats were. Dual prices are smoothed towards the best
known (Wentges, "Weighted Dantzig-Wolfe decomposition", 1997).
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from placement.solver.packing.bounds import farley, to_price
from placement.solver.packing.instance import Packing
from placement.solver.packing.knapsack import best_by_sizes, search, weights
from placement.solver.packing.table import Table
from placement.solver.result import Deadline

WIDTHS = (60, 600, 6000, 40_000)  # of the searches for packings, narrow ones first
SMOOTH = 0.5
BY_SIZES = 200_000  # capacity up to which one resource is searched by dynamic programming


class Master:
    """The relaxation over the packings known so far, for a part of the items."""

    def __init__(self, table: Table, counts: Any, left: list[int | None]) -> None:
        from ortools.linear_solver import pywraplp

        self.table = table
        self.counts = counts
        self.left = left
        self.columns: list[Packing] = []
        self.variables: list[Any] = []
        self._known: set[tuple[int, tuple[int, ...]]] = set()
        self._solver = solver = pywraplp.Solver.CreateSolver("GLOP")
        self._parameters = pywraplp.MPSolverParameters()
        self._parameters.SetIntegerParam(self._parameters.PRESOLVE, self._parameters.PRESOLVE_OFF)
        self._dual_simplex = dual = pywraplp.MPSolverParameters()
        dual.SetIntegerParam(dual.PRESOLVE, dual.PRESOLVE_OFF)
        dual.SetIntegerParam(dual.LP_ALGORITHM, dual.DUAL)
        infinity = solver.infinity()
        self._rows = {
            int(i): solver.Constraint(int(counts[i]), infinity) for i in counts.nonzero()[0]
        }
        self._limits = [
            None if number is None else solver.Constraint(-infinity, number) for number in left
        ]
        self._goal = solver.Objective()
        self._goal.SetMinimization()
        dearest = max(kind.price for kind in table.instance.bins)
        for row in self._rows.values():  # what no known packing holds is bought dearly
            spare = solver.NumVar(0, infinity, "")
            row.SetCoefficient(spare, 1)
            self._goal.SetCoefficient(spare, 10.0 * max(1, dearest))

    def add(self, packings: Iterable[Packing]) -> int:
        """The number of packings that were not known."""
        added = 0
        for packing in packings:
            key = packing.bin, tuple(i for i, _ in packing.contents)
            if key in self._known or any(i not in self._rows for i in key[1]):
                continue
            self._known.add(key)
            variable = self._solver.NumVar(0, self._solver.infinity(), "")
            copies: dict[int, int] = {}
            for i in key[1]:
                copies[i] = copies.get(i, 0) + 1
            for i, number in copies.items():
                self._rows[i].SetCoefficient(variable, number)
            limit = self._limits[packing.bin]
            if limit is not None:
                limit.SetCoefficient(variable, 1)
            price = self.table.instance.bins[packing.bin].price
            self._goal.SetCoefficient(variable, float(price))
            self.columns.append(packing)
            self.variables.append(variable)
            added += 1
        return added

    def solve(self, deadline: Deadline) -> bool:
        """Whether GLOP ended before the deadline."""
        from ortools.linear_solver import pywraplp

        if deadline.left_s <= 0:
            return False
        self._solver.set_time_limit(max(1, int(deadline.left_s * 1000)))
        status = self._solver.Solve(self._parameters)
        if status == pywraplp.Solver.ABNORMAL:  # the last basis led GLOP's primal simplex astray
            status = self._solver.Solve(self._dual_simplex)
        return bool(status == pywraplp.Solver.OPTIMAL)

    def values(self) -> tuple[Any, list[int]]:
        """Item values and, per bin type, what its limited number is worth, as integers."""
        money = float(self.table.value_of_money)
        found = np.zeros(len(self.table.counts), np.int64)
        dearest = max(kind.price for kind in self.table.instance.bins)
        for i, row in self._rows.items():
            found[i] = int(min(max(0.0, row.dual_value()), max(1, dearest)) * money)
        extra = [
            0 if row is None else max(0, int(-row.dual_value() * money)) for row in self._limits
        ]
        return found, extra

    @property
    def price(self) -> float:
        """What the last solution costs."""
        return float(self._goal.Value())

    def amounts(self) -> list[float]:
        """How often each column is used in the last solution."""
        return [variable.solution_value() for variable in self.variables]


class Generation:
    """Packings added to a master until no more help, or the bound suffices."""

    def __init__(self, table: Table, master: Master, y: list[Any]) -> None:
        self.table = table
        self.master = master
        self.y = list(y)
        self.bound = 0
        self.relaxed = Fraction(0)
        self.best_values: Any = None  # those that prove the bound
        self.most: list[int] = []  # what no bin of each type exceeds, for these values
        self.converged = False

    def run(
        self,
        deadline: Deadline,
        rounds: int,
        enough: int | None = None,
        widest: int = len(WIDTHS),
        known: int = 0,
    ) -> None:
        """Add packings; stop early when the bound reaches `enough` or cannot exceed `known`."""
        width = 0
        self.converged = False
        for _ in range(rounds):
            if not self.master.solve(deadline) or self.master.price <= known:
                return
            values, extra = self.master.values()
            if self.best_values is not None and width == 0:
                mixed = (SMOOTH * self.best_values + (1 - SMOOTH) * values).astype(np.int64)
                if self._price(mixed, extra, 0, deadline):
                    if enough is not None and self.bound >= enough:
                        return
                    continue
            while not self._price(values, extra, width, deadline):
                width += 1
                if width >= widest or deadline.left_s <= 0:
                    self.converged = width < len(WIDTHS) or widest == len(WIDTHS)
                    return
                if enough is not None and self.bound >= enough:
                    return
            if enough is not None and self.bound >= enough:
                return

    def _price(self, values: Any, extra: list[int], step: int, deadline: Deadline) -> int:
        """The number of new packings for these values; the bound is raised on the way."""
        table, added = self.table, 0
        counts = self.master.counts
        uppers = []
        for kind, entries in enumerate(table.entries):
            if deadline.left_s <= 0:
                return added
            threshold = table.worth(kind) + extra[kind]
            # GLOP's prices are off by rounding: what is better by less than that is no better.
            threshold += max(1, threshold // 1_000_000)
            y = self.y[kind] = weights(entries, values, counts, self.y[kind])
            found = search(
                entries, values, counts, threshold, y, WIDTHS[step], 40, deadline=deadline
            )
            packings, upper = found.packings, found.upper
            if (
                upper > threshold
                and len(entries.capacity) == 1
                and entries.capacity[0] <= BY_SIZES
                and (step > 0 or not packings)
            ):
                packing, upper = best_by_sizes(entries, values, counts)
                packings = [*packings, packing] if upper > threshold else packings
            added += self.master.add(table.packing(kind, chosen) for chosen in packings)
            uppers.append(upper)
        relaxed = farley(table if counts is table.counts else _part(table, counts), values, uppers)
        if self.best_values is None or relaxed > self.relaxed:
            self.relaxed = relaxed
            self.bound = max(self.bound, to_price(table, relaxed))
            self.best_values, self.most = values, uppers
        return added


def _part(table: Table, counts: Any) -> Table:
    return Table(table.instance, table.entries, counts, table.value_of_money)
