"""`model-placer profile`: measure models on Triton."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyzer.cli import swept_values, triton_options
from analyzer.cli.options import (
    CommaList,
    Duration,
    Share,
    command,
    emit,
    log,
    positive_integer,
)
from profiles.errors import InputError

if TYPE_CHECKING:
    from analyzer.measure.loop import Progress
    from analyzer.measure.profiling import Options


class Parameter(click.ParamType[tuple[str, tuple[str, ...]]]):
    """`KEY=V1,V2`: a backend parameter and the values to try."""

    name = "parameter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        key, equals, values = str(value).partition("=")
        if not equals or not key or not values:
            self.fail(f"{value!r} is not KEY=VALUE[,VALUE...].", param, ctx)
        return key, tuple(values.split(","))


class Swept(click.ParamType[Any]):
    """A value that `analyzer.cli.swept_values` reads, in words or as YAML."""

    def __init__(self, name: str, read: Callable[[Any], Any]) -> None:
        self.name, self.read = name, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str | Mapping | int):
            return value
        try:
            return self.read(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class WithModels(click.ParamType[tuple[str, tuple[str, ...]]]):
    """`MODEL=A,B`: the models that a model's business logic calls."""

    name = "with_models"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        model, _, words = str(value).partition("=")
        called = tuple(word.strip() for word in words.split(",") if word.strip())
        if not model or not called:
            self.fail(f"{value!r} is not MODEL=OTHER[,OTHER...].", param, ctx)
        return model, called


class ShardOf(click.ParamType[Any]):
    """`I/N`: which part of how many."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from analyzer.measure.shard import Shard

        if isinstance(value, Shard):
            return value
        match = re.fullmatch(r"(\d+)/(\d+)", str(value))
        if not match:
            self.fail(f"{value!r} is not I/N, such as 0/4, the first of four.", param, ctx)
        return Shard(int(match[1]), int(match[2]))


def cpu_number(word: str) -> int:
    """The number of a CPU; ValueError when it is none."""
    number = int(word)
    if number < 0:
        raise ValueError(word)
    return number


INTEGERS = CommaList(positive_integer, "integers")
NOT_NEGATIVE = CommaList(swept_values.whole, "integers")


@command("profile")
@triton_options.model_repository("Triton model repository.")
@click.option("--models", type=CommaList(what="names"), help="Models to measure  [default: all]")
@click.option(
    "--batch-sizes",
    type=INTEGERS,
    default="1,2,4",
    show_default=True,
    help="Inferences in one request.",
)
@click.option(
    "--concurrency", type=INTEGERS, default="1,2,4", show_default=True, help="Requests in flight."
)
@click.option(
    "--request-rates",
    type=CommaList(swept_values.rate, "numbers"),
    help="Requests per second, in place of concurrency.",
)
@click.option(
    "--arrivals",
    type=click.Choice(["constant", "poisson"]),
    default="constant",
    show_default=True,
    help="How requests are spaced at a request rate.",
)
@click.option("--instance-counts", type=INTEGERS, help="Instances of the model on the device.")
@click.option("--max-batch-sizes", type=INTEGERS, help="The server's max_batch_size.")
@click.option(
    "--max-queue-delays-us",
    type=NOT_NEGATIVE,
    help="Turns dynamic batching on, with these queue delays.",
)
@click.option("--preferred-batch-sizes", type=INTEGERS, help="Of the dynamic batcher.")
@click.option(
    "--parameter",
    "parameters",
    type=Parameter(),
    multiple=True,
    metavar="KEY=V1,V2",
    help="A backend parameter and the values to try; repeatable.",
)
@click.option(
    "--instance-kind",
    "kind",
    type=click.Choice(swept_values.KINDS),
    help="Where instances run  [default: as the model says]",
)
@click.option(
    "--rate-limiter",
    "rate_limiters",
    type=Swept("rate_limiter", swept_values.rate_limiter),
    multiple=True,
    metavar="NAME:COUNT[/AVAILABLE],...[@PRIORITY]",
    help="Resources that an instance holds while it runs, such as R1:1/2; each is tried. "
    "Turns on Triton's --rate-limit.",
)
@click.option(
    "--warm-ups",
    type=NOT_NEGATIVE,
    help="Requests of one inference, and as many of the largest batch, that each instance answers "
    "before the model is ready; 0 takes the model's own warm-up away.",
)
@click.option(
    "--host-policy",
    "host_policies",
    type=Swept("host_policy", swept_values.host_policy),
    multiple=True,
    metavar="NAME[:SETTING=VALUE,...]",
    help="Where on the host instances run, such as near:cpu-cores=0-3,numa-node=0; each is tried.",
)
@click.option(
    "--with-models",
    type=WithModels(),
    multiple=True,
    metavar="MODEL=OTHER,...",
    help="The models that a model's business logic calls: loaded and measured with it. An "
    "ensemble's are known; repeatable.",
)
@click.option(
    "--sequence-length",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Of stateful models: requests in a sequence, give or take a fifth.",
)
@triton_options.shapes()
@triton_options.input_data(
    "What requests carry; a file in perf_analyzer's JSON format, or a directory of tensors."
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path("profiles.db"),
    show_default=True,
    help="Where results are kept, each as soon as it is measured.",
)
@triton_options.launch_mode(
    ["local", "docker", "remote"], "How Triton is started; remote: it runs already."
)
@triton_options.triton_image()
@click.option(
    "--url",
    default="localhost:8000",
    show_default=True,
    metavar="HOST:PORT",
    help="Remote mode: Triton's HTTP address.",
)
@click.option(
    "--grpc-url",
    metavar="HOST:PORT",
    help="Remote mode: Triton's gRPC address  [default: port 8001 beside --url]",
)
@click.option(
    "--gpus",
    default="auto",
    show_default=True,
    metavar="auto|first|none|0|UUID",
    help="The GPU to measure on, or with --parallel several; none: the CPU. first: the "
    "first GPU or MIG slice; auto: that if there is one, or with --parallel all.",
)
@click.option(
    "--parallel",
    is_flag=True,
    help="Measure on all the GPUs, or all that --gpus names, at once: a model on each.",
)
@click.option(
    "--cpus",
    type=CommaList(cpu_number, "numbers"),
    help="The CPUs that Triton may use; a CPU host of so many cores is measured  [default: all]",
)
@click.option(
    "--load-generator",
    type=click.Choice(["http", "grpc", "perf_analyzer"]),
    default="http",
    show_default=True,
    help="What sends the requests; perf_analyzer must be installed.",
)
@click.option(
    "--shared-memory",
    is_flag=True,
    help="Put inputs into system shared memory instead of sending them; for large tensors. "
    "Triton must run on this machine, and not in a container of its own.",
)
@click.option(
    "--confidence-interval",
    type=Share(),
    default="5%",
    show_default=True,
    help="How narrow throughput and latency must be known (relative half-width, 95 %).",
)
@click.option(
    "--latency-percentile",
    type=click.Choice(["50", "90", "95", "99"]),
    default="50",
    show_default=True,
    help="The latency percentile that must settle; the tail takes many times as long.",
)
@click.option(
    "--max-duration",
    type=Duration(),
    default="10s",
    show_default=True,
    help="Of one point; what was reached by then is kept and said.",
)
@click.option(
    "--answer-timeout",
    type=Duration(),
    default="60s",
    show_default=True,
    help="A model that answers no request for so long hangs: a failed point, and a new server.",
)
@click.option(
    "--load-timeout",
    type=Duration(),
    default="2m",
    show_default=True,
    help="A model that takes longer to load has failed.",
)
@click.option(
    "--search",
    type=click.Choice(["grid", "auto"]),
    default="grid",
    show_default=True,
    help="Every point, or only those on the way to the goal.",
)
@click.option(
    "--goal",
    type=click.Choice(["throughput", "efficiency", "pareto"]),
    default="throughput",
    show_default=True,
    help="Of --search auto: most throughput; most per memory and utilization; or all of these.",
)
@click.option(
    "--latency-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Of --search auto: points above it, at --latency-percentile, do not count.",
)
@click.option("--remeasure", is_flag=True, help="Measure points again that the store has.")
@click.option("--retry-failed", is_flag=True, help="Measure points again that failed.")
@click.option(
    "--shard",
    type=ShardOf(),
    metavar="I/N",
    help="Measure the I-th of N parts of the models, from 0; each part in a store of its own.",
)
@click.option(
    "--pairs",
    is_flag=False,
    flag_value="0",
    type=click.IntRange(min=0),
    metavar="[N]",
    help="Measure models side by side instead, those pairs that tell most: N, or as many as it "
    "takes. The models were profiled alone before.",
)
@click.option(
    "--done",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file that is made when all is measured: what `merge --wait-for` waits for. Tries that "
    "failed are told in FILE.tries.",
)
@click.pass_context
def profile(ctx: click.Context, /, output_format: str, done: Path | None, **options: Any) -> None:
    """Measure models on Triton and keep the results in a store.

    Every model is measured alone, in every variant, at every batch size and concurrency. Each
    point is kept as soon as it ends; a point that the store has is not measured again, so a sweep
    that was interrupted is resumed by the same command.

    An ensemble is measured with its models, a stateful model by sequences of requests, one that
    answers as often as it likes (decoupled) over a gRPC stream. What differs from model to model
    stands in the configuration file, of which docs/profiling.md has every field:

    \b
    models:
      pipeline:
        concurrency: [1, 8, 16]
        shapes: {IMAGE: [3, 224, 224]}
        members: {detector: {instance_counts: [1, 2]}}

    \b
    model-placer profile -m model_repository
    model-placer profile -m model_repository --models bert --instance-counts 1,2 \\
        --parameter intra_op_thread_count=1,2
    model-placer profile -m model_repository --shard 0/4 --store shard-0.db
    model-placer profile -m model_repository --pairs
    """  # noqa: D301
    from analyzer.measure import completion, parallel, profiling
    from analyzer.report.tables import measurements_table, summary_line
    from profiles.store import to_document

    def tell(progress: Progress) -> None:
        left = f" ({_clock(progress.left_s)} left)" if progress.left_s else ""
        place = f"{progress.done}/{progress.total}" if progress.total else f"{progress.done}"
        where = f"{progress.where}: " if progress.where else ""
        log.info(f"[{place}] {where}{summary_line(progress.measurement)}{left}")

    pairs: int | None = options.pop("pairs")
    in_parallel: bool = options.pop("parallel")
    chosen = _options(options, ctx.meta)
    if pairs is not None:
        if in_parallel:
            raise InputError("--pairs measures on one GPU: leave out --parallel.")
        _pairs(chosen, pairs or None, output_format)
        return
    run = parallel.run if in_parallel else profiling.run
    with nullcontext() if done is None else completion.told(done):
        outcome = run(chosen, tell, log.info)
    emit(
        [to_document(measurement) for measurement in outcome.measurements],
        output_format,
        lambda: measurements_table(outcome.measurements),
    )


def _pairs(chosen: Options, most: int | None, output_format: str) -> None:
    from analyzer.deploy import pairs
    from analyzer.report.colocation import rows_table
    from profiles.store import to_document

    rows = pairs.run(chosen, most, log.info)
    emit(
        [to_document(row) for row in rows],
        output_format,
        lambda: rows_table(rows) if rows else "Nothing to measure: the store knows enough.",
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _options(given: dict[str, Any], meta: Mapping[str, Any]) -> Options:
    """The options from what click parsed, and from the configuration file's models."""
    from analyzer.cli import models_section
    from analyzer.load.steady_state import SteadyStateRule
    from analyzer.measure import profiling
    from analyzer.measure.sweep import Sweep
    from analyzer.measure.watchdog import Patience
    from analyzer.triton.docker import ContainerOptions
    from analyzer.triton.launch import LaunchOptions

    names = {field.name for field in dataclasses.fields(Sweep)}
    image = {"image": given["triton_image"]} if given["triton_image"] else {}
    search = profiling.Search(
        given["goal"], given["latency_limit"], int(given["latency_percentile"])
    )
    chosen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if name in names and value is not None
    }
    sweep = Sweep(**chosen)
    section = meta.get("model_placer.models", {})
    entries = models_section.read(section, meta.get("model_placer.config_file", Path()))
    with_models = dict(given["with_models"])
    for name, entry in entries.items():
        with_models[name] = (*with_models.get(name, ()), *entry.with_models)
    return profiling.Options(
        model_repository=given["model_repository"],
        store=given["store"],
        models=given["models"],
        sweep=sweep,
        sweep_by_model={name: entry.changed(sweep) for name, entry in entries.items()},
        with_models=with_models,
        inputs=profiling.Inputs(
            given["shapes"],
            given["input_data"],
            {name: entry.shapes for name, entry in entries.items()},
            {n: entry.input_data for n, entry in entries.items() if entry.input_data is not None},
        ),
        launch=LaunchOptions(
            mode=given["launch_mode"],
            cpus=tuple(given["cpus"] or ()),
            container=ContainerOptions(**image),
            http_url=given["url"],
            grpc_url=given["grpc_url"] or "",
        ),
        gpus=given["gpus"],
        rule=SteadyStateRule(
            relative_half_width=given["confidence_interval"],
            latency_percentile=int(given["latency_percentile"]),
            max_duration_s=given["max_duration"],
        ),
        patience=Patience(model_s=given["answer_timeout"], load_s=given["load_timeout"]),
        search=None if given["search"] == "grid" else search,
        load_generator=given["load_generator"],
        shared_memory=given["shared_memory"],
        remeasure=given["remeasure"],
        retry_failed=given["retry_failed"],
        shard=given["shard"],
    )
