"""`profile` as a whole: from a repository and a sweep to measurements in a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from analyzer.devices.cpu_host import CpuHost
from analyzer.devices.device import DeviceSampler
from analyzer.devices.gpu import Gpu, open_gpus
from analyzer.load import grpc, http, input_data, inputs, perf_analyzer, shared_memory
from analyzer.load.generator import Generator, Via
from analyzer.load.model_inputs import describe_config
from analyzer.load.steady_state import SteadyStateRule
from analyzer.load.worker_pool import spare_cpus
from analyzer.measure.bench import Bench
from analyzer.measure.loop import Progress, measure_baseline, missing_points, profile, wanted
from analyzer.measure.search import Goal, next_point
from analyzer.measure.shard import Shard, expected_s, split
from analyzer.measure.sweep import Point, Sweep, fitting, loads, variants
from analyzer.measure.watchdog import Patience
from analyzer.triton.launch import LaunchOptions, launch
from profiles import repository
from profiles.digest import composed_digest, model_digest
from profiles.errors import InputError
from profiles.measurement import Baseline, Measurement
from profiles.model_config import is_stateful, steps
from profiles.repository import ModelDirectory
from profiles.store import ProfileStore
from profiles.variant import server_arguments


@dataclass(frozen=True)
class Inputs:
    """What the requests carry."""

    shapes: Sequence[tuple[str | None, str, tuple[int, ...]]] = ()  # (model or None, input, dims)
    data: str = "random"  # or zero, or a file or directory that load.input_data reads
    shapes_by_model: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    data_by_model: Mapping[str, str] = field(default_factory=dict)  # in place of `data`

    def of(self, model: str) -> dict[str, tuple[int, ...]]:
        """The dims that are given for a model's inputs."""
        shapes = {name: dims for owner, name, dims in self.shapes if owner in (None, model)}
        return {**shapes, **self.shapes_by_model.get(model, {})}

    def data_of(self, model: str) -> str:
        """What the model's requests carry."""
        return self.data_by_model.get(model, self.data)

    def files(self) -> list[Path]:
        """The files and directories that data is read from."""
        every = dict.fromkeys((self.data, *self.data_by_model.values()))
        return [Path(data) for data in every if data not in {"random", "zero"}]


@dataclass(frozen=True)
class Search:
    """What a search looks for, in place of measuring the whole grid."""

    goal: Goal = "throughput"
    latency_limit_ms: float | None = None
    latency_percentile: int = 95


@dataclass(frozen=True)
class Options:
    """What is to be measured, on what, how well."""

    model_repository: Path
    store: Path
    models: Sequence[str] | None = None  # all by default
    sweep: Sweep = field(default_factory=Sweep)
    sweep_by_model: Mapping[str, Sweep] = field(default_factory=dict)  # in place of `sweep`
    with_models: Mapping[str, Sequence[str]] = field(default_factory=dict)  # what a model calls
    inputs: Inputs = field(default_factory=Inputs)
    launch: LaunchOptions = field(default_factory=LaunchOptions)  # its GPUs come from `gpus`
    gpus: str = "auto"  # auto, first, none, or the index or UUID of one
    rule: SteadyStateRule = field(default_factory=SteadyStateRule)
    patience: Patience = field(default_factory=Patience)
    load_generator: Via = "http"
    shared_memory: bool = False  # inputs lie there, instead of in every request
    search: Search | None = None  # None: the whole grid
    remeasure: bool = False
    retry_failed: bool = False
    shard: Shard | None = None  # None: all of the models
    in_parallel: bool = False  # other models are measured meanwhile, on other GPUs of this host


@dataclass(frozen=True)
class Outcome:
    """What the store knows of the points that were asked for."""

    measurements: list[Measurement]
    measured: int  # just now; the others were in the store already


def run(
    options: Options,
    on_progress: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Measure what the store does not have yet.

    Raises
    ------
    InputError
        The repository, a model or an option is wrong.
    SurroundingsError
        Triton does not start or cannot be kept running; every point that ended is in the store.
    """
    models, points = prepare(options, say)
    if not models and options.shard is not None:
        with ProfileStore(options.store):  # made, so that whoever merges finds one for each shard
            every = len(read_models(replace(options, shard=None)))
            part = f"{options.shard.index}/{options.shard.count}"
            say(f"Shard {part} has no model: there are {every}.")
            return Outcome([], 0)
    with ProfileStore(options.store) as store, start_bench(options, models, points, say) as bench:
        missing = missing_of(options, points, store, bench)
        there = f"{len(points) - len(missing)} are in {options.store}, {len(missing)} to measure"
        say(
            f"{len(points)} points of {len(models)} models on {bench.device.device_type.name}, "
            f"{bench.server.description}: {there if options.search is None else 'a search'}."
        )
        measured = 0
        if missing:
            baseline = keep_baseline(bench, store)
            measured = measure(options, missing, bench, baseline, store, on_progress)
        known = wanted(points, store, bench)
        if options.search is not None:
            say(f"{len(points) - len(known)} of {len(points)} points were not tried.")
        return Outcome(known, measured)


def prepare(
    options: Options, say: Callable[[str], None] = lambda _: None
) -> tuple[dict[str, ModelDirectory], list[Point]]:
    """The models and every point of theirs; raises InputError."""
    models = read_models(options)
    for file in options.inputs.files():
        input_data.check(file)
    check_inputs(options, models)
    return models, grid(options, models, say)


def check_inputs(options: Options, models: Mapping[str, ModelDirectory]) -> None:
    """Raise InputError for what the models' configurations tell to be wrong before any starts."""
    given, problems = options.inputs, []
    known: dict[str, list[str] | None] = {}  # inputs by model; None: the server knows them
    for name, model in models.items():
        described = None if model.config is None else describe_config(model.config)
        known[name] = None if described is None else [entry.name for entry in described.inputs]
        if described is None:
            continue
        data = given.data_of(name)
        try:
            inputs.check_protocol(described, options.load_generator)
            inputs.make_tensors(
                described, 1, shapes=given.of(name), data="zero" if data == "random" else data
            )
        except InputError as error:
            problems.append(str(error))
    by_model = [(owner, name) for owner, shapes in given.shapes_by_model.items() for name in shapes]
    for owner, name in [*((owner, name) for owner, name, _ in given.shapes), *by_model]:
        asked = {model: has for model, has in known.items() if owner in (None, model)}
        if asked and all(has is not None and name not in has for has in asked.values()):
            there = "; ".join(f"{model} has {', '.join(has or ())}" for model, has in asked.items())
            problems.append(f"--shape {name}: no such input; {there}")
    if problems:
        raise InputError("\n".join(problems))


def missing_of(
    options: Options, points: list[Point], store: ProfileStore, bench: Bench
) -> list[Point]:
    """What the store does not have yet; to a search all points of a model that lacks one."""
    if options.remeasure:
        return points
    missing = missing_points(points, store, bench, retry_failed=options.retry_failed)
    if options.search is None:
        return missing
    lacking = {point.variant.model for point in missing}
    return [point for point in points if point.variant.model in lacking]


def measure(
    options: Options,
    points: Sequence[Point],
    bench: Bench,
    baseline: Baseline,
    store: ProfileStore,
    on_progress: Callable[[Progress], None],
) -> int:
    """Measure the points, or those of them that the search asks for; returns how many."""
    if options.search is None:
        return len(profile(points, bench, baseline, store, on_progress, len(points)))
    chosen = _searched(points, options.search, store, bench)
    return len(profile(chosen, bench, baseline, store, on_progress))


def keep_baseline(bench: Bench, store: ProfileStore) -> Baseline:
    """Measure the server alone, and keep that in the store."""
    baseline = measure_baseline(bench)
    store.add_baseline(baseline)
    return baseline


def _searched(
    points: Sequence[Point], search: Search, store: ProfileStore, bench: Bench
) -> Iterator[Point]:
    """What the search asks for, one model after another, by what the store knows by then."""
    for model in dict.fromkeys(point.variant.model for point in points):
        own = [point for point in points if point.variant.model == model]
        while True:
            known = {Point(m.variant, m.load, m.model_digest): m for m in wanted(own, store, bench)}
            point = next_point(
                own, known, search.goal, search.latency_limit_ms, search.latency_percentile
            )
            if point is None:
                break
            yield point


def read_models(options: Options) -> dict[str, ModelDirectory]:
    """The models to measure; raises InputError for an unknown name or a broken model."""
    names = repository.model_names(options.model_repository)
    for known in (options.sweep_by_model, options.with_models, options.inputs.data_by_model):
        repository.select(names, known)
    chosen = repository.select(names, options.models) if options.models else names
    if options.shard is not None:
        costs = {name: _expected_s(options, name) for name in chosen}
        chosen = tuple(split(costs, options.shard.count)[options.shard.index])
    return {name: repository.read_model(options.model_repository, name) for name in chosen}


def _expected_s(options: Options, model: str) -> float:
    sweep = options.sweep_by_model.get(model, options.sweep)
    members = [name for name, _ in sweep.members]
    return expected_s(
        len(variants(model, sweep, members)), len(list(loads(sweep))), options.rule.max_duration_s
    )


def grid(
    options: Options,
    models: Mapping[str, ModelDirectory],
    say: Callable[[str], None] = lambda _: None,
) -> list[Point]:
    """Every point of every model, in the order in which they are measured.

    What a model cannot vary is left out of its points, and said.
    """
    points = []
    for name, model in models.items():
        sweep = options.sweep_by_model.get(name, options.sweep)
        members = members_of(options, model)
        calls = members.values() if model.config is not None and steps(model.config) else ()
        stateful = any(m.config is not None and is_stateful(m.config) for m in (model, *calls))
        sweep, notes = fitting(name, sweep, model.config, stateful=stateful)
        for note in notes:
            say(note)
        digest = composed_digest(
            model_digest(model.path), {n: model_digest(m.path) for n, m in members.items()}
        )
        for variant in variants(name, sweep, tuple(members), options.inputs.of):
            points += [Point(variant, load, digest) for load in loads(sweep, stateful=stateful)]
    return points


def members_of(options: Options, model: ModelDirectory) -> dict[str, ModelDirectory]:
    """The models that a model is composed of; raises InputError when one is not there."""
    return repository.composed_of(options.model_repository, model, options.with_models)


@contextmanager
def start_bench(
    options: Options,
    models: Mapping[str, ModelDirectory],
    points: Sequence[Point],
    say: Callable[[str], None],
) -> Iterator[Bench]:
    """Everything that a measurement needs, running.

    Raises
    ------
    InputError
        The variants of the points cannot be served by one server, or an option is wrong.
    SurroundingsError
        Triton or the device is not there.
    """
    arguments = server_arguments(point.variant for point in points)
    running = options.launch.mode == "remote"
    if arguments:
        must = "The running Triton must have been" if running else "Triton is"
        say(f"{must} started with {' '.join(arguments)}.")
    for model in list(models.values()):
        models = {**members_of(options, model), **models}
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
            raise InputError("--shared-memory: with --load-generator http or grpc")
        server = stack.enter_context(launch(options.model_repository, launch_options, say))
        blocks = stack.enter_context(shared_memory.open_blocks()) if options.shared_memory else None
        spare = spare_cpus(launch_options.cpus)

        @cache
        def streams() -> Generator:
            say("A decoupled model answers in a stream: it is measured over gRPC.")
            return stack.enter_context(start_generator("grpc", spare))

        yield Bench(
            server=server,
            device=device,
            models=models,
            generator=stack.enter_context(start_generator(options.load_generator, spare)),
            streams=streams if options.load_generator == "http" else None,
            make_requests=lambda url, model, batch_size: inputs.make_requests(
                url,
                model,
                batch_size,
                shapes=options.inputs.of(model),
                data=options.inputs.data_of(model),
                via=options.load_generator,
                sequence_length=options.sweep_by_model.get(model, options.sweep).sequence_length,
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
            rate_limits=tuple(word for word in arguments if word.startswith("--rate-limit")),
        )


def start_generator(via: Via, cpus: Sequence[int]) -> AbstractContextManager[Generator]:
    """A load generator, on `cpus` if any; raises InputError when its program is not there."""
    if via == "http":
        return http.start(cpus)
    return grpc.start(cpus) if via == "grpc" else perf_analyzer.start(cpus)


@contextmanager
def open_device(choice: str, cpus: Sequence[int] = ()) -> Iterator[DeviceSampler]:
    """The device to measure on: `none` is the CPU, `auto` the first GPU if there is one.

    `first` is that GPU or MIG slice, and an error where there is none.

    A CPU host is the processors `cpus`, or all of this process's.

    Raises
    ------
    InputError
        The GPU is not there, or more than one is chosen.
    SurroundingsError
        NVML shows no GPU, and one was asked for by name, or given to this machine or container.
    """
    with ExitStack() as stack:
        found = [] if choice == "none" else stack.enter_context(open_gpus(choice))
        if len(found) > 1 and choice != "auto":
            raise InputError(f"--gpus {choice}: name one GPU; a run measures on one at a time")
        yield found[0] if found else CpuHost(cpus)
