"""YAML and JSON files read for people: what is wrong is said with file, line and field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_origin

import cattrs
import yaml
from cattrs.v import format_exception

from profiles.errors import InputError

T = TypeVar("T")


class _WrongValueError(ValueError):
    """A value is not what its field takes; the text says what is."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader; unlike it, a key given twice in one mapping is an error.

    A date stays the text that it is: no field of ours is one, and a model may be called so. So does
    every key, `no` and `1` as well; an empty one is an error.
    """

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                wrong = "is given twice" if key.value in seen else "is an empty key"
                if key.value in seen or not key.value:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key.value!r} {wrong}", key.start_mark
                    )
                seen.add(key.value)
                key.tag = "tag:yaml.org,2002:str"
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def read_text(path: Path, made_by: str = "") -> str:
    """The text of a file in UTF-8, a byte order mark taken off; raises InputError without one.

    `made_by`: the command that writes such files, told where there is none.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        remedy = f" `model-placer {made_by}` writes one." if made_by else ""
        raise InputError(f"{path}: {error.strerror}.{remedy}") from None
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
    except RecursionError:
        raise InputError(f"{source}: is nested too deeply.") from None
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        # PyYAML's own constructors: `!!timestamp 2024-13-45`, `!!int x`, a number of 5000 digits.
        raise InputError(f"{source}: has a value that cannot be read ({error}).") from None


def parse_json(text: str, source: str) -> Any:
    """The document in a JSON text; raises InputError that names source, line and column."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f" line {error.lineno}, column {error.colno}:"
        raise InputError(f"{source}:{where} is not JSON ({error.msg}).") from None
    except RecursionError:
        raise InputError(f"{source}: is nested too deeply.") from None
    except ValueError as error:  # a number of 5000 digits
        raise InputError(f"{source}: has a value that cannot be read ({error}).") from None


def read_yaml(path: Path, made_by: str = "") -> Any:
    """The document in a YAML file; raises InputError; `made_by` as for `read_text`."""
    return parse_yaml(read_text(path, made_by), str(path))


def converter() -> cattrs.Converter:
    """Between plain values and dataclasses; takes no value for what it is not.

    cattrs alone reads 2.7 as the int 2, "no" as true and the text bert as a tuple of letters.
    Tuples become lists, fields that have their defaults are left out.
    """
    made = cattrs.Converter(
        forbid_extra_keys=True, omit_if_default=True, unstruct_collection_overrides={tuple: list}
    )
    as_tuple = made.get_structure_hook(tuple[str, ...])  # cattrs' own, for a tuple of anything
    made.register_structure_hook(int, lambda value, _: _whole(value))
    made.register_structure_hook(float, lambda value, _: _float(value))
    made.register_structure_hook(bool, lambda value, _: _truth(value))
    made.register_structure_hook(str, lambda value, _: _text(value))
    made.register_structure_hook_func(_is_tuple, lambda value, kind: as_tuple(_list(value), kind))
    return made


def structure(converter: cattrs.Converter, document: Any, kind: type[T], source: str) -> T:
    """A document as a dataclass; raises InputError that names each field at fault."""
    try:
        return converter.structure(document, kind)
    except (cattrs.BaseValidationError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: {faults(error)}.") from None


def faults(error: BaseException) -> str:
    """What cattrs found wrong with a document, field by field."""
    said = cattrs.transform_error(error, format_exception=_in_words)
    return "; ".join(_field_first(text).removesuffix(".") for text in said)


def _field_first(said: str) -> str:
    """What cattrs says as `too long @ $.models.bert`, as `models.bert: too long`."""
    what, at, path = said.rpartition(" @ $")
    field = path.removeprefix(".")
    return f"{field}: {what}" if at and field else what or said


def _in_words(error: BaseException, kind: type[Any] | None) -> str:
    ours = isinstance(error, _WrongValueError | InputError)
    return str(error) if ours else format_exception(error, kind)


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _number(value: Any) -> int | float:
    if isinstance(value, str):  # 1e3 is one in YAML 1.1, which wants a dot in it
        with suppress(ValueError):
            return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _WrongValueError(f"expected a number, not {value!r}")
    return value


def _float(value: Any) -> float:
    try:
        return float(_number(value))
    except OverflowError:
        raise _WrongValueError("the number is too large") from None


def _whole(value: Any) -> int:
    number = _number(value)
    if number != number // 1:
        raise _WrongValueError(f"expected an integer, not {value!r}")
    return int(number)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongValueError(f"expected true or false, not {value!r}")
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _WrongValueError(f"expected a string, not {value!r}")
    return str(value)


def _list(value: Any) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _WrongValueError(f"expected a list such as [{value}], not {value!r}")
    return value


def check_schema_version(document: Mapping[str, Any], known: int, source: str) -> None:
    """Raise InputError where a document is not of the version that is read here."""
    version = document.get("schema_version")
    if version != known:
        raise InputError(
            f"{source}: schema_version is {version!r}; this Model Placer reads {known}."
        )
