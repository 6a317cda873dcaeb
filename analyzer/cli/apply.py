"""`model-placer apply`: bring running Tritons from one layout to another."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, log
from analyzer.cli.diff import document, steps_table


@command("apply")
@click.argument("new", type=options.PATH)
@click.option(
    "--from",
    "old",
    type=options.PATH,
    required=True,
    metavar="OLD",
    help="The layout that runs now.",
)
@options.model_repository()
@options.device_urls("Where a device's Triton is; one for each device of both layouts.")
@click.option(
    "--store",
    type=options.PATH,
    help="Profiles that tell how long each step takes (`profile --load-times`).",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def apply(
    new: Path,
    old: Path,
    model_repository: Path,
    urls: tuple[tuple[str, str], ...],
    store: Path | None,
    dry_run: bool,
    output_format: str,
) -> None:
    """Bring running Tritons from layout OLD to NEW through their model control.

    The servers run with --model-control-mode=explicit, as `export` has them started. Steps are
    those that are left from what they hold now, so a command that stopped half-way is repeated. A
    model that a server's repository does not have is sent with its files.

    \b
    model-placer apply better.yaml --from layout.yaml -m model_repository \\
        --url t4-1=10.0.0.5:8000 --url t4-2=10.0.0.5:8010 --dry-run
    """  # noqa: D301
    from analyzer.deploy import apply as applying
    from analyzer.deploy.load_times import expected_s
    from placement.layout import layout as layouts
    from profiles.store import ProfileStore

    target = layouts.load(new)
    fleet = applying.survey(layouts.load(old), target, dict(urls), model_repository)
    for model, device in fleet.strangers:
        log.warning(f"{device} serves {model}, which is in neither layout: it is left unchanged.")
    changes = applying.plan(fleet, target)
    for gap in changes.gaps:
        log.warning(f"Not without a gap: {gap}")
    expected: list[float | None] = [None] * len(changes.steps)
    if store is not None:
        with ProfileStore(store, read_only=True) as profiles:
            expected = expected_s(changes.steps, fleet.devices.values(), profiles.measurements())
    if not dry_run:
        applying.apply(changes.steps, fleet, target, log.info, expected)
    said = "to do" if dry_run else "done"
    known = [seconds for seconds in expected if seconds is not None]
    about = f", about {sum(known):.3g} s for {len(known)} of them" if known else ""
    emit(
        {"dry_run": dry_run, **document(changes), "expected_s": expected},
        output_format,
        lambda: (
            f"{len(changes.steps)} steps {said}{about}.\n{steps_table(changes)}"
            if changes.steps
            else "Nothing to do: the servers hold the layout."
        ),
    )
