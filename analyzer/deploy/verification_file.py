"""What `verify` found, as a YAML file: for the report, and for whoever asks later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from analyzer.deploy.verify import Verification
from profiles import output_file
from profiles.document import check_schema_version, converter, read_yaml, structure
from profiles.errors import InputError
from profiles.json_schema import link

SCHEMA_VERSION = 1

_converter = converter()


@dataclass(frozen=True)
class VerificationRecord:
    """A verification, and how it was done."""

    layout: str  # the file that was verified
    duration_s: float
    tolerance: float  # relative
    result: Verification
    verified_at: str = ""  # ISO 8601, UTC
    schema_version: int = SCHEMA_VERSION
    holds: bool | None = None  # in the file, for readers; `result.holds` counts


def now() -> str:
    """The time for `verified_at`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def save(record: VerificationRecord, path: Path) -> None:
    """Write the record as YAML; raises InputError where that cannot be."""
    told = _converter.unstructure(replace(record, holds=record.result.holds))
    document: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **told}
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    output_file.write_text(path, link("verification") + text)


def load(path: Path) -> VerificationRecord:
    """The record in a file; raises InputError when it is missing or broken."""
    document = read_yaml(path, "verify -o FILE")
    if not isinstance(document, dict) or "result" not in document:
        raise InputError(f"{path}: is not a verification: `verify -o FILE` writes one.")
    check_schema_version(document, SCHEMA_VERSION, str(path))
    return replace(structure(_converter, document, VerificationRecord, str(path)), holds=None)
