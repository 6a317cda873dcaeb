"""`model-placer profile`: measure models on Triton."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import option

from analyzer.cli import values
from analyzer.cli.command import command, emit, log, refuse_idle, status_line
from analyzer.cli.options import (
    DURATION,
    INTEGERS,
    NOT_NEGATIVE,
    NUMBERS,
    PATH,
    PERCENT,
    dynamic_shape,
    input_data,
    launch_mode,
    model_repository,
    models,
    random_ranges,
    shapes,
    store,
    triton_image,
    with_models,
)
from analyzer.cli.values import Value
from profiles.errors import InputError, LeftOutError

if TYPE_CHECKING:
    from analyzer.measure.loop import Progress
    from analyzer.measure.options import Options
    from analyzer.measure.profile import Outcome


@command("profile")
@model_repository("Triton model repository.")
@models("Models to measure  [default: all]")
@option("--batch-sizes", type=INTEGERS, default="1,2,4", help="Inferences in one request.")
@option("--concurrency", type=INTEGERS, default="1,2,4", help="Requests in flight.")
@option("--request-rates", type=NUMBERS, help="Requests per second, in place of concurrency.")
@option(
    "--arrivals",
    type=click.Choice(["constant", "poisson"]),
    default="constant",
    help="How requests are spaced at a request rate.",
)
@option("--instance-counts", type=INTEGERS, help="Instances of the model on the device.")
@option("--max-batch-sizes", type=INTEGERS, help="The server's max_batch_size.")
@option(
    "--max-queue-delays-us",
    type=NOT_NEGATIVE,
    help="Turns dynamic batching on, with these queue delays.",
)
@option("--preferred-batch-sizes", type=INTEGERS, help="Of the dynamic batcher.")
@option(
    *("--parameter", "parameters"),
    type=Value(values.parameter, "parameter"),
    multiple=True,
    metavar="KEY=V1,V2",
    help="A backend parameter and the values to try; repeatable.",
)
@option(
    *("--instance-kind", "kind"),
    type=click.Choice(values.KINDS),
    help="Where instances run  [default: as the model says]",
)
@option(
    *("--rate-limiter", "rate_limiters"),
    type=Value(values.rate_limiter, "rate_limiter"),
    multiple=True,
    metavar="NAME:COUNT[/AVAILABLE],...[@PRIORITY]",
    help="Resources that an instance holds while it runs, such as R1:1/2; each is tried. "
    "Turns on Triton's --rate-limit.",
)
@option(
    "--warm-ups",
    type=NOT_NEGATIVE,
    help="Requests of one inference, and as many of the largest batch, that each instance answers "
    "before the model is ready; 0 takes the model's own warm-up away.",
)
@option(
    *("--host-policy", "host_policies"),
    type=Value(values.host_policy, "host_policy"),
    multiple=True,
    metavar="NAME[:SETTING=VALUE,...]",
    help="Where on the host instances run, such as near:cpu-cores=0-3,numa-node=0; each is tried.",
)
@option(
    "--variants",
    type=PATH,
    metavar="DIR",
    help="Model Analyzer's output repository: its variants are measured, in place of settings that "
    "the options name.",
)
@with_models(
    "The models that a model's business logic calls: loaded and measured with it. An "
    "ensemble's are known; repeatable."
)
@option(
    "--sequence-length",
    type=click.IntRange(min=1),
    default=20,
    help="Of stateful models: requests in a sequence, give or take a fifth.",
)
@shapes()
@dynamic_shape
@random_ranges
@input_data(
    "What requests carry; a file in perf_analyzer's JSON format, or a directory of tensors."
)
@store("Where results are kept, each as soon as it is measured.")
@launch_mode(["local", "docker", "remote"], "How Triton is started; remote: it runs already.")
@triton_image()
@option(
    "--url",
    default="localhost:8000",
    metavar="HOST:PORT",
    help="Remote mode: Triton's HTTP address.",
)
@option(
    "--grpc-url",
    metavar="HOST:PORT",
    help="Remote mode: Triton's gRPC address  [default: port 8001 beside --url]",
)
@option(
    "--gpus",
    default="auto",
    metavar="auto|first|none|0|UUID",
    help="The GPU to measure on, or with --parallel several; none: the CPU. first: the "
    "first GPU or MIG slice; auto: that if there is one, or with --parallel all.",
)
@option(
    "--parallel",
    is_flag=True,
    help="Measure on all the GPUs, or all that --gpus names, at once: a model on each.",
)
@option(
    "--cpus",
    type=Value(values.values_of(values.whole), "numbers,..."),
    help="The CPUs that Triton may use; a CPU host of so many cores is measured  [default: all]",
)
@option(
    "--load-generator",
    type=click.Choice(["http", "grpc", "perf_analyzer"]),
    default="http",
    help="What sends the requests; perf_analyzer must be installed.",
)
@option(
    "--shared-memory",
    is_flag=True,
    help="Put inputs into system shared memory instead of sending them; for large tensors. "
    "Triton must run on this machine, and not in a container of its own.",
)
@option(
    "--confidence-interval",
    type=PERCENT,
    default="5%",
    help="How narrow throughput and latency must be known (relative half-width, 95 %).",
)
@option(
    "--latency-percentile",
    type=click.Choice(["50", "90", "95", "99"]),
    default="50",
    help="The latency percentile that must settle. One above 50 gets the requests that it takes to "
    "hold a limit against it, for six times --max-duration at most.",
)
@option(
    "--max-duration",
    type=DURATION,
    default="10s",
    help="Of one point; what was reached by then is kept and said.",
)
@option(
    "--answer-timeout",
    type=DURATION,
    default="60s",
    help="A model that answers no request for so long hangs: a failed point, and a new server.",
)
@option(
    "--load-timeout",
    type=DURATION,
    default="2m",
    help="A model that takes longer to load has failed.",
)
@option(
    "--search",
    type=click.Choice(["grid", "auto"]),
    default="grid",
    help="Every point, or only those on the way to the goal.",
)
@option(
    "--goal",
    type=click.Choice(["throughput", "efficiency", "pareto"]),
    default="throughput",
    help="Of --search auto: most throughput; most per memory and utilization; or all of these.",
)
@option(
    "--latency-limit",
    type=Value(values.milliseconds, "number"),
    metavar="MS",
    help="Of --search auto: points above it, at --latency-percentile, do not count.",
)
@option(
    "--first-response-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="The same for the time to a decoupled model's first response.",
)
@option(
    "--between-responses-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="The same for the time between a decoupled model's responses.",
)
@option(
    "--load-times",
    is_flag=True,
    help="Load each variant twice, with its files on the disk and in the page cache, and time that "
    "and its unload.",
)
@option(
    "--part-load",
    type=Value(values.part_load, "auto|none|percents", may_be_empty=True),
    default="none",
    metavar="auto|none|20,50,80,95",
    help="Measure each model also at these percents of its throughput, by requests that arrive at "
    "random: `place` then knows what it needs and how late it answers at the rate that it carries. "
    "auto: the least that tells the curve, half as many points as the grid has at most.",
)
@option(
    "--for-plan",
    type=PATH,
    metavar="LAYOUT",
    help="Of the points that the store lacks, measure only those that can still change this "
    "layout, and stop when by the solver's bound none can.",
)
@option(
    "--dry-run",
    is_flag=True,
    help="Say which points there are, what the store has of them, and how long the others take.",
)
@option("--remeasure", is_flag=True, help="Measure points again that the store has.")
@option("--retry-failed", is_flag=True, help="Measure points again that failed.")
@option(
    "--strict",
    is_flag=True,
    help="Measure nothing where a model cannot be measured; else it is left out, and the exit code "
    "is 2 at the end.",
)
@option(
    "--shard",
    type=Value(values.shard, "shard"),
    metavar="I/N",
    help="Measure the I-th of N parts of the models, from 0; each part in a store of its own.",
)
@option(
    "--pairs",
    is_flag=False,
    flag_value="0",
    type=click.IntRange(min=0),
    metavar="[N]",
    help="Measure models side by side instead, those pairs that tell most: N, or as many as it "
    "takes. The models were profiled alone before.",
)
@option(
    "--done",
    type=PATH,
    metavar="FILE",
    help="A file that is made when all is measured: what `merge --wait-for` waits for. Tries that "
    "failed are told in FILE.tries.",
)
@click.pass_context
def profile(
    ctx: click.Context,
    /,
    output_format: str,
    done: Path | None,
    dry_run: bool,
    **options: Any,
) -> None:
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
    model-placer profile -m model_repository --dry-run
    model-placer profile -m model_repository --instance-counts 1,2,4 --for-plan layout.yaml
    """  # noqa: D301
    from analyzer.measure import completion, parallel
    from analyzer.measure import profile as profiling
    from analyzer.report.failures import kind_of_reason, nothing_measured
    from analyzer.report.tables import measurements_table, summary_line
    from profiles.store import to_document

    told: set[str] = set()  # reasons
    started_s = time.monotonic()

    def tell(progress: Progress) -> None:
        left = f" ({_clock(progress.left_s)} left)" if progress.left_s else ""
        place = f"{progress.done}/{progress.total}" if progress.total else f"{progress.done}"
        where = f"{progress.where}: " if progress.where else ""
        line = summary_line(progress.measurement)
        if progress.measurement.status != "ok":
            kind = kind_of_reason(progress.measurement)
            if kind in told:
                line = summary_line(
                    dataclasses.replace(progress.measurement, reason="for the same reason")
                )
            told.add(kind)
        log.info(f"[{place}] {where}{line}{left}")
        status_line.show(_status(progress, time.monotonic() - started_s))

    _refuse_idle(ctx, options)
    for_plan: Path | None = options.pop("for_plan")
    pairs: int | None = options.pop("pairs")
    in_parallel: bool = options.pop("parallel")
    chosen = _options(options, ctx.meta)
    if dry_run:
        _dry_run(chosen, output_format)
        return
    if pairs is not None:
        if in_parallel:
            raise InputError("--pairs measures on one GPU: it cannot be used with --parallel.")
        _pairs(chosen, pairs or None, output_format)
        return
    run = parallel.run if in_parallel else profiling.run
    if for_plan is not None:
        run = _for_plan(for_plan, chosen, in_parallel=in_parallel)
    with nullcontext() if done is None else completion.told(done):
        outcome = run(chosen, tell, log.info)
    # Of other shards' points nobody knows here: `place` tells where theirs failed as well.
    status_line.show("")
    failure = None if chosen.shard is not None else nothing_measured(outcome.measurements)
    if failure is None or output_format != "table":
        emit(
            [to_document(measurement) for measurement in outcome.measurements],
            output_format,
            lambda: measurements_table(outcome.measurements),
        )
    if failure is not None:
        raise failure
    # Of a shard they are said: to try it again would change nothing.
    if outcome.left_out and chosen.shard is None:
        every = len(outcome.left_out) + len({m.model for m in outcome.measurements})
        reasons = "\n  ".join(outcome.left_out.values())
        raise LeftOutError(
            f"{len(outcome.left_out)} of {every} models were left out; all others are measured."
            f"\n  {reasons}"
        )


def _refuse_idle(ctx: click.Context, options: dict[str, Any]) -> None:
    if not options["request_rates"]:
        refuse_idle(ctx, ["arrivals"], "--request-rates")
    if options["search"] != "auto":
        limits = ["latency_limit", "first_response_limit", "between_responses_limit"]
        refuse_idle(ctx, ["goal", *limits], "--search auto")
    if options["launch_mode"] != "remote":
        refuse_idle(ctx, ["url", "grpc_url"], "--launch-mode remote")
    if options["launch_mode"] != "docker":
        refuse_idle(ctx, ["triton_image"], "--launch-mode docker")


def _pairs(chosen: Options, most: int | None, output_format: str) -> None:
    from analyzer.deploy import pairs
    from analyzer.report.colocation import rows_table
    from profiles.store import to_document

    rows = pairs.run(chosen, most, log.info)
    emit(
        [to_document(row) for row in rows],
        output_format,
        lambda: (
            rows_table(rows)
            if rows
            else "Nothing to measure: the store has enough co-location measurements."
        ),
    )


def _for_plan(path: Path, chosen: Options, *, in_parallel: bool) -> Callable[..., Outcome]:
    """How points are measured for a layout."""
    from analyzer.advise import for_plan
    from placement.layout import load

    if in_parallel or chosen.search is not None or chosen.shard is not None or chosen.remeasure:
        raise InputError(
            "--for-plan chooses the points itself, on one GPU: leave out --parallel, "
            "--search auto, --shard and --remeasure."
        )
    layout = load(path)
    return lambda options, tell, say: for_plan.run(options, layout, tell, say)


def _dry_run(chosen: Options, output_format: str) -> None:
    from analyzer.measure import dry_run
    from analyzer.report.text_table import text_table

    prospects = dry_run.look(chosen, log.info)
    whole = dry_run.together(prospects)

    def table() -> str:
        rows = [
            [
                row.model,
                str(row.variants),
                str(row.points),
                str(row.in_store),
                str(row.points - row.in_store),
                _clock(row.expected_s),
            ]
            for row in [*prospects, whole]
        ]
        header = ["model", "variants", "points", "in the store", "to measure", "time"]
        search = "" if chosen.search is None else "\n\nA search measures a part of these points."
        return text_table(header, rows, left=1) + search

    emit([dataclasses.asdict(row) for row in prospects], output_format, table)


def _status(progress: Progress, spent_s: float) -> str:
    """Progress in a line: how far, how fast, how long still."""
    if progress.done == progress.total:
        return ""
    whole = f" of {progress.total}" if progress.total else ""
    left = f", {_clock(progress.left_s)} left" if progress.left_s else ""
    rate = 60 * progress.done / spent_s if spent_s else 0.0
    return f"{progress.done}{whole} points, {rate:.1f} a minute{left}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _options(given: dict[str, Any], meta: Mapping[str, Any]) -> Options:
    """Options from parsed arguments and the configuration file's `models:` section."""
    from analyzer.cli import models_section
    from analyzer.load.inputs import Inputs
    from analyzer.load.steady_state import SteadyStateRule
    from analyzer.measure.grid import Sweep
    from analyzer.measure.options import Options
    from analyzer.measure.search import Search
    from analyzer.measure.watchdog import Patience
    from analyzer.triton.options import LaunchOptions
    from profiles.model_analyzer import variants_by_model

    names = {field.name for field in dataclasses.fields(Sweep)}
    image = {"image": given["triton_image"]} if given["triton_image"] else {}
    search = Search(
        given["goal"],
        given["latency_limit"],
        int(given["latency_percentile"]),
        given["first_response_limit"],
        given["between_responses_limit"],
    )
    chosen: dict[str, Any] = {
        name: value for name, value in given.items() if name in names and value is not None
    }
    sweep = Sweep(**chosen)
    section = meta.get("model_placer.models", {})
    entries = models_section.read(section, meta.get("model_placer.config_file", Path()))
    calls = dict(given["with_models"])
    for name, entry in entries.items():
        calls[name] = (*calls.get(name, ()), *entry.with_models)
    return Options(
        model_repository=given["model_repository"],
        store=given["store"],
        models=given["models"],
        sweep=sweep,
        variants=variants_by_model(given["variants"]) if given["variants"] else {},
        sweep_by_model={name: entry.changed(sweep) for name, entry in entries.items()},
        with_models=calls,
        inputs=Inputs(
            given["shapes"],
            given["input_data"],
            {name: entry.shapes for name, entry in entries.items()},
            {n: entry.input_data for n, entry in entries.items() if entry.input_data is not None},
            open_dim=given["dynamic_shape"],
            repository=given["model_repository"],
            ranges=given["random_ranges"],
            ranges_by_model={name: entry.ranges for name, entry in entries.items()},
        ),
        launch=LaunchOptions(
            mode=given["launch_mode"],
            cpus=tuple(given["cpus"] or ()),
            **image,
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
        part_load=given["part_load"] or (),
        load_generator=given["load_generator"],
        shared_memory=given["shared_memory"],
        load_times=given["load_times"],
        remeasure=given["remeasure"],
        retry_failed=given["retry_failed"],
        strict=given["strict"],
        shard=given["shard"],
    )
