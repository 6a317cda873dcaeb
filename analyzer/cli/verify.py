"""`model-placer verify`: run a layout under load and check that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from analyzer.cli.device_url import DeviceUrl
from analyzer.cli.options import Duration, command, emit, log, text_table
from analyzer.cli.profile import Shape, Share
from profiles.errors import NoAnswerError

if TYPE_CHECKING:
    from analyzer.verify import Check, Verification


@command("verify")
@click.argument("layout", type=click.Path(path_type=Path), envvar="MODEL_PLACER_LAYOUT")
@click.option(
    "-m",
    "--model-repository",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The models' Triton repository.",
)
@click.option(
    "--duration", type=Duration(), default="30s", show_default=True, help="How long it is driven."
)
@click.option(
    "--tolerance",
    type=Share(),
    default="10%",
    show_default=True,
    help="How far a figure may fall short of its prediction.",
)
@click.option(
    "--ramp", is_flag=True, help="Raise all loads together until the first limit breaks, too."
)
@click.option(
    "--url",
    "urls",
    type=DeviceUrl(),
    multiple=True,
    metavar="DEVICE=HOST:PORT",
    help="A device's Triton that runs already; the others are started here. Repeatable.",
)
@click.option(
    "--launch-mode",
    type=click.Choice(["local", "docker"]),
    default="local",
    show_default=True,
    help="How Tritons are started.",
)
@click.option("--triton-image", metavar="IMAGE", help="Docker mode: Triton's image.")
@click.option(
    "--shape",
    "shapes",
    type=Shape(),
    multiple=True,
    metavar="[MODEL/]INPUT:D1,D2",
    help="Dims of an input that the model leaves open; repeatable.",
)
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
    output_format: str,
) -> None:
    """Run LAYOUT under its placed load and check what it promised. Exit code 1: it does not hold.

    \b
    model-placer verify layout.yaml -m model_repository --duration 30s
    model-placer verify layout.yaml -m model_repository --url t4-1=10.0.0.5:8000
    """  # noqa: D301
    from dataclasses import asdict, replace

    from analyzer import verify as verifying
    from analyzer.load.generator import PreparedRequest
    from analyzer.load.inputs import make_requests
    from analyzer.profiling import Inputs
    from analyzer.running_layout import start
    from analyzer.server.launch import LaunchOptions
    from placement import layout as layouts

    inputs = Inputs(shapes)

    def requests(url: str, model: str, batch_size: int) -> list[PreparedRequest]:
        return make_requests(url, model, batch_size, shapes=inputs.of(model))

    placed = layouts.load(layout)
    options = LaunchOptions(launch_mode)
    if triton_image:
        options = replace(options, container=replace(options.container, image=triton_image))
    with start(placed, model_repository, dict(urls), options, log.info) as (groups, notes):
        for note in notes:
            log.warning(note)
        log.info(f"Driving every model with its placed load for {duration:g} s")
        checks = verifying.verify(groups, requests, duration_s=duration, tolerance=tolerance)
        seen = verifying.Verification(checks, tuple(notes))
        if ramp:
            log.info("Raising all loads together")
            headroom = verifying.ramp(groups, requests, duration_s=duration, tolerance=tolerance)
            seen = replace(seen, headroom=headroom)
    emit({"holds": seen.holds, **asdict(seen)}, output_format, lambda: table(seen))
    if not seen.holds:
        broken = [check.reason or check.what for check in seen.checks if check.holds is False]
        raise NoAnswerError("The layout does not hold:\n  " + "\n  ".join(broken))


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
            {True: "pass", False: "FAIL", None: "-"}[check.holds],
        ]
        for check in seen.checks
    ]
    text = text_table(
        ["device", "model", "figure", "predicted", "measured", "difference", "holds"], rows, left=3
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
