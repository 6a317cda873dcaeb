"""`model-placer init`: a first configuration file."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli import options
from analyzer.cli.command import CONFIG_FILE, command, emit
from profiles.errors import InputError


@command("init")
@options.model_repository(
    "The models' Triton repository  [default: one that is found here]", required=False
)
@click.option(
    "-o", "--output", type=options.PATH, default=Path(CONFIG_FILE), help="The file to write."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(model_repository: Path | None, output: Path, force: bool, output_format: str) -> None:
    """Look at a model repository and write a commented model-placer.yaml.

    Shapes that a model leaves open are named in it, ensembles found, and the GPUs of this machine
    entered; what is to be filled in before `profile` is told.

    \b
    model-placer init -m model_repository
    model-placer profile --dry-run
    model-placer run
    """  # noqa: D301
    from analyzer import init as starting
    from profiles import output_file
    from profiles.repository import read_repository

    if output.exists() and not force:
        raise InputError(f"{output} is there already; --force replaces it, -o FILE writes another.")
    folder = model_repository or starting.find_repository(Path())
    text = starting.starting_file(folder, *starting.device_types())
    to_fill = {
        name: list(found)
        for name, model in read_repository(folder).items()
        if (found := starting.open_inputs(model))
    }
    output_file.write_text(output, text)

    def told() -> str:
        lines = [f"Wrote {output}."]
        lines += [
            f"To fill in: models: {name}: shapes: {', '.join(inputs)}"
            for name, inputs in to_fill.items()
        ]
        other = "" if output == Path(CONFIG_FILE) else f" -f {output}"
        return "\n".join([*lines, f"Next: model-placer profile --dry-run{other}"])

    emit({"file": str(output), "open_shapes": to_fill}, output_format, told)
