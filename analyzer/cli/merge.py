"""`model-placer merge`: merge stores into one."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, log
from profiles.counted import counted


@command("merge")
@click.argument("sources", nargs=-1, required=True, type=options.PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    type=options.PATH,
    help="The store that takes the rows; made if it is not there.",
)
@click.option(
    "--wait-for",
    "marks",
    type=options.PATH,
    multiple=True,
    metavar="FILE",
    help="First wait for this file, which `profile --done` makes. Repeatable.",
)
@click.option(
    "--wait-limit", type=options.DURATION, default="24h", help="How long to wait for all of them."
)
@click.option(
    "--tries",
    type=click.IntRange(min=1),
    help="Wait no longer for a part that failed so often  [default: wait all the same]",
)
@click.option(
    "--without-failed",
    is_flag=True,
    help="Go on without parts that failed in all --tries or are not done in time, and say which. "
    "Each store needs its --wait-for, in the same order.",
)
def merge(
    sources: tuple[Path, ...],
    output: Path,
    marks: tuple[Path, ...],
    wait_limit: float,
    tries: int | None,
    without_failed: bool,
    output_format: str,
) -> None:
    """Merge stores into one; rows that are there already stay as they are.

    \b
    model-placer merge shard-*.db -o profiles.db
    model-placer merge 0.db 1.db -o profiles.db --wait-for 0.done --wait-for 1.done
    model-placer merge 0.db 1.db -o profiles.db --wait-for 0.done --wait-for 1.done \\
        --tries 3 --without-failed
    """  # noqa: D301
    from analyzer.measure import completion
    from profiles.errors import InputError, SurroundingsError
    from profiles.store import ProfileStore

    if without_failed and len(marks) != len(sources):
        raise InputError(
            f"--without-failed needs a --wait-for for each store: {len(marks)} for {len(sources)}."
        )
    missing = completion.wait(marks, wait_limit, log.info, tries, without_failed=without_failed)
    taken = list(sources)
    for part in missing:
        source = sources[marks.index(part.path)]
        # What a part that failed has measured is good; one under way may be writing.
        left_out = not part.ended or not source.exists()
        if left_out:
            taken.remove(source)
        what = "left out" if left_out else "taken as it is"
        log.warning(f"{source} is {what}: {part.path} {part.reason}.")
    if not taken:
        raise SurroundingsError("No part has measured anything. See their logs.")
    for source in taken:  # all are checked before the first row is taken
        with ProfileStore(source, read_only=True):
            pass
    with ProfileStore(output) as store:
        added = {str(source): store.merge(source) for source in taken}
    emit(
        {"output": str(output), "added": added},
        output_format,
        lambda: "\n".join(
            f"{source}: {counted(rows, 'row')} added" for source, rows in added.items()
        ),
    )
