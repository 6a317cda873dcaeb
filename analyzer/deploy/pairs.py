"""Measures models side by side: few informative pairs rather than all.

A run tells of a model's sensitivity by the square of its neighbours' use (least squares, see
`placement/problem/slowdown.py`). So the pair comes first by which the least is left unknown, what
the store knows already counted in, until each model was seen beside neighbours long enough: about
as many pairs as there are models, of n·(n-1)/2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import log

from analyzer.deploy import colocation
from analyzer.deploy.drive import drive
from analyzer.deploy.run_layout import RunningServer, start
from analyzer.devices.gpu import Gpu
from analyzer.devices.open_device import open_device
from analyzer.measure.options import Options
from analyzer.measure.plan import chosen_names
from placement.layout import Layout, PlacedDevice, Resident
from placement.problem import slowdown
from placement.problem.slowdown import PRIOR_WEIGHT, USE, Runner
from placement.problem.uses import device_uses
from profiles.colocation import Colocation
from profiles.device import DeviceType
from profiles.errors import InputError
from profiles.measurement import Baseline, Measurement
from profiles.part_load import loads
from profiles.store import ProfileStore
from profiles.up_to_date import up_to_date

ENOUGH = 0.5  # sum of squares of neighbours' use that a model was seen beside: twice at half
LEAST_GAIN = 0.05  # pairs with less information are not worth their time
LOADS = ((1.0, 1.0), (1.0, 0.5), (0.5, 1.0))  # parts of their throughput: what each pair is asked


@dataclass(frozen=True)
class Candidate:
    """A model at its point of highest throughput, as it is driven beside others."""

    measurement: Measurement

    @property
    def use(self) -> float:
        """Utilization of the device at full throughput, 0 to 1."""
        usage = self.measurement.usage
        return (usage.utilization_percent or 0.0) / 100 if usage else 0.0

    @property
    def memory_bytes(self) -> int:
        """What it holds under load."""
        usage = self.measurement.usage
        return usage.memory_hot_bytes if usage else 0

    def resident(self, share: float) -> Resident:
        """The model as a replica of a layout."""
        m = self.measurement
        return Resident(
            m.model,
            f"{m.variant} {m.load}",
            share,
            m.throughput * share,
            {USE: 100 * self.use * share},
            latency_ms=m.latency.p99_ms if m.latency else None,
            variant=m.variant,
            load=m.load,
        )


def candidates(measurements: Iterable[Measurement], device_type: str) -> dict[str, Candidate]:
    """Each model's point of highest throughput on this device type."""
    best: dict[str, Measurement] = {}
    for m in loads(measurements).full:
        known = best.get(m.model)
        if m.device_type != device_type or m.status != "ok" or m.usage is None:
            continue
        if known is None or m.throughput > known.throughput:
            best[m.model] = m
    return {model: Candidate(m) for model, m in sorted(best.items())}


def choose(
    models: Mapping[str, Candidate],
    rows: Iterable[Colocation],
    device: DeviceType,
    most: int | None = None,
) -> list[tuple[str, str]]:
    """The pairs to measure, most informative first; none when enough is known.

    `rows` are what the store knows; `most` is the largest number of pairs.
    """
    known = [row for row in rows if row.device_type == device.name]
    fitted = slowdown.fit(known)
    seen = dict.fromkeys(models, 0.0)
    for row in known:
        if row.model in seen and slowdown.usable(row):
            seen[row.model] += (row.neighbours_use(USE) / 100) ** 2
    told: dict[tuple[str, str], tuple[float, float]] = {}
    for a, b in combinations(models, 2):
        if models[a].memory_bytes + models[b].memory_bytes > device.memory_bytes:
            continue
        told[a, b] = _told(models[a], models[b], fitted, device.name)
    chosen: list[tuple[str, str]] = []

    def gain(pair: tuple[str, str]) -> float:
        return sum(
            log(1 + told / (seen[model] + PRIOR_WEIGHT))
            for model, told in zip(pair, told_by[pair], strict=True)
            if seen[model] < ENOUGH
        )

    told_by = told
    while told_by and (most is None or len(chosen) < most):
        best = max(told_by, key=gain)
        if gain(best) < LEAST_GAIN:
            break
        for model, square in zip(best, told_by.pop(best), strict=True):
            seen[model] += square
        chosen.append(best)
    return chosen


def _told(
    a: Candidate, b: Candidate, fitted: slowdown.SlowdownModel, device_type: str
) -> tuple[float, float]:
    """Information from a pair's runs for each model: the neighbour's expected use, squared."""
    names = (a.measurement.model, b.measurement.model)
    squares = [0.0, 0.0]
    for shares in LOADS:
        runners = [
            Runner(share, c.use, fitted.sensitivity(name, device_type) or c.use)
            for c, name, share in zip((a, b), names, shares, strict=True)
        ]
        reached = slowdown.reached(runners)
        squares[0] += (b.use * reached[1]) ** 2 * (shares[0] == 1.0)
        squares[1] += (a.use * reached[0]) ** 2 * (shares[1] == 1.0)
    return squares[0], squares[1]


@dataclass(frozen=True)
class _Plan:
    """What is known of the models on a device, and the pairs to measure there."""

    profile: Sequence[Measurement]
    server_uses: Mapping[str, float]
    models: Mapping[str, Candidate]
    pairs: Sequence[tuple[str, str]]


def _plan(options: Options, most: int | None, device: DeviceType) -> _Plan:
    asked = set(chosen_names(options))
    with ProfileStore(options.store, read_only=True) as store:
        profile, rows = up_to_date(store.measurements()).rows, store.colocations()
        server_uses = _server_uses(store.baselines(), device.name)
    models = {m: c for m, c in candidates(profile, device.name).items() if m in asked}
    if len(models) < 2:
        raise InputError(
            f"--pairs needs at least two models that were profiled on {device.name}; the store has "
            f"{', '.join(models) or 'none'}. Run `model-placer profile` without --pairs first."
        )
    return _Plan(profile, server_uses, models, choose(models, rows, device, most))


def look(options: Options, most: int | None = None) -> list[tuple[str, str]]:
    """The pairs that `run` would measure; nothing is started. Raises InputError as it does."""
    with open_device(options.gpus, options.launch.cpus) as found:
        return list(_plan(options, most, found.device_type).pairs)


def run(
    options: Options, most: int | None = None, say: Callable[[str], None] = lambda _: None
) -> list[Colocation]:
    """Measure the most informative pairs; returns the new co-location measurements.

    Each pair runs in full, and each of the two in full beside half of the other. A pair is in the
    store as soon as it ends; what is known well enough is not measured again.

    Raises
    ------
    InputError
        The store knows fewer than two models on this device, or the models are not there.
    SurroundingsError
        A Triton does not start or refuses a model.
    """
    with open_device(options.gpus, options.launch.cpus) as found:
        device, on_gpu = found.device_type, isinstance(found, Gpu)
        name = found.uuid if isinstance(found, Gpu) else "cpu"
    plan = _plan(options, most, device)
    models, pairs = plan.models, plan.pairs
    say(
        f"{len(pairs)} of {len(models) * (len(models) - 1) // 2} pairs of {len(models)} models on "
        f"{device.name} to measure, beyond what the store has"
        + (": " + ", ".join(" + ".join(pair) for pair in pairs) if pairs else "")
        + "."
    )
    made: list[Colocation] = []
    place = PlacedDevice(name, device.name, ())
    launch = replace(options.launch, gpus=()) if not on_gpu else options.launch
    for number, pair in enumerate(pairs, 1):
        new: list[Colocation] = []
        together = replace(place, residents=tuple(models[m].resident(1.0) for m in pair))
        with start(Layout((together,)), options.model_repository, {}, launch) as (groups, notes):
            for note in notes if number == 1 else ():
                say(note)
            for shares in LOADS:
                new += _drive(groups[0][0], pair, shares, options, plan)
        with ProfileStore(options.store) as store:
            store.add_colocations(new)
        made += new
        kept = ", ".join(
            f"{row.model} {row.throughput / row.solo_throughput:.0%}" for row in new[:2]
        )
        say(f"[{number}/{len(pairs)}] {' + '.join(pair)}: throughput kept at full load: {kept}")
    return made


def _drive(
    server: RunningServer,
    pair: tuple[str, str],
    shares: tuple[float, float],
    options: Options,
    plan: _Plan,
) -> list[Colocation]:
    (device,) = server.plan.devices
    driven = replace(
        device,
        residents=tuple(
            plan.models[model].resident(share) for model, share in zip(pair, shares, strict=True)
        ),
    )
    server = replace(server, plan=replace(server.plan, devices=(driven,)))

    (seen,) = drive([server], options.inputs.requests, options.rule.max_duration_s)
    return colocation.colocations(server, driven, seen, plan.profile, plan.server_uses)


def _server_uses(baselines: Iterable[Baseline], device_type: str) -> dict[str, float]:
    """What the server takes of the device by itself, by the newest baseline."""
    mine = [b for b in baselines if b.device_type == device_type]
    found = device_uses(mine[-1] if mine else None)
    return {name: use for name, use in found.items() if use is not None}
