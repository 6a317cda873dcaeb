"""Problem files: the placement problem in plain numbers, as JSON or YAML.

The fields are those of `placement/problem.py`; `docs/problem-file.md` tells them with an example.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cattrs
import yaml

from placement.problem import PlacementProblem
from placement.validate import validate
from profiles.errors import InputError

_converter = cattrs.Converter(
    forbid_extra_keys=True, omit_if_default=True, unstruct_collection_overrides={tuple: list}
)


def load_problem(path: Path) -> PlacementProblem:
    """The problem in a JSON or YAML file; raises InputError that names the field at fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file in UTF-8.") from None
    if path.suffix.lower() in {".yaml", ".yml"}:
        try:
            document = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
            raise InputError(f"{path}:{where} is not YAML ({error.problem}).") from None
        except yaml.YAMLError as error:
            raise InputError(f"{path}: is not YAML ({error}).") from None
    else:
        try:
            document = json.loads(text)
        except ValueError as error:
            raise InputError(f"{path}: is not JSON ({error}).") from None
    return read_problem(document, str(path))


def read_problem(document: Any, source: str = "problem") -> PlacementProblem:
    """The problem in a mapping."""
    if not isinstance(document, dict):
        raise InputError(f"{source}: a mapping with models, types, pools, resources is expected.")
    try:
        problem = _converter.structure(document, PlacementProblem)
        validate(problem)
    except (cattrs.BaseValidationError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: {'; '.join(cattrs.transform_error(error))}.") from None
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return problem


def problem_document(problem: PlacementProblem) -> dict[str, Any]:
    """The problem as plain lists, mappings and scalars."""
    plain: dict[str, Any] = _converter.unstructure(problem)
    return plain
