"""`model-placer merge`: merge stores into one."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli.options import command, emit


@command("merge")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The store that takes the rows; made if it is not there.",
)
def merge(sources: tuple[Path, ...], output: Path, output_format: str) -> None:
    """Merge stores into one; rows that are there already stay as they are.

    \b
    model-placer merge shard-*.db -o profiles.db
    """  # noqa: D301
    from profiles.store import ProfileStore

    for source in sources:  # all are checked before the first row is taken
        with ProfileStore(source, must_exist=True):
            pass
    with ProfileStore(output) as store:
        added = {str(source): store.merge(source) for source in sources}
    emit(
        {"output": str(output), "added": added},
        output_format,
        lambda: "\n".join(f"{source}: {rows} rows added" for source, rows in added.items()),
    )
