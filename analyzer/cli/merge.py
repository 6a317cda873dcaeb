"""`model-placer merge`: merge stores into one."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli.options import Duration, command, emit, log


@command("merge")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The store that takes the rows; made if it is not there.",
)
@click.option(
    "--wait-for",
    "marks",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="First wait for this file, which `profile --done` makes. Repeatable.",
)
@click.option(
    "--wait-limit",
    type=Duration(),
    default="24h",
    show_default=True,
    help="How long to wait for all of them.",
)
def merge(
    sources: tuple[Path, ...],
    output: Path,
    marks: tuple[Path, ...],
    wait_limit: float,
    output_format: str,
) -> None:
    """Merge stores into one; rows that are there already stay as they are.

    \b
    model-placer merge shard-*.db -o profiles.db
    model-placer merge 0.db 1.db -o profiles.db --wait-for 0.done --wait-for 1.done
    """  # noqa: D301
    from analyzer import marker
    from profiles.store import ProfileStore

    marker.wait(marks, wait_limit, log.info)
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
