"""Options of the commands that start Triton or call one, and the values that they take."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from analyzer.triton.launch import LaunchOptions


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Shape(click.ParamType[tuple[str, tuple[int, ...]]]):
    """`INPUT:3,224,224`: the dims of an input that the model leaves open, without the batch."""

    name = "shape"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(?:(?P<model>[^/]+)/)?(?P<name>.+):(?P<dims>\d+(,\d+)*)", str(value))
        if not match:
            self.fail(f"{value!r} is not [MODEL/]INPUT:D1,D2,... .", param, ctx)
        dims = tuple(int(word) for word in match["dims"].split(","))
        return match["model"], match["name"], dims


class DeviceUrl(click.ParamType[tuple[str, str]]):
    """`DEVICE=HOST:PORT`: the HTTP address of the Triton that serves a device."""

    name = "device_url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        device, _, url = str(value).rpartition("=")
        url = url.removeprefix("http://").rstrip("/")
        host, _, port = url.rpartition(":")
        if not device or not host or not port.isdecimal():
            self.fail(f"{value!r} is not DEVICE=HOST:PORT, such as t4-1=10.0.0.5:8000.", param, ctx)
        return device, url


def model_repository(
    text: str = "The models' Triton repository.", *, required: bool = True
) -> Decorator:
    """`-m/--model-repository DIR`."""
    return click.option(
        "-m",
        "--model-repository",
        required=required,
        type=click.Path(path_type=Path),
        metavar="DIR",
        help=text,
    )


def shapes(
    text: str = "Dims of an input that the model leaves open; repeatable.",
) -> Decorator:
    """`--shape [MODEL/]INPUT:D1,D2`, as `shapes`."""
    return click.option(
        "--shape",
        "shapes",
        type=Shape(),
        multiple=True,
        metavar="[MODEL/]INPUT:D1,D2",
        help=text,
    )


def input_data(text: str) -> Decorator:
    """`--input-data random|zero|PATH`."""
    return click.option(
        "--input-data",
        default="random",
        show_default=True,
        metavar="random|zero|PATH",
        help=text,
    )


def launch_mode(modes: Sequence[str], text: str) -> Decorator:
    """`--launch-mode`, the local one when not given."""
    return click.option(
        "--launch-mode", type=click.Choice(modes), default="local", show_default=True, help=text
    )


def triton_image(text: str = "Docker mode: Triton's image.") -> Decorator:
    """`--triton-image IMAGE`."""
    return click.option("--triton-image", metavar="IMAGE", help=text)


def device_urls(text: str) -> Decorator:
    """`--url DEVICE=HOST:PORT`, as `urls`."""
    return click.option(
        "--url",
        "urls",
        type=DeviceUrl(),
        multiple=True,
        metavar="DEVICE=HOST:PORT",
        help=text,
    )


def launch_options(mode: Literal["local", "docker"], image: str | None) -> LaunchOptions:
    """How the Tritons of a layout are started."""
    from analyzer.triton.docker import ContainerOptions
    from analyzer.triton.launch import LaunchOptions

    container = ContainerOptions(image=image) if image else ContainerOptions()
    return LaunchOptions(mode, container=container)
