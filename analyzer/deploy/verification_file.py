"""What `verify` found, as a YAML file: for the report, and for whoever asks later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from analyzer.deploy.verify import Verification
from profiles import output_file
from profiles.document import converter, parse_yaml, read_text, structure
from profiles.errors import InputError

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


def now() -> str:
    """The time for `verified_at`."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def save(record: VerificationRecord, path: Path) -> None:
    """Write the record as YAML; raises InputError where that cannot be."""
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "holds": record.result.holds,
        **_converter.unstructure(record),
    }
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    output_file.write_text(path, text)


def load(path: Path) -> VerificationRecord:
    """The record in a file; raises InputError when it is missing or broken."""
    document = parse_yaml(read_text(path), str(path))
    if not isinstance(document, dict) or "result" not in document:
        raise InputError(f"{path}: is not a verification: `verify -o FILE` writes one.")
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path}: schema_version is {version!r}; this Model Placer reads {SCHEMA_VERSION}."
        )
    said = {key: value for key, value in document.items() if key != "holds"}
    return structure(_converter, said, VerificationRecord, str(path))
