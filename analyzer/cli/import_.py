"""`model-placer import`: measurements from other tables into a store."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, log


@command("import")
@click.argument("file", type=options.PATH)
@options.store()
def import_(file: Path, store: Path, output_format: str) -> None:
    """Take measurements from a table or another tool into a store.

    FILE is a plain table, CSV or YAML, with the columns model, device_type, throughput, memory_mb
    and others; a row whose model is (server) is Triton alone.

    \b
    model-placer import examples/founding-case/profiles.csv --store founding.db
    """  # noqa: D301
    from profiles.importers import read_table
    from profiles.store import ProfileStore

    table = read_table(file)
    with ProfileStore(store) as target:
        target.add_all((*table.baselines, *table.measurements))
    log.info("Store: %s", store)
    models = len({m.model for m in table.measurements})
    emit(
        {
            "store": str(store),
            "measurements": len(table.measurements),
            "models": models,
            "baselines": len(table.baselines),
        },
        output_format,
        lambda: (
            f"{len(table.measurements)} measurements of {models} models and "
            f"{len(table.baselines)} baselines from {file}"
        ),
    )
