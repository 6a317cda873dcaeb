"""Pulls a container image and reports progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from profiles.errors import SurroundingsError

if TYPE_CHECKING:
    from docker import DockerClient

REPORT_EVERY_S = 2.0


def ensure_image(client: DockerClient, image: str, report: Callable[[str], None]) -> None:
    """Pull the image unless the engine has it; raises SurroundingsError when that fails."""
    import docker

    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.get(image)
        return
    report(f"Pulling {image}")
    try:
        _pull(client, image, report)
        client.images.get(image)
    except docker.errors.APIError as error:
        raise SurroundingsError(_failure(image, str(error.explanation))) from None
    except OSError as error:
        raise SurroundingsError(_failure(image, str(error))) from None


def _pull(client: DockerClient, image: str, report: Callable[[str], None]) -> None:
    # Without a tag the API would pull every tag there is.
    named = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
    done: dict[str, int] = {}
    total: dict[str, int] = {}
    said = time.monotonic()
    for event in client.api.pull(named, stream=True, decode=True):
        if "error" in event:
            raise SurroundingsError(_failure(image, str(event["error"])))
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            done[event["id"]] = int(detail["current"])
            total[event["id"]] = int(detail["total"])
        elif event.get("status") == "Download complete" and event["id"] in total:
            done[event["id"]] = total[event["id"]]
        if total and time.monotonic() - said > REPORT_EVERY_S:
            said = time.monotonic()
            report(f"  {sum(done.values()) / 1e6:.0f} of {sum(total.values()) / 1e6:.0f} MB")


def _failure(image: str, said: str) -> str:
    return (
        f"Docker cannot pull {image}: {said}; check the name and the network, run `docker login` "
        "if the registry asks for it, or choose a local image with --triton-image"
    )
