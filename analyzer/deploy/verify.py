"""Does a layout hold? Every model gets its placed load at once, and what is seen is compared.

A replica that carries its option's whole throughput is driven as it was profiled, with as many
requests in flight; one that carries a share of it gets requests at that rate. Judged are, each
within the tolerance: throughput, which must not be less than predicted; memory and utilization of
each device, which must not be more; and the demanded latency limit, to which no tolerance applies.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

import psutil

from analyzer.deploy.running_layout import RunningServer
from analyzer.devices.device import DeviceFigures
from analyzer.load import grpc, http
from analyzer.load.generator import Generator, LoadResult, PreparedRequest
from analyzer.load.steady_state import SteadyStateRule
from analyzer.load.worker_pool import spare_cpus
from placement.layout import PlacedDevice, Resident
from profiles.errors import InputError, SurroundingsError
from profiles.measurement import LoadPoint

WHOLE = 0.999  # a share from here on is the whole: shares are counted in ten-thousandths
FULL_PERCENT = 95.0  # utilization from here on: there is nothing left to give
FEWEST = 10  # requests, of which one less is within a tolerance of 10 %
RAMP = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
RAMP_DOWN = (0.75, 0.5, 0.25)
BISECTIONS = 2

What = Literal["throughput", "latency", "memory", "utilization"]
MakeRequests = Callable[[str, str, int], list[PreparedRequest]]  # url, model, batch size


@dataclass(frozen=True)
class Check:
    """One figure of a layout against what was seen."""

    device: str
    model: str | None  # None: of the device as a whole
    what: What
    predicted: float | None  # latency: the limit where there is one
    measured: float | None
    unit: str
    holds: bool | None  # None: shown, not judged
    reason: str | None = None  # why it does not hold, or is not judged


@dataclass(frozen=True)
class Headroom:
    """How far all loads can grow together."""

    factor: float  # the largest that held; 0 when none did
    broken_at: float | None  # the next that was tried
    broken: tuple[Check, ...] = ()  # what did not hold there


@dataclass(frozen=True)
class Verification:
    """What was seen."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    headroom: Headroom | None = None

    @property
    def holds(self) -> bool:
        """Whether every figure that is judged held."""
        return all(check.holds is not False for check in self.checks)


@dataclass(frozen=True)
class Seen:
    """A device under its placed load."""

    results: Mapping[str, LoadResult]  # by model
    figures: DeviceFigures | None  # None when the device is out of sight
    busy_percent: float | None = None  # of this machine's processors, by whatever ran on them
    duration_s: float = 0.0  # how long it was driven


def verify(
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


def ramp(
    groups: Sequence[Sequence[RunningServer]],
    make_requests: MakeRequests,
    *,
    duration_s: float,
    tolerance: float,
) -> Headroom:
    """The largest factor by which all rates can be multiplied while every check holds."""

    def broken(factor: float) -> tuple[Check, ...]:
        checks = verify(
            groups, make_requests, duration_s=duration_s, tolerance=tolerance, factor=factor
        )
        # Memory and utilization are predictions at factor 1: what counts here is what callers see.
        callers = [check for check in checks if check.model is not None]
        return tuple(check for check in callers if check.holds is False)

    held = 0.0
    fell: float | None = None
    why: tuple[Check, ...] = ()
    for factor in RAMP:
        why = broken(factor)
        if why:
            fell = factor
            break
        held = factor
    if fell == RAMP[0]:
        for factor in RAMP_DOWN:
            lower = broken(factor)
            if not lower:
                held = factor
                break
            fell, why = factor, lower
    if fell is None:
        return Headroom(held, None)
    for _ in range(BISECTIONS if held else 0):
        middle = (held + fell) / 2
        lower = broken(middle)
        if lower:
            fell, why = middle, lower
        else:
            held = middle
    return Headroom(held, fell, why)


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
        holds=result.throughput >= resident.rate * (1 - tolerance),
    )
    if result.failures:
        texts = "; ".join(result.failure_texts)
        reason = f"{result.failures} requests to {resident.model} failed: {texts}"
        return replace(check, holds=False, reason=reason)
    if check.holds:
        return check
    requests = resident.rate / resident.load.batch_size * seen.duration_s if resident.load else 0.0
    if 0 < requests < FEWEST:
        few = f"{requests:.1f} requests in {seen.duration_s:g} s are too few to tell"
        return replace(check, holds=None, reason=few)
    return replace(
        check,
        reason=f"{resident.model} gets {result.throughput:.4g} of {resident.rate:.4g} infer/s"
        + _why_slow(device, result, seen),
    )


def _why_slow(device: PlacedDevice, result: LoadResult, seen: Seen) -> str:
    figures = seen.figures
    if result.client_limited:
        return f", perhaps for want of load: {result.client_limited}"
    needed = sum(resident.uses.get("utilization", 0.0) for resident in device.residents)
    if needed > 100:
        return (
            f": {device.name} holds too much, its residents need {needed:.0f} % of it together "
            "by their profiles (place with utilization among the --limits)"
        )
    used = figures.utilization_percent if figures else None
    if used is not None and used >= FULL_PERCENT:
        return f": {device.name} is full, {used:.0f} % in use"
    if seen.busy_percent is not None and seen.busy_percent >= FULL_PERCENT:
        return (
            f": this machine's processors are {seen.busy_percent:.0f} % busy, the load generators "
            "and other programs included"
        )
    if len(device.residents) > 1:
        return f": its neighbours on {device.name} slow it, though the device is not full"
    return f", though it is alone on {device.name}: it was profiled faster than it runs here"


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
        reason="no limit is demanded",
    )
    if limit is None:
        return check
    if measured is not None and measured <= limit:
        return replace(check, holds=True, reason=None)
    said = "no answer" if measured is None else f"{measured:.4g} ms"
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
        return replace(check, reason="the layout does not predict it")
    if measured is None:
        return replace(check, reason="out of sight")
    expected = min(predicted, 100.0) if what == "utilization" else predicted
    if measured <= expected * (1 + tolerance):
        return replace(check, holds=True)
    limit = device.capacity.get(what)
    beyond = limit is not None and measured > limit
    amount = _amount(measured, unit)
    return replace(
        check,
        holds=False,
        reason=f"{device.name} uses {amount} of {what}, predicted were "
        f"{_amount(expected, unit)}" + (f"; its limit is {_amount(limit, unit)}" if beyond else ""),
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "nothing"
    return f"{value / 1e6:.0f} MB" if unit == "bytes" else f"{value:.0f} {unit}"


def in_full(resident: Resident) -> bool:
    """Whether it is to run as it was profiled, however much its neighbours leave of that."""
    return resident.share >= WHOLE


def placed_load(resident: Resident, factor: float | None = None) -> LoadPoint:
    """What is sent to a replica; raises InputError when the layout does not say its load."""
    if resident.load is None:
        raise InputError(
            f"{resident.model}: the layout names no load to drive it with; `place` from a store "
            "of measurements writes it."
        )
    if factor is None and in_full(resident):
        return resident.load
    rate = resident.rate * (factor or 1.0) / resident.load.batch_size
    if rate <= 0:
        raise InputError(f"{resident.model}: its rate in the layout is 0: there is no load.")
    return replace(resident.load, concurrency=None, request_rate=rate)


def _grown(device: PlacedDevice, factor: float) -> PlacedDevice:
    residents = tuple(replace(r, rate=r.rate * factor) for r in device.residents)
    return replace(device, residents=residents)


def drive(
    group: Sequence[RunningServer],
    make_requests: MakeRequests,
    duration_s: float,
    factor: float | None = None,
) -> list[Seen]:
    """Drive all residents of all servers of the group at once for the duration."""
    results: list[dict[str, LoadResult]] = [{} for _ in group]
    problems: list[BaseException] = []
    with ExitStack() as stack:
        runs: list[tuple[int, str, Generator, LoadPoint]] = []
        spare = spare_cpus([cpu for server in group for cpu in server.cpus])
        for number, server in enumerate(group):
            for resident in server.residents:
                if not resident.rate:
                    continue  # it stands by
                load = placed_load(resident, factor)
                name = server.served_name(resident.model)
                requests = make_requests(server.url, name, load.batch_size)
                streams = requests[0].streams  # of a decoupled model, which gRPC alone carries
                generator = stack.enter_context((grpc if streams else http).start(spare))
                generator.aim(server.grpc_url if streams else server.url, requests)
                runs.append((number, resident.model, generator, load))
        psutil.cpu_percent()  # the next call tells the time since this one
        watches = [stack.enter_context(server.watch()) for server in group]
        start_s = time.monotonic()
        deadline = start_s + duration_s
        # Nothing settles before the deadline: neighbours are to be there all the time.
        rule = SteadyStateRule(relative_half_width=0.0, max_duration_s=duration_s + 60)

        def run(number: int, model: str, generator: Generator, load: LoadPoint) -> None:
            try:
                results[number][model] = generator.run(
                    load, rule, stop=lambda: time.monotonic() >= deadline
                )
            except BaseException as error:  # raised again below, by the caller
                problems.append(error)

        threads = [threading.Thread(target=run, args=one) for one in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        busy_percent = psutil.cpu_percent()
        figures = [
            watch.figures(start_s + duration_s * 0.2, deadline) if watch else None
            for watch in watches
        ]
    for problem in problems:
        if isinstance(problem, SurroundingsError):
            words = "; ".join(server.log_tail() for server in group if server.log_tail())
            raise SurroundingsError(f"{problem}{words and chr(10) + words}") from problem
        raise problem
    return [
        Seen(found, figure, busy_percent if server.here else None, duration_s)
        for server, found, figure in zip(group, results, figures, strict=True)
    ]
