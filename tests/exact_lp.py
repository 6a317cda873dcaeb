"""A linear program in exact arithmetic, for tiny sizes.

Maximise c·x subject to A·x <= b, x >= 0, by the simplex method with Bland's rule. The tableau
holds integers over one common denominator: each pivot divides by the one before without a
remainder (Bareiss; Edmonds), so that no fraction is ever reduced.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm

Row = list[Fraction]


def maximise(c: Row, rows: list[tuple[Row, Fraction]]) -> tuple[Fraction, list[Fraction]] | None:
    """The greatest c·x and x; None if nothing satisfies the rows.

    Raises OverflowError if there is no greatest value.
    """
    n, m = len(c), len(rows)
    size = n
    table = [_whole([*row, b]) for row, b in rows]
    # One common factor for the objective, since its value is asked for.
    factor = lcm(1, *(figure.denominator for figure in c))
    goal = [-int(figure * factor) for figure in c] + [0]
    names = [*range(n), *range(n, n + m)]  # of columns, then of rows
    if any(row[-1] < 0 for row in table):
        started = _first_basis(table, goal, names, n)
        if started is None:
            return None
        table, goal, names, d = started
        n = len(goal) - 1
    else:
        d = 1
    d = _run(table, goal, names, n, d, [])
    point = [Fraction(0)] * size
    for row, name in zip(table, names[n:], strict=True):
        if 0 <= name < size:
            point[name] = Fraction(row[-1], d)
    return Fraction(goal[-1], d * factor), point


def _whole(figures: Row) -> list[int]:
    factor = lcm(1, *(figure.denominator for figure in figures))
    return [int(figure * factor) for figure in figures]


def _run(
    table: list[list[int]], goal: list[int], names: list[int], n: int, d: int, more: list[list[int]]
) -> int:
    """Pivot until the goal row is not negative; the last denominator. `more` rows come along."""
    while True:
        enter = min((j for j in range(n) if goal[j] < 0), key=lambda j: names[j], default=None)
        if enter is None:
            return d
        leave = None
        for i, row in enumerate(table):
            if row[enter] <= 0:
                continue
            if leave is None:
                leave = i
                continue
            mine, best = row[-1] * table[leave][enter], table[leave][-1] * row[enter]
            if mine < best or (mine == best and names[n + i] < names[n + leave]):
                leave = i
        if leave is None:
            raise OverflowError("the linear program has no greatest value")
        d = _pivot(table, [goal, *more], names, n, leave, enter, d)


def _pivot(
    table: list[list[int]],
    others: list[list[int]],
    names: list[int],
    n: int,
    r: int,
    c: int,
    d: int,
) -> int:
    """Exchange the variables of row r and column c; the new denominator, above zero."""
    row = table[r]
    p = row[c]
    for other in [*table, *others]:
        if other is row:
            continue
        q = other[c]
        if q:
            for j in range(n + 1):
                other[j] = (other[j] * p - q * row[j]) // d
            other[c] = -q
        else:
            for j in range(n + 1):
                other[j] = other[j] * p // d
    row[c] = d
    if p < 0:
        for other in [*table, *others]:
            other[:] = [-figure for figure in other]
        p = -p
    names[c], names[n + r] = names[n + r], names[c]
    return p


def _first_basis(
    table: list[list[int]], goal: list[int], names: list[int], n: int
) -> tuple[list[list[int]], list[int], list[int], int] | None:
    """The tableau at a point that satisfies the rows, found with one artificial variable."""
    artificial = -1
    table = [[*row[:-1], -1, row[-1]] for row in table]
    goal = [*goal[:-1], 0, goal[-1]]
    first = [0] * n + [1, 0]  # maximise the artificial variable's negative
    names = [*names[:n], artificial, *names[n:]]
    worst = min(range(len(table)), key=lambda i: table[i][-1])
    d = _pivot(table, [first, goal], names, n + 1, worst, n, 1)
    d = _run(table, first, names, n + 1, d, [goal])
    if first[-1] < 0:
        return None
    if artificial in names[n + 1 :]:  # at zero in the basis: let any other take its place
        r = names.index(artificial, n + 1) - n - 1
        c = next((j for j in range(n + 1) if table[r][j]), None)
        if c is None:
            del table[r], names[n + 1 + r]
            return table, goal, names, d
        d = _pivot(table, [first, goal], names, n + 1, r, c, d)
    column = names.index(artificial)
    del names[column]
    for row in [*table, goal]:
        del row[column]
    return table, goal, names, d
