"""Runs a layout: a Triton per device, started here or already running elsewhere."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from analyzer.devices.cpu_host import CpuHost
from analyzer.devices.device import DeviceSampler, Watch
from analyzer.devices.gpu import Gpu, open_gpus
from analyzer.triton import http_api
from analyzer.triton.launch import launch
from analyzer.triton.options import LaunchOptions
from placement.export import triton
from placement.export.servers import Server, servers
from placement.layout import Layout, PlacedDevice, Resident
from profiles.counted import counted
from profiles.errors import InputError, ServerError


@dataclass(frozen=True)
class RunningServer:
    """A running server of the layout, with its models loaded."""

    plan: Server
    url: str
    pids: Callable[[], list[int]]
    log_tail: Callable[[], str]
    sampler: DeviceSampler | None  # None: out of sight
    description: str = ""  # of the server
    cpus: tuple[int, ...] = ()  # that it is pinned to; (): none in particular
    grpc_url: str = ""

    @property
    def here(self) -> bool:
        """Whether it runs on this machine, so that its device can be sampled."""
        return self.sampler is not None

    @property
    def devices(self) -> tuple[PlacedDevice, ...]:
        """The layout's devices that it serves."""
        return self.plan.devices

    @property
    def residents(self) -> tuple[Resident, ...]:
        """The replicas that it holds."""
        return tuple(resident for device in self.devices for resident in device.residents)

    def served_name(self, model: str) -> str:
        """The name under which the server serves a model of the layout."""
        return self.plan.names[model]

    def watch(self) -> AbstractContextManager[Watch | None]:
        """Sample its device until the block ends."""
        return nullcontext() if self.sampler is None else self.sampler.watch(self.pids)


@contextmanager
def start(
    layout: Layout,
    models: Path,
    urls: Mapping[str, str],
    options: LaunchOptions | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[list[list[RunningServer]], list[str]]]:
    """Yield the running servers, in groups that may be driven at once, and notes on them.

    Devices that `urls` names run already; the others are started here, as `options` say, each
    GPU's on the GPU of this machine that has its number (or UUID). CPU hosts get processors of
    their own, as many as their type has; where this machine has too few for all of them and the
    load generators, one host is driven after another.

    Raises
    ------
    InputError
        The layout and the repository do not fit, or a URL is for no device.
    SurroundingsError
        A GPU cannot be seen, a Triton does not start or refuses a model.
    """
    options = options or LaunchOptions()
    plans = servers(layout, models)
    for name in urls:
        if name not in {device.name for plan in plans for device in plan.devices}:
            known = ", ".join(device.name for plan in plans for device in plan.devices)
            raise InputError(f"Unknown device in --url {name}. Devices of the layout: {known}.")
    remote = [plan for plan in plans if plan.devices[0].name in urls]
    here = [plan for plan in plans if plan.devices[0].name not in urls]
    usable = sorted(options.cpus or os.sched_getaffinity(0))
    pinned, at_once, notes = _processors([plan for plan in here if plan.kind == "cpu"], usable)
    with ExitStack() as stack:
        made = [_attach(plan, urls[plan.devices[0].name]) for plan in remote]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="model-placer-")))
        triton.write(here, folder, copy=options.mode == "docker")  # links lead out of a container
        for plan in here:
            say(f"Starting Triton for {plan.devices[0].name}: {counted(len(plan.models), 'model')}")
            sampler = stack.enter_context(_sampler(plan, notes))
            own = replace(options, cpus=pinned.get(plan.name, ()))
            made.append(stack.enter_context(_launch(plan, folder / plan.name, own, sampler, say)))
        made.sort(key=lambda server: plans.index(server.plan))
        # A GPU and a server elsewhere are each their own; CPU hosts need processors of their own.
        shared = {p.name for p in here if p.kind == "cpu" and not at_once}
        together = [server for server in made if server.plan.name not in shared]
        alone = [[server] for server in made if server.plan.name in shared]
        yield [*([together] if together else []), *alone], notes


def _processors(
    plans: Sequence[Server], usable: list[int]
) -> tuple[dict[str, tuple[int, ...]], bool, list[str]]:
    """CPUs for each CPU host by server, whether they are disjoint, and notes.

    One processor is left to the load generators, as when the models were profiled.
    """
    wanted = {plan.name: cores(plan.devices[0]) or len(usable) for plan in plans}
    notes = [
        f"{plan.devices[0].name} was profiled on {wanted[plan.name]} cores; this host has "
        f"{len(usable)}."
        for plan in plans
        if wanted[plan.name] > len(usable)
    ]
    if len(plans) <= 1 or sum(wanted.values()) < len(usable):
        pinned = {}
        for name, count in wanted.items():
            pinned[name], usable = tuple(usable[:count]), usable[count:]
        return pinned, True, notes
    notes.append(
        f"{len(plans)} CPU hosts need {sum(wanted.values())} cores beside the load generators, "
        f"this host has {len(usable)}: they are driven one after another."
    )
    return {name: tuple(usable[:count]) for name, count in wanted.items()}, False, notes


def cores(device: PlacedDevice) -> int | None:
    """Cores of a CPU host, parsed from the end of its type's name."""
    match = re.search(r"\((\d+) cores?\)$", device.device_type)
    return int(match[1]) if match else None


@contextmanager
def _launch(
    plan: Server,
    repository: Path,
    options: LaunchOptions,
    sampler: DeviceSampler,
    say: Callable[[str], None],
) -> Iterator[RunningServer]:
    gpus = (sampler.uuid,) if isinstance(sampler, Gpu) else ()
    arguments = (*options.arguments, *plan.extra_arguments)
    with launch(repository, replace(options, gpus=gpus, arguments=arguments), say) as server:
        for model in plan.models:
            server.load(model.name)
        yield RunningServer(
            plan,
            server.http_url,
            server.pids,
            server.log_tail,
            sampler,
            server.description,
            options.cpus,
            server.grpc_url,
        )


@contextmanager
def _sampler(plan: Server, notes: list[str]) -> Iterator[DeviceSampler]:
    if plan.kind == "cpu":
        host = CpuHost()
        host.cores = cores(plan.devices[0]) or host.cores
        yield host
        return
    with open_gpus(",".join(plan.device_ids)) as (gpu,):
        wanted = plan.devices[0].device_type
        if gpu.device_type.name != wanted:
            notes.append(
                f"{plan.devices[0].name} is a {wanted} in the layout; GPU {gpu.index} here is a "
                f"{gpu.device_type.name}."
            )
        yield gpu


def _attach(plan: Server, url: str) -> RunningServer:
    states = http_api.states(url)
    for model in plan.models:
        if states.get(model.name, ("", ""))[0] != "READY":
            raise ServerError(
                f"Triton at {url} ({plan.devices[0].name}) does not serve {model.name}: "
                f"{states.get(model.name, ('it', 'does not know it'))[1] or 'not loaded'}. "
                "`export` writes its repository; `apply` loads it."
            )
    host, _, port = url.rpartition(":")
    grpc_url = f"{host}:{int(port) + 1}" if port.isdecimal() else ""  # Triton's convention
    return RunningServer(plan, url, list, lambda: "", None, grpc_url=grpc_url)
