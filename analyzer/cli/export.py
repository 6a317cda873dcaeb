"""`model-placer export`: the files that put a layout into effect."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, log, nearest, refuse_idle
from analyzer.cli.values import Value, values_of

if TYPE_CHECKING:
    from profiles.measurement import Measurement


@command("export")
@options.layout
@options.model_repository()
@click.option(
    "-o",
    "--output",
    type=options.PATH,
    default=Path("deploy"),
    help="Where the folder of each format is made.",
)
@click.option(
    "--format",
    type=Value(values_of(str), "formats,..."),
    default="triton",
    help="What to write.",
)
@click.option("--copy", is_flag=True, help="Copy the models' files; they are linked otherwise.")
@click.option("--force", is_flag=True, help="Replace folders that no export has made.")
@click.option("--per-host", is_flag=True, help="One Triton for all GPUs of a host.")
@options.triton_image("What compose and kubernetes run  [default: NVIDIA's]")
@click.option(
    "--from",
    "current",
    type=options.PATH,
    metavar="OLD",
    help="The layout that runs now: nginx knows both, for the time of an `apply`.",
)
@options.with_models(
    "The models that a model's business logic calls, where the layout does not say; repeatable."
)
@click.option(
    "--check",
    is_flag=True,
    help="Start Triton on each exported repository and send each model a request.",
)
@options.shapes("--check: dims of an input that the model leaves open; repeatable.")
@options.dynamic_shape
@options.device_urls(
    "Where nginx finds a device's Triton (HTTP; gRPC on the next port; metrics, for prometheus, on "
    "the one after). Repeatable."
)
@click.option(
    "--store",
    type=options.PATH,
    help="prometheus: a profile store whose points are told beside the layout.",
)
@click.pass_context
def export(
    ctx: click.Context,
    /,
    layout: Path,
    model_repository: Path,
    output: Path,
    format: list[str],  # noqa: A002 - the configuration file's key
    copy: bool,
    force: bool,
    per_host: bool,
    triton_image: str | None,
    current: Path | None,
    urls: tuple[tuple[str, str], ...],
    store: Path | None,
    with_models: tuple[tuple[str, tuple[str, ...]], ...],
    check: bool,
    shapes: tuple[tuple[str | None, str, tuple[int, ...]], ...],
    dynamic_shape: int | None,
    output_format: str,
) -> None:
    """Write the Triton repositories and manifests of LAYOUT.

    \b
    model-placer export layout.yaml -m model_repository -o deploy/
    model-placer export layout.yaml -m model_repository --format triton,compose,nginx --copy
    model-placer export layout.yaml -m model_repository --format prometheus
    """  # noqa: D301
    from placement import export as exporting
    from placement.layout import layout as layouts
    from profiles.store import ProfileStore

    measurements: list[Measurement] = []
    if store is not None and "prometheus" in format:
        with ProfileStore(store, read_only=True) as opened:
            measurements = opened.measurements()
    if not check:
        refuse_idle(ctx, ["shapes", "dynamic_shape"], "--check")
    formats = tuple(dict.fromkeys(format))
    for name in formats:
        if name not in exporting.FORMATS:
            raise click.BadParameter(
                f"Unknown format {name!r}.{nearest(name, exporting.FORMATS)} "
                f"Known formats: {', '.join(exporting.FORMATS)}.",
                param_hint="--format",
            )
    folders = exporting.export(
        layouts.load(layout),
        model_repository,
        output,
        formats,
        copy=copy,
        force=force,
        per_host=per_host,
        current=layouts.load(current) if current else None,
        urls=dict(urls),
        measurements=measurements,
        triton_image=triton_image or exporting.compose.TRITON_IMAGE,
        with_models=_calls(ctx, with_models),
        warn=log.warning,
    )
    document: dict[str, Any] = {"folders": {folder.name: str(folder) for folder in folders}}
    lines = [f"Wrote {folder}" for folder in folders]
    if check:
        from analyzer.deploy.smoke_test import check_repositories
        from analyzer.load.inputs import Inputs

        if "triton" not in document["folders"]:
            raise click.BadParameter("it needs --format triton.", param_hint="--check")
        inputs = Inputs(shapes, open_dim=dynamic_shape, repository=model_repository)
        answered = check_repositories(output / "triton", log.info, inputs)
        document["first_response_ms"] = answered
        lines.append(f"Every model of {len(answered)} repositories loaded and answered.")
    emit(document, output_format, lambda: "\n".join(lines))


def _calls(
    ctx: click.Context, given: tuple[tuple[str, tuple[str, ...]], ...]
) -> dict[str, tuple[str, ...]]:
    """By model, what its business logic calls, of the option and the file's `models:` section."""
    from analyzer.cli import models_section

    section = ctx.meta.get("model_placer.models", {})
    entries = models_section.read(section, ctx.meta.get("model_placer.config_file", Path()))
    return {**{n: e.with_models for n, e in entries.items() if e.with_models}, **dict(given)}
