"""`model-placer schema`: JSON Schemas of the files that are read and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from analyzer.cli import options
from analyzer.cli.command import COMMAND_SECTIONS, SHARED_KEYS, command, log

ANY_OF_SEVERAL: dict[str, Any] = {}  # a word, a number, or a list or mapping of them


def _layout() -> dict[str, Any]:
    from placement.layout import Layout
    from profiles.json_schema import schema_of

    return schema_of(Layout, "A layout of Model Placer")


def _problem() -> dict[str, Any]:
    from placement.problem import PlacementProblem
    from profiles.json_schema import schema_of

    return schema_of(PlacementProblem, "A placement problem (place --problem)")


def _fleet() -> dict[str, Any]:
    from placement.problem.fleet_file import FleetRow
    from profiles.json_schema import schema_of

    return schema_of(tuple[FleetRow, ...], "A fleet (place --fleet)")


def _demand() -> dict[str, Any]:
    from placement.problem.demands import DemandFile
    from profiles.json_schema import schema_of

    return schema_of(DemandFile, "Demands and rules (place --demand)")


def _verification() -> dict[str, Any]:
    from analyzer.deploy.verification_file import VerificationRecord
    from profiles.json_schema import schema_of

    made = schema_of(VerificationRecord, "What verify found (verify -o)")
    made["$defs"]["VerificationRecord"]["properties"]["holds"] = {"type": "boolean"}
    return made


def _table() -> dict[str, Any]:
    from profiles.importers import COLUMNS, KINDS, MOST, PARAMETER
    from profiles.json_schema import DRAFT

    number = {"type": ["number", "string", "null"]}
    columns: dict[str, Any] = {name: number if name in MOST else {} for name in sorted(COLUMNS)}
    columns["kind"] = {"enum": [*KINDS, None]}
    row = {
        "type": "object",
        "properties": columns,
        "patternProperties": {f"^{PARAMETER.replace('.', '[.]')}": {}},
        "additionalProperties": False,
        "required": ["model"],
    }
    title = "A table of measurements (import)"
    return {"$schema": DRAFT, "title": title, "type": "array", "items": row}


def _columns() -> dict[str, Any]:
    from profiles.column_map import FIELDS
    from profiles.importers import COLUMNS, PARAMETER
    from profiles.json_schema import DRAFT

    source = {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {name: {} for name in sorted(FIELDS)},
                "additionalProperties": False,
            },
        ]
    }
    return {
        "$schema": DRAFT,
        "title": "Another tool's columns (import --columns)",
        "type": "object",
        "properties": dict.fromkeys(sorted(COLUMNS), source),
        "patternProperties": {f"^{PARAMETER.replace('.', '[.]')}": source},
        "additionalProperties": False,
    }


def _config() -> dict[str, Any]:
    from analyzer.cli import cli
    from profiles.json_schema import DRAFT

    ctx = click.Context(cli)
    sections = {
        name: made for name in COMMAND_SECTIONS if (made := cli.get_command(ctx, name)) is not None
    }
    shared: dict[str, Any] = {name: {} for name in sorted(SHARED_KEYS)}
    for made in sections.values():
        shared |= {n: s for n, s in _options(made).items() if n in SHARED_KEYS}
    return {
        "$schema": DRAFT,
        "title": "The configuration file of Model Placer",
        "type": "object",
        "properties": {
            **shared,
            "models": _models(),
            **{
                name: {
                    "type": ["object", "null"],
                    "properties": _options(made),
                    "additionalProperties": False,
                }
                for name, made in sections.items()
            },
        },
        "additionalProperties": False,
    }


def _models() -> dict[str, Any]:
    """`models:`: names, or a mapping of them to what is particular to each."""
    from analyzer.cli.models_section import CONFIGURATION, LOAD, OTHERS

    member = {
        "type": ["object", "null"],
        "properties": dict.fromkeys(CONFIGURATION, ANY_OF_SEVERAL),
        "additionalProperties": False,
    }
    own: dict[str, Any] = dict.fromkeys((*CONFIGURATION, *LOAD, *OTHERS), ANY_OF_SEVERAL)
    own["members"] = {
        "anyOf": [{"type": "array"}, {"type": "object", "additionalProperties": member}]
    }
    own["shapes"] = {"type": "object", "additionalProperties": {"type": ["array", "string"]}}
    entry = {"type": ["object", "null"], "properties": own, "additionalProperties": False}
    return {
        "anyOf": [
            {"type": ["array", "string", "null"]},
            {"type": "object", "additionalProperties": entry},
        ]
    }


def _options(made: click.Command) -> dict[str, Any]:
    """The options of a command, as the configuration file may give them."""
    return {
        parameter.name: {"description": parameter.help or ""} | _type(parameter)
        for parameter in made.params
        if isinstance(parameter, click.Option) and parameter.name and parameter.expose_value
    }


def _type(option: click.Option) -> dict[str, Any]:
    if option.multiple:
        return {}
    if option.is_flag:
        return {"type": "boolean"}
    if isinstance(option.type, click.Choice):
        return {"enum": [*option.type.choices, None]} if _are_words(option) else {}
    if isinstance(option.type, click.types.IntParamType):
        return {"type": ["integer", "null"]}
    if isinstance(option.type, click.types.FloatParamType):
        return {"type": ["number", "null"]}
    if isinstance(option.type, click.Path):
        return {"type": ["string", "null"]}
    return {}


def _are_words(option: click.Option) -> bool:
    """YAML reads `95` as a number, which a choice among words takes as well."""
    assert isinstance(option.type, click.Choice)
    return not any(str(choice).isdecimal() for choice in option.type.choices)


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "config": _config,
    "layout": _layout,
    "fleet": _fleet,
    "demand": _demand,
    "problem": _problem,
    "verification": _verification,
    "table": _table,
    "columns": _columns,
}


@command("schema")
@click.argument("name", type=click.Choice(tuple(SCHEMAS)), required=False)
@click.option("--all", "folder", type=options.PATH, metavar="DIR", help="Write all of them there.")
def schema(name: str | None, folder: Path | None, output_format: str) -> None:
    """Print the JSON Schema of a kind of file, for editors and other programs.

    The files that Model Placer writes link to theirs in the first line. `config` is
    model-placer.yaml, `columns` the map of `import --columns`.

    \b
    model-placer schema layout
    model-placer schema --all schemas/
    """  # noqa: D301
    from profiles import output_file

    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for each, make in SCHEMAS.items():
            path = folder / f"{each}.json"
            output_file.write_text(path, text(make()))
            log.info("Wrote %s", path)
    elif name is None:
        raise click.UsageError(f"Which schema? Known ones: {', '.join(SCHEMAS)}; or --all DIR.")
    else:
        click.echo(text(SCHEMAS[name]()), nl=False)


def text(document: Mapping[str, Any]) -> str:
    """The schema as it is shipped."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
