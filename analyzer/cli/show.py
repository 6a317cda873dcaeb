"""`model-placer show`: print what a store knows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit


@command("show")
@options.store()
@options.models("Models to show  [default: all]")
@click.option("--history", is_flag=True, help="Every measurement, superseded ones too.")
@click.option(
    "--colocation",
    is_flag=True,
    help="What models did to each other on one device, and the slowdown that `place` makes of it.",
)
def show(
    store: Path,
    models: list[str] | None,
    history: bool,
    colocation: bool,
    output_format: str,
) -> None:
    """Print what a store knows.

    \b
    model-placer show --store profiles.db
    model-placer show --models bert --output-format json
    """  # noqa: D301
    from analyzer.report.tables import baselines_table, host_table, measurements_table
    from profiles.repository import select
    from profiles.store import ProfileStore, to_document

    if colocation:
        _colocation(store, models, output_format)
        return
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
        lambda: "\n\n".join(
            part
            for part in (
                measurements_table(measurements),
                host_table(measurements),
                baselines_table(baselines) if baselines else "",
            )
            if part
        ),
    )


def _colocation(store: Path, models: list[str] | None, output_format: str) -> None:
    from analyzer.report.colocation import table
    from placement.problem import slowdown
    from profiles.repository import select
    from profiles.store import ProfileStore, to_document

    with ProfileStore(store, must_exist=True) as opened:
        rows = opened.colocations()
    fitted = slowdown.fit(rows)
    errors = slowdown.unseen_errors(rows)
    shown = set(select(sorted({r.model for r in rows}), models)) if models else None
    listed = [row for row in rows if shown is None or row.model in shown]
    fits = [f for f in fitted.fits.values() if shown is None or f.model in shown]
    emit(
        {
            "colocations": [to_document(row) for row in listed],
            "slowdown": [dataclasses.asdict(fit) for fit in fits],
            "median_error_of_unseen_runs": slowdown.median_error(errors),
            "median_error_without_slowdown": slowdown.median_error(errors, plain=True),
            "unseen_runs": len({error.row.run for error in errors}),
        },
        output_format,
        lambda: table(listed, fits, errors),
    )
