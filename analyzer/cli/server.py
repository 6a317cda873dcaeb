"""`model-placer server`: the embedded Triton."""

from __future__ import annotations

import click

from analyzer.server import runtime


@click.group()
def server() -> None:
    """Install and manage the embedded Triton.

    It lies in the user's cache directory, or where MODEL_PLACER_SERVER_DIR says.
    """


@server.command()
def install() -> None:
    """Install the embedded Triton; does nothing when it is there.

    \b
    model-placer server install
    """  # noqa: D301
    binary = runtime.install(lambda line: click.echo(line, err=True))
    click.echo(binary.path)


@server.command()
def path() -> None:
    """Print where the embedded Triton is, or would be."""
    click.echo(runtime.directory())


@server.command()
def remove() -> None:
    """Delete the embedded Triton."""
    removed = runtime.remove()
    click.echo(f"{'Removed' if removed else 'Nothing in'} {runtime.directory()}", err=True)
