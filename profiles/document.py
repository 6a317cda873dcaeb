"""YAML and JSON files read for people: what is wrong is said with file, line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import cattrs
import yaml

from profiles.errors import InputError

T = TypeVar("T")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader; unlike it, a key given twice in one mapping is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} is given twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, a byte order mark taken off; raises InputError without one."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file in UTF-8.") from None


def parse_yaml(text: str, source: str) -> Any:
    """The document in a YAML text; raises InputError that names source, line and column."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  # a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise InputError(f"{source}:{where} is not YAML ({error.problem}).") from None
    except yaml.YAMLError as error:
        raise InputError(f"{source}: is not YAML ({error}).") from None


def parse_json(text: str, source: str) -> Any:
    """The document in a JSON text; raises InputError that names source, line and column."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f" line {error.lineno}, column {error.colno}:"
        raise InputError(f"{source}:{where} is not JSON ({error.msg}).") from None


def read_yaml(path: Path) -> Any:
    """The document in a YAML file; raises InputError."""
    return parse_yaml(read_text(path), str(path))


def structure(converter: cattrs.Converter, document: Any, kind: type[T], source: str) -> T:
    """A document as a dataclass; raises InputError that names each field at fault."""
    try:
        return converter.structure(document, kind)
    except (cattrs.BaseValidationError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: {'; '.join(cattrs.transform_error(error))}.") from None
