"""`model-placer show`: print what a store knows, withdraw rows, salvage a damaged store."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, measured_models
from analyzer.cli.values import Value, values_of
from analyzer.report.text_table import text_table
from profiles.errors import InputError

if TYPE_CHECKING:
    from profiles.measurement import Measurement
    from profiles.store import Row

SHORT_ID = 8  # characters of an identifier that are shown; as many as tell it apart may be given
EVERY = "all"
SORTS = {  # by what `show` may be ordered: columns of `analyzer/report/columns.py`
    "throughput": "throughput_infer_per_s",
    "p50": "latency_p50_ms",
    "p90": "latency_p90_ms",
    "p95": "latency_p95_ms",
    "p99": "latency_p99_ms",
    "memory": "memory_hot_bytes",
    "utilization": "utilization_percent",
    "energy": "energy_per_inference_j",
}
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
@click.option("--plot", is_flag=True, help="Plot throughput against latency.")
@click.option("--best", is_flag=True, help="The point of most throughput of each model.")
@click.option("--csv", "csv_", is_flag=True, help="The measurements as CSV, every figure of them.")
@click.option(
    "--latency-limit", type=click.FloatRange(min=0, min_open=True), help="--best: in ms, at most."
)
@click.option(
    "--percentile",
    type=click.Choice(["50", "90", "95", "99"]),
    default="95",
    help="--best and --plot: of latency.",
)
@click.option(
    "--sort",
    type=click.Choice([sign + name for name in SORTS for sign in ("", "-")]),
    metavar="[-]FIGURE",
    help=f"Order by {', '.join(SORTS)}; with - before it the largest first.",
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
    plot: bool,
    best: bool,
    csv_: bool,
    latency_limit: float | None,
    percentile: str,
    sort: str | None,
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
    model-placer show --best --latency-limit 50 --percentile 99
    model-placer show --models bert --plot
    model-placer show --sort -throughput --csv
    model-placer show --history
    model-placer show --withdraw 3f2a91c0 --reason "another job ran on the GPU"
    model-placer show --store damaged.db --salvage profiles.db
    """  # noqa: D301
    asked = {
        "--history": history,
        "--colocation": colocation,
        "--plot": plot,
        "--best": best,
        "--csv": csv_,
        "--withdraw": withdraw is not None,
        "--restore": restore is not None,
        "--salvage": salvage is not None,
    }
    together = [option for option, given in asked.items() if given]
    if len(together) > 1:
        raise InputError(f"Give one of {' and '.join(together)} at a time.")
    if latency_limit is not None and not best:
        raise InputError("--latency-limit is that of --best; give it with it.")
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
    elif plot:
        _plot(store, models, output_format, int(percentile))
    elif best:
        _best(store, models, output_format, latency_limit, int(percentile))
    elif csv_:
        _csv(store, models, output_format, sort)
    else:
        _measurements(store, models, output_format, sort, history=history)


def _counting(store: Path, models: tuple[str, ...] | None) -> list[Measurement]:
    """The measurements that count, of the models that were asked for."""
    from profiles.store import ProfileStore

    with ProfileStore(store, read_only=True) as opened:
        rows = opened.measurements()
    chosen = measured_models({m.model for m in rows}, models)
    return [m for m in rows if m.model in chosen]


def _plot(store: Path, models: tuple[str, ...] | None, output_format: str, percentile: int) -> None:
    from analyzer.report.model_figures import ordered
    from analyzer.report.text_plot import latency_plot
    from profiles.store import to_document

    rows = ordered(_counting(store, models))
    names = sorted({m.model for m in rows})
    emit(
        [to_document(m) for m in rows],
        output_format,
        lambda: (
            "\n\n".join(
                latency_plot(name, [m for m in rows if m.model == name], percentile)
                for name in names
            )
            or "No measurements."
        ),
    )


def _best(
    store: Path,
    models: tuple[str, ...] | None,
    output_format: str,
    limit_ms: float | None,
    percentile: int,
) -> None:
    from analyzer.report import best
    from profiles.store import to_document

    found = best.best(_counting(store, models), limit_ms, percentile)
    emit(
        [
            {
                "model": answer.model,
                "device_type": answer.device_type,
                "point": to_document(answer.point) if answer.point else None,
                "least_latency_ms": answer.least_ms,
            }
            for answer in found
        ],
        output_format,
        lambda: best.best_table(found, limit_ms, percentile),
    )


def _csv(store: Path, models: tuple[str, ...] | None, output_format: str, sort: str | None) -> None:
    from analyzer.report.columns import measurements_csv

    if output_format != "table":
        raise InputError(f"Give either --csv or --output-format {output_format}, not both.")
    click.echo(measurements_csv(_sorted(_counting(store, models), sort)), nl=False)


def _sorted(measurements: list[Measurement], sort: str | None) -> list[Measurement]:
    """In the order asked for; those without the figure come last."""
    from analyzer.report.columns import BY_NAME

    if sort is None:
        return measurements
    figure, sign = BY_NAME[SORTS[sort.removeprefix("-")]].figure, -1 if sort[0] == "-" else 1

    def key(m: Measurement) -> float:
        value = figure(m) if m.status == "ok" else None
        return float("inf") if value is None else sign * value

    return sorted(measurements, key=key)


def _measurements(
    store: Path,
    models: tuple[str, ...] | None,
    output_format: str,
    sort: str | None,
    *,
    history: bool,
) -> None:
    from analyzer.report.tables import baselines_table, host_table, measurements_table
    from profiles.measurement import Baseline, Measurement
    from profiles.store import ProfileStore, to_document
    from profiles.up_to_date import up_to_date

    with ProfileStore(store, read_only=True) as opened:
        rows = opened.rows()
    measured = {r.what.model for r in rows if isinstance(r.what, Measurement)}
    chosen = measured_models(measured, models)
    shown = [
        r
        for r in rows
        if (history or r.counts) and (isinstance(r.what, Baseline) or r.what.model in chosen)
    ]
    measurements = _sorted([r.what for r in shown if isinstance(r.what, Measurement)], sort)
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
    from analyzer.report.colocation import cost_table, table
    from placement.problem import neighbour_cost, slowdown
    from profiles.store import ProfileStore, to_document

    with ProfileStore(store, read_only=True) as opened:
        rows = opened.colocations()
    fitted = slowdown.fit(rows)
    errors = slowdown.unseen_errors(rows)
    shown = measured_models({r.model for r in rows}, models) if models else None
    listed = [row for row in rows if shown is None or row.model in shown]
    fits = [f for f in fitted.fits.values() if shown is None or f.model in shown]
    runs = neighbour_cost.runs(rows)
    costs = [c for c in neighbour_cost.fit(runs.values()).values() if not shown or c.model in shown]
    use_errors = neighbour_cost.unseen_errors(runs)
    emit(
        {
            "colocations": [to_document(row) for row in listed],
            "slowdown": [dataclasses.asdict(fit) for fit in fits],
            "median_error_of_unseen_runs": slowdown.median_error(errors),
            "median_error_without_slowdown": slowdown.median_error(errors, plain=True),
            "unseen_runs": len({error.row.run for error in errors}),
            "neighbour_cost": [dataclasses.asdict(cost) for cost in costs],
            "median_error_of_use": neighbour_cost.median_error(use_errors),
            "median_error_of_use_added_up": neighbour_cost.median_error(use_errors, plain=True),
        },
        output_format,
        lambda: "\n\n".join(
            filter(None, (table(listed, fits, errors), cost_table(costs, use_errors)))
        ),
    )
