"""`model-placer show`: print what a store knows, withdraw rows, salvage a damaged store."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit
from analyzer.cli.values import Value, values_of
from analyzer.report.text_table import text_table
from profiles.errors import InputError

if TYPE_CHECKING:
    from profiles.store import Row

SHORT_ID = 8  # characters of an identifier that are shown; as many as tell it apart may be given
EVERY = "all"
ROWS = Value(values_of(str), "rows,...")


@command("show")
@options.store()
@options.models("Models to show  [default: all]")
@click.option(
    "--history",
    is_flag=True,
    help="Every measurement, superseded and withdrawn ones too, and every row with its identifier.",
)
@click.option(
    "--colocation",
    is_flag=True,
    help="What models did to each other on one device, and the slowdown that `place` makes of it.",
)
@click.option(
    "--withdraw",
    type=ROWS,
    help="Rows by identifier (--history tells it), or `all` of --models, that are to count no "
    "more. Nothing is deleted.",
)
@click.option("--restore", type=ROWS, help="Undo --withdraw.")
@click.option("--reason", default="", help="--withdraw: why, for whoever reads the history.")
@click.option(
    "--salvage",
    type=options.PATH,
    metavar="NEW",
    help="Put what is whole of a damaged store into a new one.",
)
def show(
    store: Path,
    models: tuple[str, ...] | None,
    history: bool,
    colocation: bool,
    withdraw: tuple[str, ...] | None,
    restore: tuple[str, ...] | None,
    reason: str,
    salvage: Path | None,
    output_format: str,
) -> None:
    """Print what a store knows; withdraw rows of it, or salvage what is left of it.

    \b
    model-placer show --store profiles.db
    model-placer show --models bert --output-format json
    model-placer show --history
    model-placer show --withdraw 3f2a91c0 --reason "another job ran on the GPU"
    model-placer show --store damaged.db --salvage profiles.db
    """  # noqa: D301
    asked = {
        "--history": history,
        "--colocation": colocation,
        "--withdraw": withdraw is not None,
        "--restore": restore is not None,
        "--salvage": salvage is not None,
    }
    together = [option for option, given in asked.items() if given]
    if len(together) > 1:
        raise InputError(f"Give one of {' and '.join(together)} at a time.")
    if reason and withdraw is None and restore is None:
        raise InputError("--reason is that of --withdraw or --restore; give it with one of them.")
    if salvage is not None:
        _salvage(store, salvage, output_format)
    elif withdraw is not None:
        _say(store, withdraw, models, output_format, reason, back=False)
    elif restore is not None:
        _say(store, restore, models, output_format, reason, back=True)
    elif colocation:
        _colocation(store, models, output_format)
    else:
        _measurements(store, models, output_format, history=history)


def _measurements(
    store: Path, models: tuple[str, ...] | None, output_format: str, *, history: bool
) -> None:
    from analyzer.report.tables import baselines_table, host_table, measurements_table
    from profiles.measurement import Baseline, Measurement
    from profiles.repository import select
    from profiles.store import ProfileStore, to_document
    from profiles.up_to_date import up_to_date

    with ProfileStore(store, read_only=True) as opened:
        rows = opened.rows()
    measured = {r.what.model for r in rows if isinstance(r.what, Measurement)}
    chosen = set(select(sorted(measured), models)) if models else measured
    shown = [
        r
        for r in rows
        if (history or r.counts) and (isinstance(r.what, Baseline) or r.what.model in chosen)
    ]
    measurements = [r.what for r in shown if isinstance(r.what, Measurement)]
    baselines = [r.what for r in shown if isinstance(r.what, Baseline)]
    current = up_to_date([r.what for r in shown if isinstance(r.what, Measurement) and r.counts])
    notes = [note for model in sorted(current.notes) for note in current.notes[model]]

    def told(row: Row) -> dict[str, object]:
        became = {"superseded": row.superseded, "withdrawn": row.withdrawn} if history else {}
        return {"id": row.id, **became, **to_document(row.what)}

    emit(
        {
            "baselines": [told(r) for r in shown if isinstance(r.what, Baseline)],
            "measurements": [told(r) for r in shown if isinstance(r.what, Measurement)],
            "notes": notes,
        },
        output_format,
        lambda: "\n\n".join(
            part
            for part in (
                measurements_table(measurements),
                host_table(measurements),
                baselines_table(baselines) if baselines else "",
                _rows_table(shown) if history else "",
                "\n".join(f"`place`: {note}" for note in notes),
            )
            if part
        ),
    )


def _rows_table(rows: Sequence[Row]) -> str:
    return text_table(
        ["row", "what", "of", "device type", "measured at", "counts"],
        [
            [
                row.id[:SHORT_ID],
                type(row.what).__name__.lower(),
                _subject(row),
                row.what.device_type,
                row.what.measured_at[:19],
                _becoming(row),
            ]
            for row in rows
        ],
        left=6,
    )


def _subject(row: Row) -> str:
    from profiles.measurement import Baseline, Measurement

    what = row.what
    if isinstance(what, Baseline):
        return "the server alone"
    if isinstance(what, Measurement):
        return f"{what.model} [{what.variant}] {what.load}"
    return f"{what.model} beside {', '.join(n.model for n in what.neighbours)}"


def _becoming(row: Row) -> str:
    if row.withdrawn is not None:
        return "withdrawn" + (f": {row.withdrawn}" if row.withdrawn else "")
    return "superseded" if row.superseded else "yes"


def _say(
    store: Path,
    words: tuple[str, ...],
    models: tuple[str, ...] | None,
    output_format: str,
    reason: str,
    *,
    back: bool,
) -> None:
    from profiles.store import ProfileStore

    with ProfileStore(store, read_only=True) as opened:
        rows = opened.rows()
    chosen = _chosen(store, rows, words, models)
    done = [row for row in chosen if (row.withdrawn is not None) == back]
    with ProfileStore(store) as opened:
        (opened.restore if back else opened.withdraw)([row.id for row in done], reason)
    what = "restored" if back else "withdrawn"

    def table() -> str:
        lines = [f"{row.id[:SHORT_ID]}  {_subject(row)} on {row.what.device_type}" for row in done]
        undo = f"`--{'withdraw' if back else 'restore'}` with the same rows takes that back."
        return "\n".join([f"{len(done)} of {len(chosen)} rows {what}:", *lines, undo])

    emit({"store": str(store), what: [row.id for row in done]}, output_format, table)


def _chosen(
    store: Path, rows: Sequence[Row], words: tuple[str, ...], models: tuple[str, ...] | None
) -> list[Row]:
    """The rows that identifiers or their beginnings mean, each once."""
    from profiles.measurement import Baseline
    from profiles.repository import select

    if models is not None:
        select(sorted({r.what.model for r in rows if not isinstance(r.what, Baseline)}), models)
    of_models = [
        r
        for r in rows
        if models is None or (not isinstance(r.what, Baseline) and r.what.model in models)
    ]
    chosen: dict[str, Row] = {}
    if not words:
        raise InputError("Say which rows: `show --history` tells their identifiers.")
    for word in words:
        if word == EVERY and models is None:
            raise InputError("`all` needs --models: whose rows?")
        found = of_models if word == EVERY else [r for r in of_models if r.id.startswith(word)]
        if not found:
            of = f" of {', '.join(models)}" if models else ""
            raise InputError(
                f"{store}: no row{of} has the identifier {word!r}; `show --history` tells them."
            )
        if word != EVERY and len(found) > 1:
            raise InputError(
                f"{store}: {len(found)} rows have an identifier that begins with {word!r}: "
                f"{', '.join(r.id for r in found[:5])}. Give more of it."
            )
        chosen |= {r.id: r for r in found}
    return list(chosen.values())


def _salvage(store: Path, target: Path, output_format: str) -> None:
    from profiles import salvage

    done = salvage.salvage(store, target)

    def table() -> str:
        counts = ", ".join(f"{count} {name}" for name, count in done.rows.items())
        lost = f"{len(done.lost)} rows are known to be lost"
        return f"{counts} are in {target}; {lost}{': ' if done.lost else '.'}" + ", ".join(
            id_[:SHORT_ID] for id_ in done.lost
        )

    emit({"store": str(target), "rows": done.rows, "lost": list(done.lost)}, output_format, table)


def _colocation(store: Path, models: tuple[str, ...] | None, output_format: str) -> None:
    from analyzer.report.colocation import table
    from placement.problem import slowdown
    from profiles.repository import select
    from profiles.store import ProfileStore, to_document

    with ProfileStore(store, read_only=True) as opened:
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
