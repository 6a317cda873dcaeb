"""Files of measurements of every kind that is known, told apart by what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from profiles import importers, model_analyzer, perf_analyzer
from profiles.column_map import read_column_map
from profiles.document import parse_json, read_text
from profiles.errors import InputError
from profiles.importers import Row, Table

IN_FOLDERS = ("metrics-*.csv", "*.ckpt")  # what Model Analyzer leaves there


@dataclass(frozen=True)
class Told:
    """What files may not tell themselves."""

    device_type: str | None = None
    model: str | None = None  # perf_analyzer's files
    batch_size: int = 1  # perf_analyzer's files: inferences in one request
    columns: Path | None = None  # maps the columns of another tool's table
    variants: Path | None = None  # Model Analyzer's output repository
    strict: bool = False  # what makes no sense is an error, not a note


@dataclass
class _Found:
    plain: list[Row] = field(default_factory=list)
    analyzer: list[list[Row]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_files(paths: Sequence[Path], told: Told) -> Table:
    """The measurements in the files, together: Model Analyzer's tables tell of one another.

    A folder stands for what Model Analyzer leaves in one. Raises InputError that names file, line
    and column where nothing can be read, or, when told to be strict, where anything cannot.
    """
    found = _Found()
    files = [file for path in paths for file in _files(path)]
    for file in files:
        _read(file, told, found)
    if found.analyzer:
        configs = model_analyzer.read_variants(told.variants) if told.variants else {}
        made = model_analyzer.read_tables(found.analyzer, configs)
        found.plain += made.rows
        found.left_out += made.left_out
    elif told.variants is not None:
        raise InputError("--variants goes with Model Analyzer's tables: metrics-*.csv.")
    if told.strict and found.left_out:
        raise InputError("\n".join(found.left_out))
    table = importers.plain_table(
        found.plain,
        ", ".join(map(str, files)),
        strict=told.strict,
        device_type=told.device_type,
    )
    return Table(table.measurements, table.baselines, (*found.left_out, *table.notes))


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path]
    found = [file for pattern in IN_FOLDERS for file in sorted(path.glob(pattern))]
    if not found:
        raise InputError(f"{path}: has none of {', '.join(IN_FOLDERS)}.")
    return found


def _read(file: Path, told: Told, found: _Found) -> None:
    text = read_text(file)
    kind = file.suffix.lower()
    if kind in {".ckpt", ".json"} and not text.lstrip().startswith("["):
        document = parse_json(text, str(file))
        if model_analyzer.is_checkpoint(document):
            made = model_analyzer.read_checkpoint(file, document)
            found.plain += made.rows
            found.left_out += made.left_out
        elif perf_analyzer.is_export(document):
            found.plain += perf_analyzer.read_export(file, document, told.model, told.batch_size)
        else:
            raise InputError(
                f"{file}: is neither a checkpoint of Model Analyzer, nor a profile export of "
                "perf_analyzer, nor a list of rows."
            )
        return
    is_list = kind in {".yaml", ".yml", ".json"}
    rows = list(importers.yaml_rows(file, text) if is_list else importers.csv_rows(file, text))
    header = list(rows[0].cells) if rows else []
    if told.columns is not None:
        found.plain += read_column_map(told.columns).plain(rows)
    elif model_analyzer.is_table(header):
        found.analyzer.append(rows)
    elif perf_analyzer.is_table(header):
        points, unknown = perf_analyzer.read_table(rows, told.model, told.batch_size)
        found.plain += points
        found.left_out += unknown
    else:
        found.plain += rows
