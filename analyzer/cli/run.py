"""`model-placer run`: profile, place, export and report in one go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from analyzer.cli.command import collected, command, emit, log
from profiles.errors import InputError, LeftOutError

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
    is written. As JSON or YAML the result is one document, with the result of each step.

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
    layout = _layout(ctx.meta["model_placer.config"], config_file)
    named = {"place": ["-o", layout], "export": [layout], "report": ["--layout", layout]}
    left_out: LeftOutError | None = None
    results: dict[str, Any] = {}

    def do(step: str) -> None:
        nonlocal left_out
        log.info(f"── {step} " + "─" * (60 - len(step)))
        made = cli.get_command(ctx, step)
        assert made is not None
        name = f"model-placer {step}"
        arguments = ["-f", str(config_file), "--output-format", output_format]
        arguments += named.get(step, [])
        with collected() as documents:
            try:
                made.main(arguments, prog_name=name, standalone_mode=False)
            except LeftOutError as error:  # the others are placed and exported all the same
                left_out = error
        results[step] = documents[-1] if documents else None

    for step in STEPS:
        do(step)
    if "report" in ctx.meta["model_placer.config"]:
        do("report")
    if check:
        log.info("── check " + "─" * 55)
        results["check"] = check_repositories(
            Path(results["export"]["folders"]["triton"]), log.info
        )
        if output_format == "table":
            number = len(results["check"])
            click.echo(f"Every model of {number} repositories loaded and answered.")
    if output_format != "table":
        emit(results, output_format, str)
    if left_out is not None:
        raise left_out


def _layout(config: Mapping[str, Any], config_file: object) -> str:
    """The file that `place` writes and `export` reads: never one that was there before."""
    top, own = config.get("layout"), (config.get("place") or {}).get("output")
    if top is None and own is None:
        raise InputError(
            f"{config_file}: `layout` is missing: the file that `place` writes and `export` reads, "
            "such as layout.yaml."
        )
    if top is not None and own is not None and Path(top) != Path(own):
        raise InputError(
            f"{config_file}: `place` writes {own}, but `layout`, which `export` reads, is {top}: "
            "name the same file."
        )
    return str(own if top is None else top)
