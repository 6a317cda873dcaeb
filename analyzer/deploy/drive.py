"""Drives all models of a running layout with their placed loads and samples the devices.

A replica that carries the whole throughput of its load is driven as it was profiled, with as many
requests in flight; one that carries a share of it gets requests at that rate: at random where its
use at part load was measured so, else evenly.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import psutil

from analyzer.deploy.run_layout import RunningServer
from analyzer.devices.device import DeviceFigures
from analyzer.load.generator import Generator, LoadResult, PreparedRequest
from analyzer.load.start import start_generator
from analyzer.load.steady_state import SteadyStateRule
from analyzer.load.worker_pool import spare_cpus
from placement.layout import Resident
from profiles.errors import InputError, SurroundingsError
from profiles.measurement import LoadPoint
from profiles.percentile import Z_99

WHOLE = 0.999  # a share from here on is the whole: shares are counted in ten-thousandths

MakeRequests = Callable[[str, str, int], list[PreparedRequest]]  # url, model, batch size


@dataclass(frozen=True)
class Seen:
    """What was measured on a device under its placed load."""

    results: Mapping[str, LoadResult]  # by model
    figures: DeviceFigures | None  # None when the device is out of sight
    busy_percent: float | None = None  # CPU utilization of this host, all programs
    duration_s: float = 0.0  # how long it was driven


def drive(
    group: Sequence[RunningServer],
    make_requests: MakeRequests,
    duration_s: float,
    factor: float | None = None,
) -> list[Seen]:
    """Drive all residents of a group's servers at once for the duration."""
    results: list[dict[str, LoadResult]] = [{} for _ in group]
    problems: list[BaseException] = []
    with ExitStack() as stack:
        runs: list[tuple[int, str, Generator, LoadPoint]] = []
        spare = spare_cpus([cpu for server in group for cpu in server.cpus])
        for number, server in enumerate(group):
            for resident in server.residents:
                if not resident.rate:
                    continue  # standby
                load = placed_load(resident, factor)
                name = server.served_name(resident.model)
                requests = make_requests(server.url, name, load.batch_size)
                streams = requests[0].streams  # of a decoupled model, which gRPC alone carries
                generator = stack.enter_context(
                    start_generator("grpc" if streams else "http", spare)
                )
                generator.aim(server.grpc_url if streams else server.url, requests)
                runs.append((number, resident.model, generator, load))
        psutil.cpu_percent()  # the next call returns the mean since this one
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


def in_full(resident: Resident) -> bool:
    """Whether it carries its load's whole throughput, so is driven as it was profiled."""
    return resident.share * (resident.load_part or 1.0) >= WHOLE


def requests_sent(resident: Resident, duration_s: float) -> float:
    """How many are sent to it by its rate, on average."""
    batch_size = resident.load.batch_size if resident.load else None
    return resident.rate / batch_size * duration_s if batch_size else 0.0


def by_chance(resident: Resident, duration_s: float) -> float:
    """How far requests that arrive at random fall short of their rate once in a hundred times."""
    requests = requests_sent(resident, duration_s)
    at_random = resident.load_part is not None and not in_full(resident)
    return Z_99 / math.sqrt(requests) if at_random and requests else 0.0


def placed_load(resident: Resident, factor: float | None = None) -> LoadPoint:
    """The load to drive a replica with; raises InputError when the layout has none."""
    if resident.load is None:
        raise InputError(
            f"{resident.model}: the layout has no load for it; `place` from a profile store writes "
            "one."
        )
    if factor is None and in_full(resident):
        return resident.load
    rate = float(f"{resident.rate * (factor or 1.0) / resident.load.batch_size:.9g}")
    if rate <= 0:
        raise InputError(f"{resident.model}: its rate in the layout is 0.")
    at_random = resident.load_part is not None
    arrivals = "poisson" if at_random else resident.load.arrivals
    return replace(resident.load, concurrency=None, request_rate=rate, arrivals=arrivals)
