"""How much of its speed a model keeps beside neighbours, learnt from co-location measurements.

A model m alone reaches its option's throughput R. Beside neighbours that use U of a device's
utilization (0 to 1, together, at the rates that they reach) it can reach

    v(m, U) = R * max(0, 1 - b_m * U)                 b_m >= 0: the sensitivity of m

The loss is linear in the neighbours' use, as in gpulet (Choi et al., USENIX ATC 2022) and iGniter
(Xu et al., TPDS 2023), which fit latency so; where a device only shares out its time, b = 1 is
exact for a model that fills it alone, and linear in latency is not. Latency grows as speed falls:
by 1 / (1 - b U).

b is fitted by least squares through the origin: without neighbours nothing is lost. Few rows are
drawn to what all models of the device type have in common, which weighs as much as PRIOR_ROWS rows
at half of the device (ridge regression with that centre). Nothing is assumed before it was
measured: a model without rows of its own on a device type has no slowdown there.

A row tells b only if the model was driven as hard as it could go: in a closed loop, or at a rate
that it did not reach. One that got the rate it was asked for kept at least that; it counts only
where the fit would deny it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median

from profiles.colocation import Colocation

USE = "utilization"  # the neighbours' use that is counted, in percent
PRIOR_ROWS = 1.0  # what the models have in common weighs as much as so many rows
PRIOR_WEIGHT = PRIOR_ROWS * 0.5**2
REACHED = 0.98  # of a rate: what got so much was not held back
LEAST_USE = 0.01  # neighbours that did next to nothing tell nothing
LEVELS = 400  # steps in which the device's time is shared out
ROUNDS = 6  # over the part of the way that one goes, in which residents settle after a step
SINGLE = 0.99  # of its speed that all others may take of one: below, iterating converges to the
# single solution (the map is a contraction in the maximum norm)
SETTLED = 1e-14  # change of a share that ends the iteration
SETTLING = 4000  # iterations at most


@dataclass(frozen=True)
class Sensitivity:
    """The fit of one model on one device type."""

    model: str
    device_type: str
    b: float  # part of its speed that neighbours take who use the whole device
    rows: int  # measurements of its own behind it


@dataclass(frozen=True)
class SlowdownModel:
    """What the co-location measurements of a store say; empty: no slowdown is known."""

    fits: Mapping[tuple[str, str], Sensitivity] = field(default_factory=dict)  # (model, type)

    def sensitivity(self, model: str, device_type: str) -> float:
        """The model's b; 0 where it was never measured beside neighbours."""
        found = self.fits.get((model, device_type))
        return found.b if found else 0.0

    def knows(self, device_type: str) -> bool:
        """Whether anything was measured on devices of this type."""
        return any(kind == device_type for _, kind in self.fits)

    def speed(self, model: str, device_type: str, neighbours_use: float) -> float:
        """The part of its throughput that the model keeps, 0 to 1; the use is 0 to 1 too."""
        return max(0.0, 1.0 - self.sensitivity(model, device_type) * neighbours_use)


@dataclass(frozen=True)
class Error:
    """A prediction of a run that the fit has not seen."""

    row: Colocation
    predicted: float  # inferences per second
    plain: float  # the same when no slowdown is assumed

    @property
    def relative(self) -> float:
        """How far the prediction is off, relative to what was measured."""
        return abs(self.predicted - self.row.throughput) / self.row.throughput

    @property
    def relative_plain(self) -> float:
        """The same without a slowdown model."""
        return abs(self.plain - self.row.throughput) / self.row.throughput


def fit(rows: Iterable[Colocation]) -> SlowdownModel:
    """The model of all usable rows; see the module's text."""
    by_type: dict[str, dict[str, list[Colocation]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if usable(row):
            by_type[row.device_type][row.model].append(row)
    fits = {}
    for device_type, models in by_type.items():
        common = _least_squares([row for own in models.values() for row in own], 0.0, 0.0)
        for model, own in models.items():
            b = _least_squares(own, common, PRIOR_WEIGHT)
            fits[model, device_type] = Sensitivity(model, device_type, b, len(own))
    return SlowdownModel(fits)


def usable(row: Colocation) -> bool:
    """Whether the row says something of the slowdown."""
    return (
        row.solo_throughput > 0
        and row.throughput > 0
        and not row.failures
        and row.neighbours_use(USE) / 100 >= LEAST_USE
    )


def unseen_errors(rows: Sequence[Colocation]) -> list[Error]:
    """Each run predicted, from what was asked of its residents, by a fit of the other runs.

    Models of which no other run tells are left out, since nothing is predicted of them.
    """
    runs: dict[str, list[Colocation]] = defaultdict(list)
    for row in rows:
        if usable(row):
            runs[row.run].append(row)
    errors = []
    for run, residents in runs.items():
        others = fit(row for row in rows if row.run != run)
        device_type = residents[0].device_type
        runners = [
            Runner(
                _wanted_share(row),
                row.uses.get(USE, 0.0) / 100,
                others.sensitivity(row.model, device_type),
            )
            for row in residents
        ]
        for row, share in zip(residents, reached(runners), strict=True):
            if (row.model, device_type) in others.fits:
                plain = _wanted_share(row) * row.solo_throughput
                errors.append(Error(row, share * row.solo_throughput, plain))
    return errors


def median_error(errors: Sequence[Error], *, plain: bool = False) -> float | None:
    """The median of the relative errors; None of nothing."""
    figures = [error.relative_plain if plain else error.relative for error in errors]
    return median(figures) if figures else None


@dataclass(frozen=True)
class Runner:
    """A replica beside others, for the prediction of what it reaches."""

    share: float  # wanted, of its option's throughput
    use: float  # of the device at the option's full throughput, 0 to 1
    b: float  # its sensitivity
    paced: bool = False  # carries exactly its share (a demanded rate), whatever its neighbours do


def reached(runners: Sequence[Runner]) -> list[float]:
    """The share of its option's throughput that each resident of a device reaches, 0 to 1.

    Paced residents carry their share; whether what neighbours leave suffices for it is for the
    caller to check. The others reach at most what is wanted of them and what all neighbours leave,
    v_i <= 1 - b_i * sum of use_j * v_j. Where these equations have a single solution, it is that
    one. Else the device's time is shared out evenly, as a scheduler does: all take the same more of
    it until most of what some still gain is lost by others. (A fixed point of the equations need
    not be stable: where b > 1 it would give all to one, which no scheduler does.)
    """
    free = tuple(r for r in runners if not r.paced)
    taken = sum(r.use * r.share for r in runners if r.paced)
    shares = iter(_shared_out(free, taken))
    return [r.share if r.paced else next(shares) for r in runners]


@lru_cache(maxsize=4096)
def _shared_out(runners: tuple[Runner, ...], taken: float) -> tuple[float, ...]:
    """What residents reach that are not paced, where paced ones take `taken` of the device."""
    wanted = [r.share for r in runners]
    left = _left(runners, wanted, taken)
    if all(r.share <= most + 1e-9 for r, most in zip(runners, left, strict=True)):
        return tuple(wanted)  # nobody holds anybody back
    full = sum(r.use for r in runners)
    strongest = max(r.b * (full - r.use) for r in runners)
    part = 1 / (1 + max(1.0, strongest))  # a longer step would overshoot
    if strongest < SINGLE:
        shares = _settled(runners, wanted, taken, 1.0)
    else:
        shares = _evenly(runners, taken, part)
    for i in range(len(runners)):  # what the steps still left to go; less of one is more for others
        shares[i] = min(shares[i], _left(runners, shares, taken)[i])
    return tuple(shares)


def _settled(
    runners: Sequence[Runner], shares: list[float], taken: float, part: float
) -> list[float]:
    """The fixed point of v_i = min(share_i, what its neighbours leave), from a guess."""
    for _ in range(SETTLING):
        left = _left(runners, shares, taken)
        new = [
            v + part * (min(r.share, most) - v)
            for r, v, most in zip(runners, shares, left, strict=True)
        ]
        moved = max(abs(a - b) for a, b in zip(new, shares, strict=True))
        shares = new
        if moved <= SETTLED:
            break
    return shares


def _evenly(runners: Sequence[Runner], taken: float, part: float) -> list[float]:
    """The device's time shared out in steps, evenly, as far as that gains more than it costs."""
    shares, total = [0.0] * len(runners), 0.0
    for step in range(1, LEVELS + 1):
        most = [min(r.share, step / LEVELS / max(r.use, 1 / LEVELS)) for r in runners]
        new = most
        for _ in range(round(ROUNDS / part)):
            left = _left(runners, new, taken)
            new = [v + part * (min(m, p) - v) for v, m, p in zip(new, most, left, strict=True)]
        used = sum(r.use * v for r, v in zip(runners, new, strict=True))
        gained = sum(
            max(0.0, r.use * (v - old)) for r, v, old in zip(runners, new, shares, strict=True)
        )
        if used - total < gained / 2:
            return shares
        shares, total = new, used
    return _settled(runners, shares, taken, part)


def _left(runners: Sequence[Runner], shares: Sequence[float], taken: float) -> list[float]:
    """What each one's neighbours leave it when all reach these shares."""
    total = taken + sum(r.use * v for r, v in zip(runners, shares, strict=True))
    return [max(0.0, 1.0 - r.b * (total - r.use * v)) for r, v in zip(runners, shares, strict=True)]


def _least_squares(rows: Sequence[Colocation], centre: float, weight: float) -> float:
    """The b that makes b * U the loss, drawn to `centre` with `weight`.

    Rows that got what they asked for are bounds; they are taken up while the fit denies them.
    """
    hard = [row for row in rows if not _got_its_rate(row)]
    bounds = [row for row in rows if _got_its_rate(row)]
    b = _through_origin(hard, centre, weight)
    denied = [row for row in bounds if 1 - b * _use(row) < _kept(row)]
    return max(0.0, _through_origin(hard + denied, centre, weight) if denied else b)


def _through_origin(rows: Sequence[Colocation], centre: float, weight: float) -> float:
    squares = sum(_use(row) ** 2 for row in rows) + weight
    products = sum(_use(row) * (1 - _kept(row)) for row in rows) + weight * centre
    return products / squares if squares else 0.0


def _got_its_rate(row: Colocation) -> bool:
    """Whether it was asked for less than it can give, and gave it."""
    wanted = row.wanted_throughput
    return 0 < wanted < REACHED * row.solo_throughput and row.throughput >= REACHED * wanted


def _use(row: Colocation) -> float:
    return row.neighbours_use(USE) / 100


def _kept(row: Colocation) -> float:
    return row.throughput / row.solo_throughput


def _wanted_share(row: Colocation) -> float:
    return min(1.0, (row.wanted_throughput or row.solo_throughput) / row.solo_throughput)
