"""`model-placer show`: print what a store knows."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli.options import CommaList, command, emit


@command("show")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path("profiles.db"),
    show_default=True,
    help="The profile store.",
)
@click.option("--models", type=CommaList(what="names"), help="Models to show  [default: all]")
@click.option("--history", is_flag=True, help="Every measurement, superseded ones too.")
def show(store: Path, models: list[str] | None, history: bool, output_format: str) -> None:
    """Print what a store knows.

    \b
    model-placer show --store profiles.db
    model-placer show --models bert --output-format json
    """  # noqa: D301
    from analyzer.report.tables import baselines_table, measurements_table
    from profiles.repository import select
    from profiles.store import ProfileStore, to_document

    with ProfileStore(store, must_exist=True) as opened:
        measurements = opened.history() if history else opened.measurements()
        baselines = opened.baselines()
    if models:
        chosen = select(sorted({m.model for m in measurements}), models)
        measurements = [m for m in measurements if m.model in chosen]
    emit(
        {
            "baselines": [to_document(b) for b in baselines],
            "measurements": [to_document(m) for m in measurements],
        },
        output_format,
        lambda: (
            measurements_table(measurements)
            + (f"\n\n{baselines_table(baselines)}" if baselines else "")
        ),
    )
