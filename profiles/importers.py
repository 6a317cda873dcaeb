"""Measurements from tables that other tools or people made.

A plain table (CSV, or a YAML list of mappings) has one row per measured point:

    model, device_type, throughput, memory_mb     needed (memory_mb, or memory_bytes)
    batch_size, concurrency, request_rate         the client's load; 1 and 1 when not given
    utilization_percent, memory_utilization_percent, power_w, memory_cold_mb
    latency_mean_ms, latency_p50_ms, latency_p90_ms, latency_p95_ms, latency_p99_ms
    instance_count, max_batch_size, cpu_cores, host_memory_mb

A row whose model is `(server)` is Triton alone on that device type. Memory, utilization and power
of the other rows include the server's, as a device's own counters do: what the server's row gives
is subtracted, and paid once per device when models are placed.

Figures that no device could show, percentiles that fall with their rank and rows of the same point
are refused: such a table has a slip in it, and a placement on it would be wrong without a word.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from profiles.baseline import above
from profiles.device import MOST_BYTES
from profiles.document import parse_yaml, read_text
from profiles.environment import Environment
from profiles.errors import InputError
from profiles.measurement import Baseline, HostUsage, Latency, LoadPoint, Measurement, Usage
from profiles.model_name import check_model_name, unfit_for_path
from profiles.row_document import point_key
from profiles.variant import Variant

SERVER = "(server)"
MB = 1_000_000
MOST_MB = MOST_BYTES / MB
MOST_INT32 = 2**31 - 1  # Triton's configuration has no larger whole number
MOST_MS = 1e9  # eleven days
MOST = {  # by column of figures; more is a slip, or another unit
    "throughput": 1e9,
    "memory_mb": MOST_MB,
    "memory_bytes": float(MOST_BYTES),
    "memory_cold_mb": MOST_MB,
    "batch_size": MOST_INT32,
    "concurrency": 1e6,
    "request_rate": 1e9,
    "utilization_percent": 100.0,
    "memory_utilization_percent": 100.0,
    "power_w": 1e6,
    "latency_mean_ms": MOST_MS,
    "latency_p50_ms": MOST_MS,
    "latency_p90_ms": MOST_MS,
    "latency_p95_ms": MOST_MS,
    "latency_p99_ms": MOST_MS,
    "latency_max_ms": MOST_MS,
    "instance_count": MOST_INT32,
    "max_batch_size": MOST_INT32,
    "cpu_cores": 1e5,
    "host_memory_mb": MOST_MB,
}
COLUMNS = frozenset({"model", "device_type", *MOST})


@dataclass(frozen=True)
class Table:
    """What a file told."""

    measurements: tuple[Measurement, ...]
    baselines: tuple[Baseline, ...]


@dataclass(frozen=True)
class _Row:
    where: str  # file and line, for messages
    cells: Mapping[str, Any]

    def text(self, column: str) -> str:
        value = self.cells.get(column)
        if isinstance(value, list | dict | bool):
            raise InputError(f"{self.where}: {column}: expected a name, not {value!r}.")
        text = "" if value is None else str(value).strip()
        if not text:
            raise InputError(f"{self.where}: {column} is missing.")
        return text

    def number(self, column: str, *, least: float = 0.0) -> float | None:
        value = self.cells.get(column)
        if value is None or str(value).strip() == "":
            return None
        try:
            number = float(str(value).strip().removesuffix("%"))
        except ValueError:
            raise InputError(f"{self.where}: {column}: {_short(value)} is not a number.") from None
        if number > MOST[column]:
            raise InputError(
                f"{self.where}: {column}: {_short(value)} is more than any device shows; the most "
                f"that is taken is {MOST[column]:g}. Is it in the unit that the column's name says?"
            )
        if not number >= least:  # NaN is not
            raise InputError(
                f"{self.where}: {column}: must be at least {least:g}, not {_short(value)}."
            )
        return number

    def whole(self, column: str) -> int | None:
        number = self.number(column, least=1)
        if number is not None and number != int(number):
            raise InputError(f"{self.where}: {column}: {number:g} is not an integer.")
        return None if number is None else int(number)


def read_table(path: Path) -> Table:
    """The measurements and baselines in a plain CSV or YAML table.

    Raises InputError that names the file, the row and the column at fault.
    """
    text = read_text(path)
    is_yaml = path.suffix.lower() in {".yaml", ".yml", ".json"}
    rows = list(_yaml_rows(path, text) if is_yaml else _csv_rows(path, text))
    if not rows:
        raise InputError(f"{path}: has no rows.")
    baselines: dict[str, Baseline] = {}
    for row in rows:
        if row.text("model") == SERVER:
            kind = row.text("device_type")
            _check_name(row, "device_type", kind)
            if kind in baselines:
                raise InputError(f"{row.where}: a second {SERVER} row for {kind}.")
            baselines[kind] = _baseline(row, kind)
    measurements: list[Measurement] = []
    seen: dict[str, str] = {}
    for row in rows:
        if row.text("model") == SERVER:
            continue
        measurement = _measurement(row, baselines.get(row.text("device_type")))
        first = seen.setdefault(point_key(measurement), row.where)
        if first != row.where:
            raise InputError(
                f"{row.where}: the same model, configuration, load and device type as {first}; "
                "keep the one that counts."
            )
        measurements.append(measurement)
    return Table(tuple(measurements), tuple(baselines.values()))


def _csv_rows(path: Path, text: str) -> Iterable[_Row]:
    # Comments are blanked, not dropped: line numbers stay the file's own.
    lines = ["" if line.startswith("#") else line for line in text.split("\n")]
    reader = csv.reader(io.StringIO("\n".join(lines), newline=""))
    header: list[str] | None = None
    for cells in _cells(path, reader):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path} line {reader.line_num}"
        if header is None:
            header = [cell.strip() for cell in cells]
            _check_columns(where, header)
            continue
        if len(cells) != len(header):
            raise InputError(f"{where}: {len(cells)} cells, the header has {len(header)}.")
        yield _Row(where, dict(zip(header, cells, strict=True)))
    if header is None:
        raise InputError(f"{path}: is empty.")


def _cells(path: Path, reader: Any) -> Iterable[list[str]]:
    try:
        yield from reader
    except csv.Error as error:  # a cell of more than 128 kB, say
        raise InputError(
            f"{path} line {reader.line_num}: is not CSV ({error}). Is a quotation mark missing?"
        ) from None


def _yaml_rows(path: Path, text: str) -> Iterable[_Row]:
    document = parse_yaml(text, str(path))
    if not isinstance(document, list):
        raise InputError(f"{path}: expected a list of rows.")
    for number, cells in enumerate(document, start=1):
        where = f"{path} row {number}"
        if not isinstance(cells, dict):
            raise InputError(f"{where}: expected a mapping, e.g. `model: bert`.")
        _check_columns(where, [str(key) for key in cells], whole=False)
        yield _Row(where, {str(key): value for key, value in cells.items()})


def _check_columns(where: str, header: list[str], *, whole: bool = True) -> None:
    for column in header:
        if column not in COLUMNS:
            raise InputError(
                f"{where}: unknown column {column!r}. Known columns: {', '.join(sorted(COLUMNS))}."
            )
        if header.count(column) > 1:
            raise InputError(f"{where}: duplicate column {column!r}.")
    if whole:
        for column in ("model", "device_type", "throughput"):
            if column not in header:
                raise InputError(f"{where}: column {column!r} is missing.")


def _memory(row: _Row) -> int:
    whole = row.number("memory_bytes")
    megabytes = row.number("memory_mb")
    if whole is None and megabytes is None:
        raise InputError(f"{row.where}: memory_mb is missing.")
    return int(whole) if whole is not None else round((megabytes or 0.0) * MB)


def _baseline(row: _Row, kind: str) -> Baseline:
    return Baseline(
        device_type=kind,
        environment=Environment(),
        memory_bytes=_memory(row),
        utilization_percent=row.number("utilization_percent") or 0.0,
        memory_utilization_percent=row.number("memory_utilization_percent"),
        power_w=row.number("power_w"),
        host=_host(row, None),
    )


def _measurement(row: _Row, server: Baseline | None) -> Measurement:
    model, device_type = row.text("model"), row.text("device_type")
    check_model_name(model, f"{row.where}: model")
    _check_name(row, "device_type", device_type)
    throughput = row.number("throughput")
    if not throughput:
        raise InputError(f"{row.where}: throughput must be above zero.")
    memory = _memory(row) - (server.memory_bytes if server else 0)
    if memory < 0:
        raise InputError(f"{row.where}: memory is less than the server's own.")
    cold = row.number("memory_cold_mb")
    cold_bytes = (
        memory if cold is None else round(cold * MB) - (server.memory_bytes if server else 0)
    )
    if cold_bytes > memory:
        raise InputError(f"{row.where}: memory_cold_mb is more than the memory under load.")
    rate = row.number("request_rate")
    if rate is not None and row.number("concurrency") is not None:
        raise InputError(f"{row.where}: concurrency and request_rate: a load is one or the other.")
    if rate == 0:
        raise InputError(f"{row.where}: request_rate must be above zero.")
    memory_utilization = row.number("memory_utilization_percent")
    power = row.number("power_w")
    return Measurement(
        variant=Variant(
            model,
            max_batch_size=row.whole("max_batch_size"),
            instance_count=row.whole("instance_count"),
        ),
        load=LoadPoint(
            batch_size=row.whole("batch_size") or 1,
            concurrency=None if rate is not None else row.whole("concurrency") or 1,
            request_rate=rate,
        ),
        device_type=device_type,
        environment=Environment(),
        throughput=throughput,
        latency=_latency(row),
        usage=Usage(
            memory_cold_bytes=max(0, cold_bytes),
            memory_hot_bytes=memory,
            utilization_percent=above(
                row.number("utilization_percent"), server.utilization_percent if server else None
            ),
            memory_utilization_percent=above(
                memory_utilization, server.memory_utilization_percent if server else None
            ),
            power_w=above(power, server.power_w if server else None),
        ),
        host=_host(row, server.host if server else None),
    )


def _latency(row: _Row) -> Latency | None:
    names = ("latency_mean_ms", "latency_p50_ms", "latency_p90_ms", "latency_p95_ms")
    p99 = row.number("latency_p99_ms")
    mean, p50, p90, p95 = (row.number(name) for name in names)
    if p99 is None:
        if any(figure is not None for figure in (mean, p50, p90, p95)):
            raise InputError(f"{row.where}: latency_p99_ms is missing beside the other latencies.")
        return None
    # A percentile that is not given is no worse than the next one above.
    p95 = p99 if p95 is None else p95
    p90 = p95 if p90 is None else p90
    p50 = p90 if p50 is None else p50
    most = row.number("latency_max_ms")
    most = p99 if most is None else most
    ranked = {"p50": p50, "p90": p90, "p95": p95, "p99": p99, "max": most}
    for (name, figure), (next_name, next_figure) in pairwise(ranked.items()):
        if figure > next_figure:
            raise InputError(
                f"{row.where}: latency_{name}_ms is {figure:g}, more than latency_{next_name}_ms, "
                f"which is {next_figure:g}: a percentile does not fall with its rank."
            )
    if mean is not None and row.number("latency_max_ms") is not None and mean > most:
        raise InputError(f"{row.where}: latency_mean_ms is more than latency_max_ms.")
    return Latency(
        mean_ms=p50 if mean is None else mean,
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        max_ms=most,
    )


def _check_name(row: _Row, column: str, name: str) -> None:
    why = unfit_for_path(name.replace("/", "-"))  # `A100/80GB` is a name like any other
    if why is not None:
        raise InputError(f"{row.where}: {column}: {_short(name)} cannot be a name: {why}.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _host(row: _Row, server: HostUsage | None) -> HostUsage | None:
    cores = row.number("cpu_cores")
    memory = row.number("host_memory_mb")
    if cores is None and memory is None:
        return None
    return HostUsage(
        cpu_cores=above(cores, server.cpu_cores if server else None) or 0.0,
        system_share=0.0,
        memory_bytes=round(
            above((memory or 0.0) * MB, server.memory_bytes if server else None) or 0.0
        ),
    )
