"""`model-placer verify`: run a layout under load and check that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, log
from analyzer.report.terminal import paint
from analyzer.report.text_table import text_table
from profiles import output_file
from profiles.errors import NoAnswerError

if TYPE_CHECKING:
    from analyzer.deploy.judge import Check
    from analyzer.deploy.verify import Verification


@command("verify")
@options.layout
@options.model_repository()
@click.option("--duration", type=options.DURATION, default="30s", help="How long it is driven.")
@click.option(
    "--tolerance",
    type=options.PERCENT,
    default="10%",
    help="How far a figure may fall short of its prediction.",
)
@click.option(
    "--ramp", is_flag=True, help="Raise all loads together until the first limit breaks, too."
)
@options.device_urls(
    "A device's Triton that runs already; the others are started here. Repeatable."
)
@options.launch_mode(["local", "docker"], "How Tritons are started.")
@options.triton_image()
@options.shapes()
@options.dynamic_shape
@options.random_ranges
@options.input_data("What requests carry, as for `profile`.")
@click.option(
    "--store",
    type=options.PATH,
    help="Keep what models on one device did to each other in this store, for `place`.",
)
@click.option("-o", "--output", type=options.PATH, help="Write the result (YAML), for `report`.")
def verify(
    layout: Path,
    model_repository: Path,
    duration: float,
    tolerance: float,
    ramp: bool,
    urls: tuple[tuple[str, str], ...],
    launch_mode: Literal["local", "docker"],
    triton_image: str | None,
    shapes: tuple[tuple[str | None, str, tuple[int, ...]], ...],
    dynamic_shape: int | None,
    random_ranges: tuple[tuple[str | None, str, tuple[float, float]], ...],
    input_data: str,
    store: Path | None,
    output: Path | None,
    output_format: str,
) -> None:
    """Run LAYOUT under its placed load and check what it promised. Exit code 1: it does not hold.

    \b
    model-placer verify layout.yaml -m model_repository --duration 30s --store profiles.db
    model-placer verify layout.yaml -m model_repository -o verification.yaml
    model-placer verify layout.yaml -m model_repository --url t4-1=10.0.0.5:8000
    """  # noqa: D301
    from dataclasses import asdict

    from analyzer.deploy import verification_file
    from analyzer.deploy import verify as verifying
    from analyzer.load.inputs import Inputs
    from placement.layout import layout as layouts

    if output is not None:
        output_file.check(output)
    how = verifying.VerifyOptions(
        model_repository,
        duration,
        tolerance,
        ramp,
        dict(urls),
        options.launch_options(launch_mode, triton_image),
        Inputs(
            shapes,
            input_data,
            open_dim=dynamic_shape,
            repository=model_repository,
            ranges=random_ranges,
        ),
        store,
    )
    seen = verifying.verify(layouts.load(layout), how, log.info, log.warning)
    if output is not None:
        record = verification_file.VerificationRecord(
            str(layout), duration, tolerance, seen, verification_file.now()
        )
        verification_file.save(record, output)
        log.info("Verification: %s", output)
    emit({"holds": seen.holds, **asdict(seen)}, output_format, lambda: table(seen))
    if not seen.holds:
        reasons = "\n  ".join(verifying.broken(seen.checks))
        raise NoAnswerError(f"The layout does not hold:\n  {reasons}")


def table(seen: Verification) -> str:
    """The checks as a text table, and the headroom below."""
    rows = [
        [
            check.device,
            check.model or "(device)",
            check.what,
            _amount(check.predicted, check.unit),
            _amount(check.measured, check.unit),
            _difference(check),
            {True: paint("pass", "green"), False: paint("FAIL", "red"), None: "-"}[check.holds],
        ]
        for check in seen.checks
    ]
    text = text_table(
        ["device", "model", "figure", "predicted", "measured", "difference", "holds"],
        rows,
        left=3,
        least=["difference"],
    )
    headroom = seen.headroom
    if headroom is not None:
        text += f"\n\nAll rates together can grow to {headroom.factor:g} times the placed ones"
        if headroom.broken_at is not None:
            text += f"; at {headroom.broken_at:g} times:\n  " + "\n  ".join(
                check.reason or check.what for check in headroom.broken
            )
    return text


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value / 1e6:.0f} MB" if unit == "bytes" else f"{value:.4g} {unit}"


def _difference(check: Check) -> str:
    if not check.predicted or check.measured is None:
        return "-"
    return f"{check.measured / check.predicted - 1:+.0%}"
