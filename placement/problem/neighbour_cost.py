"""How much more of a device an inference takes beside neighbours, learnt from co-location runs.

Residents i of a run use a_i alone, at the rates that they reached (0 to 1 of the device), and
together more than that: caches and memory are shared. With N_i = sum of a_j over the others,

    U = sum_i a_i * (1 + g_i * N_i)          g_i >= 0: what an inference of i costs more beside all

is fitted by least squares, each g_i drawn to what all models of the device type have in common,
which weighs as much as PRIOR_RUNS runs of two models that take half of the device each.

Placing knows nothing of who will be neighbour to whom. It counts the most that can be there: beside
own use a there is room for no more than L - a on a device with the limit L, so that a replica uses

    a * (1 + g * (L - a))

at most. That is concave in a, so that it is a curve as that of part load is (`part_load.py`). A
device that is filled to its limit uses just that; one that is not, less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from placement.problem.part_load import Curves, concave
from profiles.colocation import Colocation

USE = "utilization"
PRIOR_RUNS = 1.0
PRIOR_WEIGHT = PRIOR_RUNS * (0.5 * 0.5) ** 2
LEAST_USE = 0.01  # residents that did next to nothing tell nothing
ROUNDS = 200  # of coordinate descent, which settles long before
MOST = 1.0  # of g: beside neighbours no inference costs more than twice as much
STEPS = 8  # between no load and full load, in which the curve is taken


@dataclass(frozen=True)
class NeighbourCost:
    """The fit of one model on one device type."""

    model: str
    device_type: str
    g: float  # part that an inference costs more beside neighbours who use the whole device
    runs: int


@dataclass(frozen=True)
class Run:
    """A device's residents in one run."""

    device_type: str
    alone: Mapping[str, float]  # by model: use of the device alone, at the rate that it reached
    used: float  # measured, less the server's own; 0 to 1

    def felt(self, model: str) -> float:
        """The model's use times that of its neighbours."""
        mine = self.alone[model]
        return mine * (sum(self.alone.values()) - mine)


@dataclass(frozen=True)
class Error:
    """Use of a device in a run that the fit has not seen."""

    used: float
    predicted: float
    plain: float  # the same when what the residents use alone is added up

    @property
    def relative(self) -> float:
        """How far the prediction is off, relative to what was measured."""
        return abs(self.predicted - self.used) / self.used

    @property
    def relative_plain(self) -> float:
        """The same when uses are added up."""
        return abs(self.plain - self.used) / self.used


def runs(rows: Iterable[Colocation]) -> dict[str, Run]:
    """The runs of which the use of the whole device was measured, by name."""
    by_run: dict[str, list[Colocation]] = defaultdict(list)
    for row in rows:
        by_run[row.run].append(row)
    found = {}
    for name, residents in by_run.items():
        used = residents[0].device_uses.get(USE)
        alone = {n.model: n.uses.get(USE, 0.0) / 100 for row in residents for n in row.neighbours}
        whole = alone.keys() == {row.model for row in residents}
        if used and whole and sum(alone.values()) >= LEAST_USE and not residents[0].failures:
            found[name] = Run(residents[0].device_type, alone, used / 100)
    return found


def fit(known: Iterable[Run]) -> dict[tuple[str, str], NeighbourCost]:
    """The cost of neighbours, by model and device type; none where nothing was measured."""
    by_type: dict[str, list[Run]] = defaultdict(list)
    for run in known:
        by_type[run.device_type].append(run)
    fits = {}
    for device_type, mine in by_type.items():
        models = sorted({model for run in mine for model in run.alone})
        common = _common(mine)
        g = dict.fromkeys(models, common)
        for _ in range(ROUNDS):
            for model in models:
                g[model] = _one(model, mine, g, common)
        for model in models:
            seen = sum(model in run.alone for run in mine)
            fits[model, device_type] = NeighbourCost(model, device_type, g[model], seen)
    return fits


def unseen_errors(known: Mapping[str, Run]) -> list[Error]:
    """The use of each run as the others predict it; none where they do not know its models."""
    errors = []
    for name, run in known.items():
        fits = fit(other for key, other in known.items() if key != name)
        if all((model, run.device_type) in fits for model in run.alone):
            plain = sum(run.alone.values())
            more = sum(fits[m, run.device_type].g * run.felt(m) for m in run.alone)
            errors.append(Error(run.used, plain + more, plain))
    return errors


def median_error(errors: Sequence[Error], *, plain: bool = False) -> float | None:
    """The median of the relative errors; None of nothing."""
    figures = [error.relative_plain if plain else error.relative for error in errors]
    return median(figures) if figures else None


def beside(known: Curves, g: float, limit: float) -> Curves:
    """The curves with the use of a replica beside as many neighbours as there is room for.

    `limit`: of utilization on the device, in percent.
    """
    if not g or USE not in known.needs:
        return known
    steps = {n / STEPS for n in range(STEPS + 1)}
    shares = tuple(sorted({*known.shares, *steps}))
    needs = {name: tuple(known.need(name, share) for share in shares) for name in known.needs}
    greatest, most = [], 0.0
    for use in needs[USE]:
        most = max(most, use * (1 + g * max(0.0, limit - use) / 100))
        greatest.append(most)
    return Curves(shares, {**needs, USE: concave(shares, greatest)}, known.late)


def _common(mine: Sequence[Run]) -> float:
    """One g for all models."""
    felt = [sum(map(run.felt, run.alone)) for run in mine]
    more = [run.used - sum(run.alone.values()) for run in mine]
    squares = sum(f * f for f in felt) + PRIOR_WEIGHT
    return _within(sum(f * m for f, m in zip(felt, more, strict=True)) / squares)


def _one(model: str, mine: Sequence[Run], g: Mapping[str, float], common: float) -> float:
    """The model's g that fits best, the others' given."""
    squares, products = PRIOR_WEIGHT, PRIOR_WEIGHT * common
    for run in mine:
        if model not in run.alone:
            continue
        rest = run.used - sum(run.alone.values())
        rest -= sum(g[other] * run.felt(other) for other in run.alone if other != model)
        squares += run.felt(model) ** 2
        products += run.felt(model) * rest
    return _within(products / squares)


def _within(g: float) -> float:
    return min(MOST, max(0.0, g))
