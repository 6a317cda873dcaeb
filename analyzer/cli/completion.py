"""`model-placer completion`: completion of commands and options for a shell."""

from __future__ import annotations

import click

from analyzer.cli.command import command

SHELLS = ("bash", "zsh", "fish")


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str, output_format: str) -> None:
    """Print what makes SHELL complete commands, options and their values.

    \b
    eval "$(model-placer completion bash)"                     # in ~/.bashrc
    eval "$(model-placer completion zsh)"                      # in ~/.zshrc
    model-placer completion fish > ~/.config/fish/completions/model-placer.fish
    """  # noqa: D301
    from click.shell_completion import get_completion_class

    from analyzer.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "model-placer", "_MODEL_PLACER_COMPLETE").source())
