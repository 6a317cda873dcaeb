"""What a model needs, and how late it answers, at a part of an option's throughput.

Both are curves through points that were measured by requests that arrive at random:

- Use of what scales: the points are made monotone (isotonic regression: Barlow et al., "Statistical
  Inference under Order Restrictions", 1972). Between two of them the truth bulges over the chord
  as the parabolas through a third point do, on either side (Newton's divided differences). The
  curve is the least concave function that is nowhere below all that. At less load batches are
  smaller and an inference costs more, so that the truth is concave; where noise or contention says
  otherwise, the curve is above it.
- Latency: the least increasing function that is nowhere below the points, linear between them.
  Waiting is convex in the rate (Kingman, "The single server queue in heavy traffic", 1961; with
  batches Inoue, "Queueing analysis of GPU-based inference servers with dynamic batching", 2021), so
  that a chord is above it. Beyond the last point nothing is known; before the first it is that
  point's.

A concave function is the least of its tangents. So an option with a curve becomes one for each
piece: a line that stands at some use at no load and grows with the share. No line is anywhere
below the curve, so that whatever mixes them is safe, and one of them is on it: bounds and proofs
hold as for any options. What keeps a latency limit up to a part of the throughput is an option of
that throughput. Pieces that save less than CLOSE are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from placement.problem.problem import Option

CLOSE = 0.02  # of a need: a piece that saves no more is left out
LEAST = 0.01  # of the throughput: an option for less is none


@dataclass(frozen=True)
class Part:
    """A point at part load."""

    share: float  # of the option's throughput, between 0 and 1
    needs: Mapping[str, float]  # by resource
    latency_ms: float | None = None  # at the demanded percentile; None: unknown


@dataclass(frozen=True)
class Curves:
    """What an option needs of each resource that scales at each of `shares`, and its latency."""

    shares: tuple[float, ...]  # from 0 to 1
    needs: Mapping[str, tuple[float, ...]]  # concave, from 0 at share 0
    late: tuple[tuple[float, float], ...]  # share and latency in ms, both increasing

    def need(self, resource: str, share: float) -> float:
        """What is needed of a resource at a share, 0 to 1."""
        return _between(tuple(zip(self.shares, self.needs[resource], strict=True)), share)

    def most(self, limit_ms: float) -> float:
        """The greatest share that is known to keep a latency limit; 0: none."""
        kept = 0.0
        for (share, latency_ms), (after, later_ms) in pairwise((*self.late, (1.0, float("inf")))):
            if latency_ms > limit_ms:
                break
            kept = share
            if limit_ms < later_ms < float("inf"):
                kept += (after - share) * (limit_ms - latency_ms) / (later_ms - latency_ms)
        return kept

    def latency_ms(self, share: float) -> float:
        """The latency at a share that is not beyond the last point."""
        return _between(self.late, share)


def curves(option: Option, parts: Iterable[Part], resources: Iterable[str]) -> Curves:
    """The curves of an option through its points at part load.

    `resources`: those that scale; one that a point does not know is taken as proportional.
    """
    ordered = sorted(parts, key=lambda part: part.share)
    measured = (0.0, *(part.share for part in ordered), 1.0)
    shares = tuple(sorted({*measured, *((a + b) / 2 for a, b in pairwise(measured))}))
    needs = {}
    for name in resources:
        full = option.needs.get(name, 0.0)
        seen = [part.needs.get(name, part.share * full) for part in ordered]
        rising = list(zip(measured, isotonic((0.0, *seen, full)), strict=True))
        needs[name] = concave(shares, [max(0.0, _bulging(rising, share)) for share in shares])
    late: list[tuple[float, float]] = []
    for part in ordered:
        if part.latency_ms is not None:
            late.append((part.share, max(part.latency_ms, late[-1][1] if late else 0.0)))
    return Curves(shares, needs, tuple(late))


def _bulging(points: Sequence[tuple[float, float]], share: float) -> float:
    """The chord and the mean bulge of the parabolas over it; not beyond the chords beside it."""
    chord = _between(points, share)
    place = next(n for n, (x, _) in enumerate(points) if share <= x)
    if points[place][0] == share:
        return chord
    low, high = points[place - 1], points[place]
    bulges, most = [], high[1]
    if place > 1:
        before = _slope(points[place - 2], low)
        bent = (_slope(low, high) - before) / (high[0] - points[place - 2][0])
        bulges.append(bent * (share - low[0]) * (share - high[0]))
        most = min(most, low[1] + before * (share - low[0]))
    if place + 1 < len(points):
        after = _slope(high, points[place + 1])
        bent = (after - _slope(low, high)) / (points[place + 1][0] - low[0])
        bulges.append(bent * (share - low[0]) * (share - high[0]))
        most = min(most, high[1] - after * (high[0] - share))
    bulge = sum(bulges) / len(bulges) if bulges else 0.0
    return max(chord, min(chord + bulge, most))


def isotonic(values: Sequence[float]) -> tuple[float, ...]:
    """The nearest increasing sequence in least squares: pool adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = value, 1
        while pools and pools[-1][0] > mean:
            before, number = pools.pop()
            mean = (mean * count + before * number) / (count + number)
            count += number
        pools.append((mean, count))
    return tuple(mean for mean, count in pools for _ in range(count))


def concave(shares: Sequence[float], values: Sequence[float]) -> tuple[float, ...]:
    """The least concave function that is nowhere below the values, at the same shares."""
    corners: list[tuple[float, float]] = []
    for point in zip(shares, values, strict=True):
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], point):
            corners.pop()
        corners.append(point)
    return tuple(
        max(value, _between(corners, share)) for share, value in zip(shares, values, strict=True)
    )


def pieces(option: Option, known: Curves, limit_ms: float | None) -> list[Option]:
    """The option as one for each line that is needed, up to the share that keeps the limit.

    Where latency is not known at part load, that of full load decides, as for any option. Where
    neighbours slow the model there are options for less throughput, too, which answer sooner
    and so bear more of them.
    """
    if limit_ms is None or not known.late:
        return _up_to(option, known, 1.0, option.latency_ms)
    most = known.most(limit_ms)
    if most < LEAST:  # at hardly any load is it in time
        return [replace(option, latency_ms=max(known.late[0][1], limit_ms * (1 + LEAST)))]
    tops = {most}
    if option.sensitivity:
        tops |= {share for share, _ in known.late if share < most}
    return [
        piece
        for top in sorted(tops, reverse=True)
        for piece in _up_to(option, known, top, known.latency_ms(top))
    ]


def unseen_errors(shares: Sequence[float], values: Sequence[float]) -> list[float]:
    """Each use but the first and last, predicted by the curve through the others: relative errors.

    The first is that of no load.
    """
    points = list(zip(shares, values, strict=True))
    errors = []
    for n in range(1, len(points) - 1):
        share, value = points[n]
        others = points[:n] + points[n + 1 :]
        if value > 0:
            errors.append(_bulging(others, share) / value - 1)
    return errors


def _up_to(option: Option, known: Curves, top: float, latency_ms: float | None) -> list[Option]:
    lines = []  # from, to, by resource: at share 0, and per share
    for low, high in pairwise(known.shares):
        if low >= top:
            break
        line = {}
        for name, values in known.needs.items():
            points = dict(zip(known.shares, values, strict=True))
            slope = max(0.0, (points[high] - points[low]) / (high - low))
            line[name] = (max(0.0, points[low] - slope * low), slope)
        lines.append((low, min(high, top), line))
    kept = _needed(known, lines, top)
    made = []
    for low, high, line in kept:
        name = option.name if top == 1.0 else f"{option.name} up to {top:.4g} of it"
        standing = {n: start for n, (start, _) in line.items() if start > 0}
        at_top = {n: start + slope * top for n, (start, slope) in line.items()}
        made.append(
            replace(
                option,
                name=name if len(kept) == 1 else f"{name}, at {low:.4g} to {high:.4g}",
                needs={n: at_top.get(n, need) for n, need in option.needs.items()},
                standing={n: min(s, at_top[n]) for n, s in standing.items() if n in option.needs},
                throughput=option.throughput * top,
                latency_ms=latency_ms,
                busy=option.busy * top,
                load_part=top,
            )
        )
    return made


Line = tuple[float, float, dict[str, tuple[float, float]]]


def _needed(known: Curves, lines: list[Line], top: float) -> list[Line]:
    """As few of the lines as keep within CLOSE of the curve."""
    ends = [0.0, *(share for share in known.shares if 0 < share < top), top]
    at = [*ends, *((low + high) / 2 for low, high in pairwise(ends))]

    def above(kept: list[Line]) -> float:
        return max(min(_above(known, line, share) for _, _, line in kept) for share in at)

    kept = list(lines)
    while len(kept) > 1:
        fewer = [kept[:n] + kept[n + 1 :] for n in range(len(kept))]
        best = min(fewer, key=above)
        if above(best) > CLOSE:
            break
        kept = best
    return kept


def _above(known: Curves, line: dict[str, tuple[float, float]], share: float) -> float:
    """How far a line lies above the curve, relative to it; of a tenth of full load at least."""
    return max(
        (
            (start + slope * share - need) / max(need, 0.1 * known.needs[name][-1], 1e-300)
            for name, (start, slope) in line.items()
            for need in (known.need(name, share),)
        ),
        default=0.0,
    )


def _slope(first: tuple[float, float], then: tuple[float, float]) -> float:
    return (then[1] - first[1]) / (then[0] - first[0])


def _between(points: Sequence[tuple[float, float]], share: float) -> float:
    """Linear between the points, constant before the first and after the last."""
    if share <= points[0][0]:
        return points[0][1]
    for (low, below), (high, above) in pairwise(points):
        if share <= high:
            return below + (above - below) * (share - low) / (high - low)
    return points[-1][1]
