"""Rows of a store as JSON documents, and what tells one measured point from another.

The shape of these documents belongs to the store's version: a field that is added to what a row is
made of is a new version (`schema.py`), so that an older Model Placer says that the store is
newer, and not that its rows are broken. `tests/profiles/test_row_document.py` holds that.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

import cattrs

from profiles.colocation import Colocation
from profiles.document import faults
from profiles.errors import InputError
from profiles.measurement import Baseline, Measurement
from profiles.model_name import check_model_name

T = TypeVar("T", Measurement, Baseline, Colocation)

_converter = cattrs.Converter(forbid_extra_keys=True)


def point_key(measurement: Measurement) -> str:
    """What a measurement is of: model files, variant, load, device type and server.

    Measurements with equal keys are of the same point, so that the newest counts and a sweep that
    finds one does not measure again.
    """
    environment = measurement.environment
    return "|".join(
        (
            measurement.variant.key,
            str(measurement.load),
            measurement.device_type,
            environment.triton,
            measurement.model_digest,
        )
    )


def to_document(row: Measurement | Baseline | Colocation) -> dict[str, Any]:
    """A row as plain data, for JSON and YAML."""
    document: dict[str, Any] = _converter.unstructure(row)
    return document


def dump(row: Measurement | Baseline | Colocation) -> str:
    """A row as the text that a store keeps."""
    return json.dumps(to_document(row), separators=(",", ":"))


def load(text: str, kind: type[T]) -> T:
    """The row that a text of a store holds; raises ValueError that says what is wrong with it."""
    try:
        row = _converter.structure(json.loads(text, parse_constant=_no_number), kind)
        if not isinstance(row, Baseline):
            check_model_name(row.model)
        return row  # noqa: TRY300
    except cattrs.BaseValidationError as error:
        raise ValueError(faults(error)) from None
    except (InputError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a figure of a measurement")
