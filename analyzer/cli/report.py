"""`model-placer report`: a store and a layout as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, log, measured_models
from profiles.errors import InputError

if TYPE_CHECKING:
    from analyzer.report.page import Content


@command("report")
@options.store()
@options.models("Models to show  [default: all]")
@click.option("--layout", type=options.PATH, help="The layout that `place -o` wrote.")
@click.option("--current", type=options.PATH, help="The layout before: what moves is told.")
@click.option(
    "--verification",
    "verifications",
    type=options.PATH,
    multiple=True,
    help="What `verify -o` wrote; repeatable, the oldest first.",
)
@click.option(
    "--placement",
    type=options.PATH,
    help="What `place --answer` wrote: why so many devices.",
)
@click.option(
    "--frontier",
    type=options.PATH,
    help="What `place --frontier --output-format json` printed.",
)
@click.option("-o", "--output", type=options.PATH, default=Path("report.html"), help="The page.")
@click.option("--figures", type=options.PATH, metavar="DIR", help="Each figure as SVG and PNG.")
@click.option("--csv", "csv_", type=options.PATH, metavar="DIR", help="The data as CSV.")
def report(
    store: Path,
    models: tuple[str, ...] | None,
    layout: Path | None,
    current: Path | None,
    verifications: tuple[Path, ...],
    placement: Path | None,
    frontier: Path | None,
    output: Path,
    figures: Path | None,
    csv_: Path | None,
    output_format: str,
) -> None:
    """Write what was measured, placed and verified as one HTML page that needs no other file.

    \b
    model-placer report --store profiles.db -o report.html
    model-placer report --layout layout.yaml --verification verification.yaml
    model-placer report --figures figures/ --csv data/
    """  # noqa: D301
    from analyzer.report import files
    from analyzer.report.page import html
    from analyzer.report.page import report as make

    made = make(_content(store, models, layout, current, verifications, placement, frontier))
    files.write(output, html(made))
    written = {"report": str(output)}
    if figures is not None:
        for note in files.write_figures(made, figures):
            log.warning("Note: %s", note)
        written["figures"] = str(figures)
    if csv_ is not None:
        files.write_csv(made, csv_)
        written["csv"] = str(csv_)
    emit(
        written,
        output_format,
        lambda: "\n".join(f"{name.capitalize()}: {where}" for name, where in written.items()),
    )


def _content(
    store: Path,
    models: tuple[str, ...] | None,
    layout: Path | None,
    current: Path | None,
    verifications: tuple[Path, ...],
    placement: Path | None,
    frontier: Path | None,
) -> Content:
    import yaml

    from analyzer.deploy import verification_file
    from analyzer.report.page import Content
    from placement.layout import layout as layouts
    from profiles.store import ProfileStore
    from profiles.up_to_date import up_to_date

    with ProfileStore(store, read_only=True) as opened:
        measured = up_to_date(opened.measurements())
        baselines = opened.baselines()
    if not measured.rows:
        raise InputError(f"{store}: has no measurements: run `model-placer profile` first.")
    known = sorted({m.model for m in measured.rows})
    chosen = measured_models(known, models)
    asked = _document(placement, "layout", "place --answer") if placement else {}
    made_by = "place --frontier --output-format json"
    curve = _document(frontier, "frontier", made_by) if frontier else {}
    seen = layouts.load(layout) if layout else None
    if seen is None and asked.get("layout") is not None:
        seen = layouts.loads(yaml.safe_dump(asked["layout"]), f"{placement}: layout")
    if current is not None and seen is None:
        raise InputError("--current is compared with a layout: pass it with --layout.")
    return Content(
        [m for m in measured.rows if m.model in chosen],
        baselines,
        [note for model, own in sorted(measured.notes.items()) if model in chosen for note in own],
        str(store),
        seen,
        str(layout) if layout else None,
        layouts.load(current) if current else None,
        [verification_file.load(path) for path in verifications],
        asked,
        curve,
        verification_file.now()[:16].replace("T", " ") + " UTC",
    )


def _document(path: Path, key: str, made_by: str) -> dict[str, Any]:
    """What `place` printed, in JSON or YAML; raises InputError when it is something else."""
    from profiles.document import read_yaml

    document = read_yaml(path, made_by)
    if not isinstance(document, dict) or key not in document:
        raise InputError(f"{path}: has no `{key}`; expected what `{made_by}` writes.")
    return document
