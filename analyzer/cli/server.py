"""`model-placer server`: the embedded Triton."""

from __future__ import annotations

import click

from analyzer.cli.command import command, emit, log
from analyzer.triton import runtime


@click.group()
def server() -> None:
    """Install and manage the embedded Triton.

    It lies in the user's cache directory, or where MODEL_PLACER_SERVER_DIR says.
    """


@command("install")
def install(output_format: str) -> None:
    """Install the embedded Triton; does nothing when it is there.

    \b
    model-placer server install
    """  # noqa: D301
    binary = runtime.install(log.info)
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
