"""Problem files: the placement problem in plain numbers, as JSON or YAML.

The fields are those of `problem.py`; `docs/problem-file.md` explains them with an example.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from placement.problem import PlacementProblem
from placement.problem.validate import validate
from profiles.document import converter, parse_json, parse_yaml, read_text, structure
from profiles.errors import InputError
from profiles.model_name import check_model_name

_converter = converter()


def load_problem(path: Path) -> PlacementProblem:
    """The problem in a JSON or YAML file; raises InputError that names the field at fault."""
    parse = parse_yaml if path.suffix.lower() in {".yaml", ".yml"} else parse_json
    return read_problem(parse(read_text(path), str(path)), str(path))


def read_problem(document: Any, source: str = "problem") -> PlacementProblem:
    """The problem in a mapping."""
    if not isinstance(document, dict):
        raise InputError(f"{source}: a mapping with models, types, pools, resources is expected.")
    problem = structure(_converter, document, PlacementProblem, source)
    for model in problem.models:
        check_model_name(model.name, f"{source}: models")
    try:
        validate(problem)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    return problem


def problem_document(problem: PlacementProblem) -> dict[str, Any]:
    """The problem as plain lists, mappings and scalars."""
    plain: dict[str, Any] = _converter.unstructure(problem)
    return plain
