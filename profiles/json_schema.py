"""JSON Schemas of files that are read and written, made from the dataclasses that read them.

They are shipped in `profiles/schemas/`, so that an editor completes and checks a file whose first
line links to one. A field's description is the comment behind it.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

FOLDER = Path(__file__).with_name("schemas")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SCALARS: dict[Any, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}


def schema_of(kind: Any, title: str) -> dict[str, Any]:
    """The JSON Schema of documents that are read as such a dataclass, or a tuple of them."""
    definitions: dict[str, Any] = {}
    made = _schema(kind, definitions)
    return {"$schema": DRAFT, "title": title, **made, "$defs": definitions}


def link(name: str) -> str:
    """The comment by which editors find the schema of a YAML file."""
    return f"# yaml-language-server: $schema={(FOLDER / f'{name}.json').as_uri()}\n"


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if kind in SCALARS:
        return {"type": SCALARS[kind]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in {Union, types.UnionType}:
        return {"anyOf": [_schema(one, definitions) for one in arguments]}
    if origin is tuple and arguments[-1] is not Ellipsis:
        items = [_schema(one, definitions) for one in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    if origin in {tuple, list}:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if isinstance(kind, type) and is_dataclass(kind):
        name = kind.__name__.lstrip("_")
        if name not in definitions:
            definitions[name] = {}  # a variant has members, which are variants
            definitions[name] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{name}"}
    raise TypeError(f"{kind!r} has no JSON Schema")


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints, told = get_type_hints(kind), _comments(kind)
    properties = {}
    for field in fields(kind):
        properties[field.name] = _schema(hints[field.name], definitions)
        if field.name in told:
            properties[field.name] = {"description": told[field.name]} | properties[field.name]
    needed = [
        field.name
        for field in fields(kind)
        if field.default is MISSING and field.default_factory is MISSING
    ]
    made = {"type": "object", "properties": properties, "additionalProperties": False}
    return made | ({"required": needed} if needed else {})


def _comments(kind: Any) -> dict[str, str]:
    """What stands behind each field in the source, on its line and on those that go on."""
    found: dict[str, str] = {}
    last = ""
    for line in inspect.getsource(kind).splitlines():
        field = re.match(r"    (\w+):.*?  # (.*)", line)
        if field:
            last, found[field[1]] = field[1], field[2]
        elif last and (more := re.match(r"    # (.*)", line)):
            found[last] += f" {more[1]}"
        else:
            last = ""
    return found
