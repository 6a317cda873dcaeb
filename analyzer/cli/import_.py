"""`model-placer import`: measurements from other tables into a store."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, log
from profiles.counted import counted


@command("import")
@click.argument("files", type=options.PATH, nargs=-1, required=True)
@options.store()
@click.option("--device-type", help="The device that was measured, where a file does not say it.")
@click.option("--model", help="The model that was measured: perf_analyzer's files.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    help="Inferences in one request: perf_analyzer's files.",
)
@click.option(
    "--variants",
    type=options.PATH,
    metavar="DIR",
    help="Model Analyzer's output repository, which tells the variants of its tables.",
)
@click.option(
    "--columns",
    type=options.PATH,
    metavar="MAP",
    help="A YAML file that maps another tool's columns, with their units.",
)
@click.option("--strict", is_flag=True, help="Refuse a file of which a row makes no sense.")
def import_(
    files: tuple[Path, ...],
    store: Path,
    device_type: str | None,
    model: str | None,
    batch_size: int,
    variants: Path | None,
    columns: Path | None,
    strict: bool,
    output_format: str,
) -> None:
    """Take measurements from a table or another tool into a store.

    FILES are plain tables (CSV or YAML with the columns model, device_type, throughput, memory_mb
    and others; a row whose model is (server) is Triton alone), Model Analyzer's metrics-*.csv and
    checkpoints, or perf_analyzer's CSV and profile export. A row that makes no sense is left out,
    and said. docs/from-model-analyzer.md has more.

    \b
    model-placer import examples/founding-case/profiles.csv --store founding.db
    model-placer import results/ --variants output_model_repository --device-type "Tesla T4"
    model-placer import report.csv --model bert --batch-size 4 --device-type "Tesla T4"
    model-placer import other.csv --columns map.yaml
    """  # noqa: D301
    from profiles.import_files import Told, read_files
    from profiles.store import ProfileStore

    told = Told(device_type, model, batch_size, columns, variants, strict)
    table = read_files(files, told)
    with ProfileStore(store) as target:
        target.add_all((*table.baselines, *table.measurements))
    for note in table.notes:
        log.warning("Note: %s", note)
    log.info("Store: %s", store)
    models = len({m.model for m in table.measurements})
    names = ", ".join(map(str, files))
    emit(
        {
            "store": str(store),
            "measurements": len(table.measurements),
            "models": models,
            "baselines": len(table.baselines),
            "notes": list(table.notes),
        },
        output_format,
        lambda: (
            f"{counted(len(table.measurements), 'measurement')} of {counted(models, 'model')} and "
            f"{counted(len(table.baselines), 'baseline')} from {names}"
        ),
    )
