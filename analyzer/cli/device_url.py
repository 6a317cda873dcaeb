"""An option's value that says where a device's Triton is."""

from __future__ import annotations

from typing import Any

import click


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
