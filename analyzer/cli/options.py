"""Options that several commands share, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from analyzer.cli import values
from analyzer.cli.values import Value

if TYPE_CHECKING:
    from analyzer.triton.options import LaunchOptions

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PATH = click.Path(path_type=Path)
INTEGERS = Value(values.values_of(values.count), "integers,...")
NOT_NEGATIVE = Value(values.values_of(values.whole), "integers,...")
NUMBERS = Value(values.values_of(values.rate), "numbers,...")
NAMES = Value(values.values_of(values.text), "names,...")
DURATION = Value(values.duration, "duration")
PERCENT = Value(values.percent, "percent")

layout = click.argument("layout", type=PATH, envvar="MODEL_PLACER_LAYOUT")


def model_repository(
    text: str = "The models' Triton repository.", *, required: bool = True
) -> Decorator:
    """`-m/--model-repository DIR`."""
    return click.option(
        "-m", "--model-repository", required=required, type=PATH, metavar="DIR", help=text
    )


def store(text: str = "The profile store.") -> Decorator:
    """`--store FILE`."""
    return click.option("--store", type=PATH, default=Path("profiles.db"), help=text)


def models(text: str) -> Decorator:
    """`--models A,B`."""
    return click.option("--models", type=NAMES, help=text)


def shapes(
    text: str = "Dims of an input that the model leaves open; repeatable.",
) -> Decorator:
    """`--shape [MODEL/]INPUT:D1,D2`, as `shapes`."""
    kind, metavar = Value(values.shape, "shape"), "[MODEL/]INPUT:D1,D2"
    return click.option("--shape", "shapes", type=kind, multiple=True, metavar=metavar, help=text)


def with_models(text: str) -> Decorator:
    """`--with-models MODEL=OTHER,...`."""
    return click.option(
        "--with-models",
        type=Value(values.with_models, "with_models"),
        multiple=True,
        metavar="MODEL=OTHER,...",
        help=text,
    )


dynamic_shape = click.option(
    "--dynamic-shape",
    type=click.IntRange(min=1),
    metavar="N",
    help="The size of every dim that a model leaves open and neither --shape nor the model's "
    "directory (a warm-up sample, a CUDA graph, an ONNX file) tells.",
)


random_ranges = click.option(
    *("--random-range", "random_ranges"),
    type=Value(values.random_range, "random_range"),
    multiple=True,
    metavar="[MODEL/]INPUT=LEAST:GREATEST",
    help="The values of random data, such as request_output_len=64:512; repeatable.",
)


def input_data(text: str) -> Decorator:
    """`--input-data random|zero|PATH`."""
    return click.option("--input-data", default="random", metavar="random|zero|PATH", help=text)


def launch_mode(modes: Sequence[str], text: str) -> Decorator:
    """`--launch-mode`, the local one when not given."""
    return click.option("--launch-mode", type=click.Choice(modes), default="local", help=text)


def triton_image(text: str = "Docker mode: Triton's image.") -> Decorator:
    """`--triton-image IMAGE`."""
    return click.option("--triton-image", metavar="IMAGE", help=text)


def device_urls(text: str) -> Decorator:
    """`--url DEVICE=HOST:PORT`, as `urls`."""
    kind, metavar = Value(values.device_url, "device_url"), "DEVICE=HOST:PORT"
    return click.option("--url", "urls", type=kind, multiple=True, metavar=metavar, help=text)


def launch_options(mode: Literal["local", "docker"], image: str | None) -> LaunchOptions:
    """How the Tritons of a layout are started."""
    from analyzer.triton.options import LaunchOptions

    return LaunchOptions(mode, image=image) if image else LaunchOptions(mode)
