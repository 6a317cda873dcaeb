"""`model-placer server`: the embedded Triton."""

from __future__ import annotations

import click

from analyzer.cli.command import command, emit, log
from analyzer.triton import runtime
from analyzer.triton.install import install as install_server


@click.group()
def server() -> None:
    """Install and manage the embedded Triton.

    It lies in the user's cache directory, or where MODEL_PLACER_SERVER_DIR says.
    """


@command("install")
def install(output_format: str) -> None:
    """Install the embedded Triton and check its answers; does nothing when it is there.

    Its Python backend runs on Python 3.10 to 3.12: one of this machine, else one that is fetched
    from Debian's or Ubuntu's archive, or by uv.

    \b
    model-placer server install
    """  # noqa: D301
    binary = install_server(log.info)
    document = {"path": str(binary.path), "version": runtime.SERVER_VERSION}
    emit(document, output_format, lambda: str(binary.path))


@command("path")
def path(output_format: str) -> None:
    """Print where the embedded Triton is, or would be."""
    there = runtime.installed() is not None
    document = {"directory": str(runtime.directory()), "installed": there}
    emit(document, output_format, lambda: str(runtime.directory()))


@command("remove")
def remove(output_format: str) -> None:
    """Delete the embedded Triton."""
    removed = runtime.remove()
    document = {"directory": str(runtime.directory()), "removed": removed}
    sentence = f"{'Removed' if removed else 'Nothing in'} {runtime.directory()}"
    emit(document, output_format, lambda: sentence)


for subcommand in (install, path, remove):
    server.add_command(subcommand)
