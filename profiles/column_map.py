"""Tables of any tool: a small YAML file maps their columns to those of a plain table.

    model: Modell                              # a column by its name
    throughput: {column: QPS}
    memory_mb: {column: gpu mem, unit: GiB}    # converted
    latency_p99_ms: {column: p99, unit: us}
    utilization_percent: {column: util, unit: fraction}
    device_type: {value: Tesla T4}             # the same in every row
    parameter.threads: {column: threads}

Columns that the map does not name are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from profiles.document import read_yaml
from profiles.errors import InputError
from profiles.importers import COLUMNS, PARAMETER, Row

MEMORY = {"B": 1e-6, "kB": 1e-3, "MB": 1.0, "GB": 1e3, "TB": 1e6}
MEMORY |= {"KiB": 1024e-6, "MiB": 1024**2 / 1e6, "GiB": 1024**3 / 1e6, "TiB": 1024**4 / 1e6}
TIME = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
UNITS: Mapping[str, Mapping[str, float]] = {  # by the end of a column's name: to its own unit
    "_mb": MEMORY,
    "_bytes": {unit: factor * 1e6 for unit, factor in MEMORY.items()},
    "_ms": TIME,
    "_us": {unit: factor * 1e3 for unit, factor in TIME.items()},
    "_percent": {"%": 1.0, "percent": 1.0, "fraction": 100.0},
    "_w": {"W": 1.0, "mW": 1e-3, "kW": 1e3},
    "throughput": {"1/s": 1.0, "1/min": 1 / 60, "1/h": 1 / 3600},
    "request_rate": {"1/s": 1.0, "1/min": 1 / 60, "1/h": 1 / 3600},
}
FIELDS = {"column", "unit", "value"}


@dataclass(frozen=True)
class _Source:
    column: str | None  # of the other tool's table; None: `value` in every row
    factor: float = 1.0  # to the plain column's unit
    value: Any = None


@dataclass(frozen=True)
class ColumnMap:
    """Where each plain column comes from."""

    path: Path
    sources: Mapping[str, _Source]

    def plain(self, rows: Iterable[Row]) -> list[Row]:
        """The rows with the plain table's columns.

        Raises InputError for a column that the table does not have.
        """
        listed = list(rows)
        known = dict.fromkeys(name for row in listed for name in row.cells)
        for name, source in self.sources.items():
            if listed and source.column is not None and source.column not in known:
                raise InputError(
                    f"{self.path}: {name}: the table has no column {source.column!r}. It has: "
                    f"{', '.join(known)}."
                )
        return [replace(row, cells=self._cells(row)) for row in listed]

    def _cells(self, row: Row) -> dict[str, Any]:
        return {
            name: source.value
            if source.column is None
            else _scaled(row.cells.get(source.column), source.factor)
            for name, source in self.sources.items()
        }


def _scaled(cell: Any, factor: float) -> Any:
    if factor == 1.0:
        return cell
    try:
        return float(str(cell).strip().removesuffix("%")) * factor
    except ValueError:
        return cell  # the table's reader names what is wrong with it


def read_column_map(path: Path) -> ColumnMap:
    """The map in a YAML file; raises InputError that names the field at fault."""
    document = read_yaml(path)
    if not isinstance(document, Mapping) or not document:
        raise InputError(f"{path}: expected a mapping, e.g. `throughput: {{column: QPS}}`.")
    return ColumnMap(path, {str(n): _source(path, str(n), e) for n, e in document.items()})


def _source(path: Path, name: str, entry: Any) -> _Source:
    if name not in COLUMNS and not name.startswith(PARAMETER):
        raise InputError(
            f"{path}: {name}: unknown column. Known columns: {', '.join(sorted(COLUMNS))}, "
            "parameter.KEY."
        )
    if isinstance(entry, str):
        return _Source(entry)
    if not isinstance(entry, Mapping) or not entry.keys() <= FIELDS:
        raise InputError(f"{path}: {name}: expected a column, or {{column: NAME, unit: ms}}.")
    if ("column" in entry) == ("value" in entry):
        raise InputError(f"{path}: {name}: give either column or value.")
    if "value" in entry:
        return _Source(None, value=entry["value"])
    return _Source(str(entry["column"]), _factor(path, name, entry.get("unit")))


def _factor(path: Path, name: str, unit: Any) -> float:
    if unit is None:
        return 1.0
    known = next((units for end, units in UNITS.items() if name.endswith(end)), {})
    if str(unit) not in known:
        units = ", ".join(known) or "none"
        raise InputError(f"{path}: {name}: unknown unit {unit!r}. Known units: {units}.")
    return known[str(unit)]
