"""Compares what was measured under load with what the layout predicts.

Promises to callers are judged: throughput, which must not be less than predicted by more than the
tolerance, and the demanded latency limit, to which no tolerance applies. Memory of each device is
judged by its limit, to which none applies either; utilization fails only where it passes the limit
that placing was given by more than the tolerance. A difference from the forecast is told, and fails
nothing by itself; without a limit a device's use is shown alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analyzer.deploy.drive import MakeRequests, Seen, by_chance, drive, requests_sent
from analyzer.deploy.run_layout import RunningServer
from analyzer.load.generator import LoadResult
from placement.layout import PlacedDevice, Resident

FULL_PERCENT = 95.0  # utilization from here on: there is nothing left to give
FEWEST = 10  # requests, of which one less is within a tolerance of 10 %

What = Literal["throughput", "latency", "memory", "utilization"]


@dataclass(frozen=True)
class Check:
    """A predicted figure and its measurement."""

    device: str
    model: str | None  # None: of the device as a whole
    what: What
    predicted: float | None  # latency: the limit where there is one
    measured: float | None
    unit: str
    holds: bool | None  # None: shown, not judged
    reason: str | None = None  # why it does not hold, or is not judged


def drive_and_judge(
    groups: Sequence[Sequence[RunningServer]],
    make_requests: MakeRequests,
    *,
    duration_s: float,
    tolerance: float,
    factor: float | None = None,
    on_seen: Callable[[RunningServer, PlacedDevice, Seen], None] = lambda *_: None,
) -> tuple[Check, ...]:
    """Drive the servers of each group at once, the groups one after another, and judge.

    Parameters
    ----------
    groups
        Servers that share no processor may run at once.
    make_requests
        Makes a model's requests.
    duration_s
        How long each group is driven.
    tolerance
        How far a figure may be on the wrong side of its prediction, relative to it.
    factor
        Drive this many times the placed rates instead of the placed loads.
    on_seen
        Called with what was seen of each device.

    Raises
    ------
    InputError
        The layout says no load for a resident.
    SurroundingsError
        A server stopped answering.
    """
    checks: list[Check] = []
    for group in groups:
        for server, seen in zip(
            group, drive(group, make_requests, duration_s, factor), strict=True
        ):
            for device in server.devices:
                wanted = device if factor is None else _grown(device, factor)
                checks += judge(wanted, seen, tolerance)
                on_seen(server, device, seen)
    return tuple(checks)


def judge(device: PlacedDevice, seen: Seen, tolerance: float) -> list[Check]:
    """The device's checks: each resident's throughput and latency, then the device's own."""
    checks = []
    for resident in device.residents:
        result = seen.results.get(resident.model)
        if result is None:
            continue  # no load is placed on it
        checks.append(_throughput(device, resident, result, seen, tolerance))
        checks.append(_latency(device, resident, result))
    figures = seen.figures
    for what, unit, measured in (
        ("memory", "bytes", figures.memory_bytes if figures else None),
        ("utilization", "%", figures.utilization_percent if figures else None),
    ):
        checks.append(_use(device, what, unit, measured, tolerance))  # type: ignore[arg-type]
    return checks


def _throughput(
    device: PlacedDevice,
    resident: Resident,
    result: LoadResult,
    seen: Seen,
    tolerance: float,
) -> Check:
    check = Check(
        device.name,
        resident.model,
        "throughput",
        resident.rate,
        result.throughput,
        "infer/s",
        holds=result.throughput
        >= resident.rate * (1 - tolerance - by_chance(resident, seen.duration_s)),
    )
    if result.failures:
        texts = "; ".join(result.failure_texts)
        reason = f"{result.failures} requests to {resident.model} failed: {texts}"
        return replace(check, holds=False, reason=reason)
    if check.holds:
        return check
    requests = requests_sent(resident, seen.duration_s)
    if 0 < requests < FEWEST:
        few = f"{requests:.1f} requests in {seen.duration_s:g} s are too few to judge"
        return replace(check, holds=None, reason=few)
    return replace(
        check,
        reason=f"{resident.model} gets {result.throughput:.4g} of {resident.rate:.4g} infer/s"
        + _why_slow(device, result, seen),
    )


def _why_slow(device: PlacedDevice, result: LoadResult, seen: Seen) -> str:
    figures = seen.figures
    if result.client_limited:
        return f", possibly limited by the client: {result.client_limited}"
    needed = sum(resident.uses.get("utilization", 0.0) for resident in device.residents)
    if needed > 100:
        return (
            f": {device.name} is overcommitted, by their profiles its replicas need {needed:.0f} % "
            "of it (place with utilization among the --limits)"
        )
    used = figures.utilization_percent if figures else None
    if used is not None and used >= FULL_PERCENT:
        return f": {device.name} is saturated, {used:.0f} % in use"
    if seen.busy_percent is not None and seen.busy_percent >= FULL_PERCENT:
        return (
            f": this host's CPUs are {seen.busy_percent:.0f} % busy, including load generators and "
            "other programs"
        )
    if len(device.residents) > 1:
        return (
            f": its neighbours on {device.name} slow it down, although the device is not saturated"
        )
    return f", although it is alone on {device.name}: it ran faster when it was profiled"


def _latency(device: PlacedDevice, resident: Resident, result: LoadResult) -> Check:
    measured = result.latency.percentile(resident.percentile) if result.latency else None
    limit = resident.latency_limit_ms
    check = Check(
        device.name,
        resident.model,
        "latency",
        limit if limit is not None else resident.latency_ms,
        measured,
        f"ms p{resident.percentile}",
        holds=None,
        reason="no latency limit",
    )
    if limit is None:
        return check
    if measured is not None and measured <= limit:
        return replace(check, holds=True, reason=None)
    said = "unknown (no request completed)" if measured is None else f"{measured:.4g} ms"
    return replace(
        check,
        holds=False,
        reason=f"{resident.model} on {device.name}: p{resident.percentile} latency is {said}, "
        f"above its limit of {limit:g} ms",
    )


def _use(
    device: PlacedDevice, what: What, unit: str, measured: float | None, tolerance: float
) -> Check:
    predicted = device.uses.get(what)
    check = Check(device.name, None, what, predicted, measured, unit, holds=None)
    if predicted is None:
        return replace(check, reason="not predicted by the layout")
    if measured is None:
        return replace(check, reason="not visible from here")
    expected = min(predicted, 100.0) if what == "utilization" else predicted
    amount = f"{device.name} uses {_amount(measured, unit)} of {what}"
    forecast = f"predicted: {_amount(expected, unit)}"
    off = measured > expected * (1 + tolerance)
    limit = device.capacity.get(what)
    if limit is None:
        told = f"{amount}, {forecast}; " if off else ""
        return replace(check, reason=f"{told}the layout has no limit on it")
    may = limit if what == "memory" else limit * (1 + tolerance)
    if measured > may:
        return replace(
            check,
            holds=False,
            reason=f"{amount}, its limit is {_amount(limit, unit)} ({forecast})",
        )
    return replace(
        check,
        holds=True,
        reason=f"{amount}, {forecast}; its limit holds" if off else None,
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "nothing"
    return f"{value / 1e6:.0f} MB" if unit == "bytes" else f"{value:.0f} {unit}"


def _grown(device: PlacedDevice, factor: float) -> PlacedDevice:
    residents = tuple(replace(r, rate=r.rate * factor) for r in device.residents)
    return replace(device, residents=residents)
