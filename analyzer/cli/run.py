"""`model-placer run`: profile, place, export and report in one go."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli.command import command, emit, log
from profiles.errors import LeftOutError

STEPS = ("profile", "place", "export")


@command("run")
@click.option(
    "--check/--no-check",
    default=False,
    help="Start Triton on each exported repository, send each model a request.",
)
@click.pass_context
def run(ctx: click.Context, check: bool, output_format: str) -> None:
    """Profile, place, export and report in one go, as the configuration file says.

    The file has a section for each step, with the options of that command; `store`,
    `model_repository` and `layout` stand at its top for all. Without a section for it, no report
    is written.

    \b
    store: profiles.db
    model_repository: model_repository
    layout: layout.yaml
    profile: {batch_sizes: [1, 2, 4], concurrency: [1, 2, 4]}
    place: {objective: min-hardware, max_memory: 80%}
    export: {output: deploy, format: [triton]}
    report: {output: report.html}
    """  # noqa: D301
    from analyzer.cli import cli
    from analyzer.deploy.smoke_test import check_repositories

    config_file = ctx.meta.get("model_placer.config_file")
    if config_file is None:
        ctx.fail("`run` needs a configuration file: model-placer.yaml here, or -f FILE.")
    left_out: LeftOutError | None = None

    def do(step: str) -> None:
        nonlocal left_out
        log.info(f"── {step} " + "─" * (60 - len(step)))
        made = cli.get_command(ctx, step)
        assert made is not None
        name = f"model-placer {step}"
        try:
            made.main(["-f", str(config_file)], prog_name=name, standalone_mode=False)
        except LeftOutError as error:  # the others are placed and exported all the same
            left_out = error

    for step in STEPS:
        do(step)
    if "report" in ctx.meta["model_placer.config"]:
        do("report")
    if check:
        log.info("── check " + "─" * 55)
        output = Path(ctx.meta["model_placer.config"]["export"]["output"])
        latencies_ms = check_repositories(output / "triton", log.info)
        emit(
            latencies_ms,
            output_format,
            lambda: f"Every model of {len(latencies_ms)} repositories loaded and answered.",
        )
    if left_out is not None:
        raise left_out
