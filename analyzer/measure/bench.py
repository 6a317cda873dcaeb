"""The bench that measurements are made on: server, device and load generator, all running."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache

from analyzer.devices.device import DeviceSampler
from analyzer.devices.gpu import Gpu
from analyzer.devices.open_device import open_device
from analyzer.load import shared_memory
from analyzer.load.generator import Generator, PreparedRequest
from analyzer.load.start import start_generator
from analyzer.load.steady_state import SteadyStateRule
from analyzer.load.worker_pool import spare_cpus
from analyzer.measure.options import Options
from analyzer.measure.plan import Plan
from analyzer.measure.watchdog import Patience
from analyzer.triton.launch import launch
from analyzer.triton.server import Server
from profiles.errors import InputError
from profiles.repository import ModelDirectory
from profiles.variant import server_arguments


@dataclass(frozen=True)
class Bench:
    """What measurements are made with."""

    server: Server
    device: DeviceSampler
    models: Mapping[str, ModelDirectory]
    generator: Generator
    make_requests: Callable[[str, str, int], list[PreparedRequest]]  # url, model, batch size
    rule: SteadyStateRule
    gpus: tuple[int, ...] | None = None  # that instances are put on; None on a CPU host
    patience: Patience = field(default_factory=Patience)
    in_parallel: bool = False  # other models are measured meanwhile, on other GPUs of this host
    streams: Callable[[], Generator] | None = None  # for decoupled models, if `generator` is not
    load_times: bool = False  # each variant is loaded twice, and timed
    rate_limits: tuple[str, ...] = ()  # arguments of the server that change how all is served

    @property
    def server_description(self) -> str:
        """The server as measurements name it, including a rate limit."""
        return " ".join((self.server.description, *self.rate_limits))

    @property
    def sees_server(self) -> bool:
        """Whether the server's processes can be seen: not on a Triton that was not started here."""
        return bool(self.server.pids())

    @property
    def sees_use(self) -> bool:
        """Whether the use of the device is known: a GPU tells it, a CPU host by processes alone."""
        return self.gpus is not None or self.sees_server

    def aim(self, model: str, batch_size: int) -> Generator:
        """The generator for a loaded model, with its requests; raises as `make_requests` does."""
        requests = self.make_requests(self.server.http_url, model, batch_size)
        generator = self.generator
        if self.streams is not None and requests[0].streams:
            generator = self.streams()
        grpc = generator.protocol == "grpc"
        generator.aim(self.server.grpc_url if grpc else self.server.http_url, requests)
        return generator


@contextmanager
def open_bench(options: Options, plan: Plan, say: Callable[[str], None]) -> Iterator[Bench]:
    """Open the device, start Triton and the load generator.

    Raises
    ------
    InputError
        The variants of the points cannot be served by one server, or an option is wrong.
    SurroundingsError
        Triton or the device is not there.
    """
    arguments = server_arguments(point.variant for point in plan.points)
    running = options.launch.mode == "remote"
    if arguments:
        must = "The running Triton must have been" if running else "Triton is"
        say(f"{must} started with {' '.join(arguments)}.")
    with ExitStack() as stack:
        device = stack.enter_context(open_device(options.gpus, options.launch.cpus))
        on_gpu = isinstance(device, Gpu)
        if isinstance(device, Gpu) and options.launch.mode != "remote":
            device.look_around()
        launch_options = replace(
            options.launch,
            gpus=(device.uuid,) if isinstance(device, Gpu) else (),
            arguments=(*options.launch.arguments, *(() if running else arguments)),
        )
        if options.shared_memory and options.load_generator == "perf_analyzer":
            raise InputError("--shared-memory needs --load-generator http or grpc.")
        server = stack.enter_context(launch(options.model_repository, launch_options, say))
        blocks = stack.enter_context(shared_memory.open_blocks()) if options.shared_memory else None
        spare = spare_cpus(launch_options.cpus)

        @cache
        def streams() -> Generator:
            say("Decoupled models are measured over gRPC streams.")
            return stack.enter_context(start_generator("grpc", spare))

        yield Bench(
            server=server,
            device=device,
            models=plan.loaded,
            generator=stack.enter_context(start_generator(options.load_generator, spare)),
            streams=streams if options.load_generator == "http" else None,
            make_requests=lambda url, model, batch_size: options.inputs.requests(
                url,
                model,
                batch_size,
                via=options.load_generator,
                sequence_length=options.sweep_of(model).sequence_length,
                blocks=blocks,
            ),
            rule=replace(
                options.rule,
                min_duration_s=max(options.rule.min_duration_s, device.shortest_span_s),
                answer_timeout_s=2 * options.patience.model_s,  # the watchdog says it better
            ),
            gpus=(0,) if on_gpu else None,  # the server sees that one alone
            patience=options.patience,
            in_parallel=options.in_parallel,
            load_times=options.load_times,
            rate_limits=tuple(word for word in arguments if word.startswith("--rate-limit")),
        )
