"""Measurements from tables that other tools or people made.

A plain table (CSV, or a YAML list of mappings) has one row per measured point:

    model, throughput, device_type, memory_mb     (or memory_bytes); without memory a point is kept,
                                                  but cannot be placed
    batch_size, concurrency, request_rate         the client's load; 1 and 1 when not given
    utilization_percent, memory_utilization_percent, power_w, memory_cold_mb
    latency_mean_ms, latency_p50_ms, latency_p90_ms, latency_p95_ms, latency_p99_ms, latency_max_ms
    server_queue_ms, server_compute_input_ms, server_compute_infer_ms, server_compute_output_ms
    cpu_cores, host_memory_mb

and how the model was configured, as far as that differs from its own configuration:

    instance_count, max_batch_size, kind          KIND_GPU, KIND_CPU, ...
    dynamic_batching (yes), max_queue_delay_us, preferred_batch_sizes (2 4 8)
    parameter.KEY                                 a backend parameter
    members                                       of an ensemble: [{model: det, instance_count: 2}]

A row whose model is `(server)` is Triton alone on that device type. Memory, utilization and power
of the other rows include the server's, as a device's own counters do: what the server's row gives
is subtracted, and paid once per device when models are placed.

A row that makes no sense (figures that no device could show, percentiles that fall with their
rank, a point that is there already) is left out, and so is a column that is not known; each is
told in the table's notes. `strict` refuses the file instead. What is left out is never guessed: a
placement on it would be wrong without a word.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

from profiles.baseline import above
from profiles.counted import counted
from profiles.device import MOST_BYTES
from profiles.document import converter, parse_yaml, read_text, structure
from profiles.environment import Environment
from profiles.errors import InputError
from profiles.measurement import (
    Baseline,
    HostUsage,
    Latency,
    LoadPoint,
    Measurement,
    ServerTime,
    Usage,
)
from profiles.model_name import check_model_name, unfit_for_path
from profiles.row_document import point_key
from profiles.variant import DynamicBatching, InstanceKind, Variant

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
    "max_queue_delay_us": MOST_INT32,
    "server_queue_ms": MOST_MS,
    "server_compute_input_ms": MOST_MS,
    "server_compute_infer_ms": MOST_MS,
    "server_compute_output_ms": MOST_MS,
}
WORDS = ("kind", "dynamic_batching", "preferred_batch_sizes", "members")  # columns that are none
COLUMNS = frozenset({"model", "device_type", *MOST, *WORDS})
PARAMETER = "parameter."  # columns of backend parameters begin so
LATENCIES = tuple(f"latency_{name}_ms" for name in ("mean", "p50", "p90", "p95", "p99", "max"))
KINDS = get_args(InstanceKind)
YES = {"yes", "true", "1", "on", "enabled"}
NO = {"", "no", "false", "0", "off", "disabled"}
MOST_TOLD = 5  # faults in one message
_members = converter()


@dataclass(frozen=True)
class Table:
    """What a file told."""

    measurements: tuple[Measurement, ...]
    baselines: tuple[Baseline, ...]
    notes: tuple[str, ...] = ()  # what was left out of it, and why


@dataclass(frozen=True)
class Row:
    """A row in the plain table's columns."""

    where: str  # file and line, for messages
    cells: Mapping[str, Any]
    source: str = ""  # the program that measured it
    fault: str = ""  # why it cannot be read at all

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


def read_table(path: Path, *, strict: bool = False, device_type: str | None = None) -> Table:
    """The measurements and baselines in a plain CSV or YAML table.

    `device_type` is that of rows which name none. Raises InputError that names the file, the row
    and the column at fault: where nothing can be read, or, with `strict`, where anything cannot.
    """
    text = read_text(path)
    is_yaml = path.suffix.lower() in {".yaml", ".yml", ".json"}
    rows = list(yaml_rows(path, text) if is_yaml else csv_rows(path, text))
    return plain_table(rows, str(path), strict=strict, device_type=device_type)


def plain_table(
    rows: Sequence[Row], source: str, *, strict: bool = False, device_type: str | None = None
) -> Table:
    """What rows with the plain columns tell; raises InputError as `read_table` does."""
    if not rows:
        raise InputError(f"{source}: has no rows.")
    notes = _Notes(strict)
    whole = [row for row in rows if not row.fault]
    given = dict.fromkeys(column for row in whole for column in row.cells)
    for column in given:
        if column not in COLUMNS and not column.startswith(PARAMETER):
            row = next(row for row in whole if column in row.cells)
            notes.say(f"{row.where}: {_unknown(column)}", "The column is not read.")
    if whole and "model" not in given:
        raise InputError(f"{rows[0].where}: column 'model' is missing.")
    rows = [_with_device(row, device_type) for row in rows]
    return table_of(rows, source, notes)


def table_of(rows: Iterable[Row], source: str, notes: _Notes) -> Table:
    """The rows as measurements, less what the server's rows tell of it."""
    baselines: dict[str, Baseline] = {}
    measurements: list[Measurement] = []
    seen: dict[str, str] = {}
    models: list[Row] = []
    for row in rows:
        try:
            if row.fault:
                raise InputError(f"{row.where}: {row.fault}")
            if row.text("model") != SERVER:
                models.append(row)
                continue
            kind = row.text("device_type")
            _check_name(row, "device_type", kind)
            if kind in baselines:
                raise InputError(f"{row.where}: a second {SERVER} row for {kind}.")
            baselines[kind] = _baseline(row, kind)
        except InputError as error:
            notes.say(str(error), "The row is left out.")
    for row in models:
        try:
            measurement = _measurement(row, baselines, notes)
            first = seen.setdefault(point_key(measurement), row.where)
            if first != row.where:
                raise InputError(
                    f"{row.where}: the same model, configuration, load and device type as {first}; "
                    "keep the one that counts."
                )
            measurements.append(measurement)
        except InputError as error:
            notes.say(str(error), "The row is left out.")
    notes.say_gathered()
    if not measurements and not baselines:
        faults = notes.faults or [f"{source}: has no rows."]
        more = len(faults) - MOST_TOLD
        told = faults[:MOST_TOLD] + ([f"... and {more} more."] if more > 0 else [])
        raise InputError("\n".join(told))
    return Table(tuple(measurements), tuple(baselines.values()), tuple(notes.told))


class _Notes:
    """What is left out of a table, in words; with `strict` that is an error."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.faults: list[str] = []
        self.told: list[str] = []
        self.gathered: dict[tuple[str, str], list[str]] = {}

    def say(self, fault: str, what_then: str) -> None:
        if self.strict:
            raise InputError(fault)
        self.faults.append(fault)
        self.told.append(f"{fault} {what_then}")

    def gather(self, where: str, fault: str, what_then: str) -> None:
        """What many rows may lack, to be said once."""
        if self.strict:
            raise InputError(f"{where}: {fault}.")
        self.gathered.setdefault((fault, what_then), []).append(where)

    def say_gathered(self) -> None:
        for (fault, what_then), rows in self.gathered.items():
            more = f", in {counted(len(rows) - 1, 'other row')}, too" if len(rows) > 1 else ""
            self.told.append(f"{rows[0]}: {fault}{more}. {what_then}")


def _with_device(row: Row, device_type: str | None) -> Row:
    if device_type is None or str(row.cells.get("device_type") or "").strip():
        return row
    return replace(row, cells={**row.cells, "device_type": device_type})


def csv_rows(path: Path, text: str) -> Iterable[Row]:
    """The rows of a CSV text, by the names in its header; raises InputError where it is none."""
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
            for column in header:
                if header.count(column) > 1:
                    raise InputError(f"{where}: duplicate column {column!r}.")
            continue
        if len(cells) != len(header):
            count = f"{len(cells)} cells, the header has {len(header)}."
            yield Row(where, dict.fromkeys(header), fault=count)
            continue
        yield Row(where, dict(zip(header, cells, strict=True)))
    if header is None:
        raise InputError(f"{path}: is empty.")


def _cells(path: Path, reader: Any) -> Iterable[list[str]]:
    try:
        yield from reader
    except csv.Error as error:  # a cell of more than 128 kB, say
        raise InputError(
            f"{path} line {reader.line_num}: is not CSV ({error}). Is a quotation mark missing?"
        ) from None


def yaml_rows(path: Path, text: str) -> Iterable[Row]:
    """The rows of a YAML list of mappings; raises InputError where it is none."""
    document = parse_yaml(text, str(path))
    if not isinstance(document, list):
        raise InputError(f"{path}: expected a list of rows.")
    for number, cells in enumerate(document, start=1):
        where = f"{path} row {number}"
        if not isinstance(cells, dict):
            raise InputError(f"{where}: expected a mapping, e.g. `model: bert`.")
        yield Row(where, {str(key): value for key, value in cells.items()})


def _unknown(column: str) -> str:
    return f"unknown column {column!r}. Known columns: {', '.join(sorted(COLUMNS))}, parameter.KEY."


def _memory(row: Row) -> int | None:
    """Bytes of the device in use, the server's part too; None where the row does not tell."""
    whole = row.number("memory_bytes")
    if whole is not None:
        return int(whole)
    megabytes = row.number("memory_mb")
    return None if megabytes is None else round(megabytes * MB)


def _baseline(row: Row, kind: str) -> Baseline:
    memory = _memory(row)
    if memory is None:
        raise InputError(f"{row.where}: memory_mb is missing.")
    return Baseline(
        device_type=kind,
        environment=Environment(generator=row.source),
        memory_bytes=memory,
        utilization_percent=row.number("utilization_percent") or 0.0,
        memory_utilization_percent=row.number("memory_utilization_percent"),
        power_w=row.number("power_w"),
        host=_host(row, None),
    )


def _measurement(row: Row, baselines: Mapping[str, Baseline], notes: _Notes) -> Measurement:
    model = row.text("model")
    check_model_name(model, f"{row.where}: model")
    if not str(row.cells.get("device_type") or "").strip():
        raise InputError(
            f"{row.where}: device_type is missing; --device-type names that of the whole file."
        )
    device_type = row.text("device_type")
    _check_name(row, "device_type", device_type)
    throughput = row.number("throughput")
    if throughput is None:
        raise InputError(f"{row.where}: throughput is missing.")
    if not throughput:
        raise InputError(f"{row.where}: throughput must be above zero.")
    server = baselines.get(device_type)
    load = _load(row)
    latency, kept = _latency(row, notes)
    return Measurement(
        variant=variant_of(row),
        load=load,
        device_type=device_type,
        environment=Environment(generator=row.source),
        throughput=throughput,
        latency=latency,
        server_time=_server_time(row),
        usage=_usage(row, server, notes),
        host=_host(row, server.host if server else None),
        extra=kept,
    )


def _usage(row: Row, server: Baseline | None, notes: _Notes) -> Usage | None:
    whole = _memory(row)
    if whole is None:
        notes.gather(
            row.where,
            "memory_mb is missing",
            "Kept without what it needs of the device: `place` cannot use it.",
        )
        return None
    memory = whole - (server.memory_bytes if server else 0)
    if memory < 0:
        raise InputError(f"{row.where}: memory is less than the server's own.")
    cold = row.number("memory_cold_mb")
    cold_bytes = (
        memory if cold is None else round(cold * MB) - (server.memory_bytes if server else 0)
    )
    if cold_bytes > memory:
        raise InputError(f"{row.where}: memory_cold_mb is more than the memory under load.")
    return Usage(
        memory_cold_bytes=max(0, cold_bytes),
        memory_hot_bytes=memory,
        utilization_percent=above(
            row.number("utilization_percent"), server.utilization_percent if server else None
        ),
        memory_utilization_percent=above(
            row.number("memory_utilization_percent"),
            server.memory_utilization_percent if server else None,
        ),
        power_w=above(row.number("power_w"), server.power_w if server else None),
    )


def _load(row: Row) -> LoadPoint:
    rate = row.number("request_rate")
    if rate is not None and row.number("concurrency") is not None:
        raise InputError(f"{row.where}: concurrency and request_rate: a load is one or the other.")
    if rate == 0:
        raise InputError(f"{row.where}: request_rate must be above zero.")
    return LoadPoint(
        batch_size=row.whole("batch_size") or 1,
        concurrency=None if rate is not None else row.whole("concurrency") or 1,
        request_rate=rate,
    )


def variant_of(row: Row) -> Variant:
    """How the row's model was configured; raises InputError that names the column at fault."""
    kind = str(row.cells.get("kind") or "").strip().upper()
    if kind and kind not in KINDS:
        raise InputError(f"{row.where}: kind: {_short(kind)} is none of {', '.join(KINDS)}.")
    parameters = {
        column.removeprefix(PARAMETER): str(value).strip()
        for column, value in row.cells.items()
        if column.startswith(PARAMETER) and value is not None and str(value).strip()
    }
    return Variant(
        row.text("model"),
        max_batch_size=row.whole("max_batch_size"),
        instance_count=row.whole("instance_count"),
        kind=kind or None,  # type: ignore[arg-type]  # it is one of KINDS
        dynamic_batching=_batching(row),
        parameters=tuple(sorted(parameters.items())),
        members=_members_of(row),
    )


def _batching(row: Row) -> DynamicBatching | None:
    said = str(row.cells.get("dynamic_batching") or "").strip().lower()
    if said not in YES | NO:
        raise InputError(f"{row.where}: dynamic_batching: expected yes or no, not {_short(said)}.")
    delay = row.number("max_queue_delay_us")
    sizes = row.cells.get("preferred_batch_sizes")
    words = sizes if isinstance(sizes, list) else str(sizes or "").replace(",", " ").split()
    try:
        preferred = tuple(int(word) for word in words)
    except (TypeError, ValueError):
        preferred = (0,)
    if any(not 0 < size <= MOST_INT32 for size in preferred):
        raise InputError(
            f"{row.where}: preferred_batch_sizes: expected integers such as 2 4 8, not "
            f"{_short(sizes)}."
        )
    if said in YES or delay is not None or preferred:
        return DynamicBatching(preferred, int(delay or 0))
    return None


def _members_of(row: Row) -> tuple[Variant, ...]:
    value = row.cells.get("members")
    where = f"{row.where}: members"
    if value is None or value == "":
        return ()
    document = parse_yaml(value, where) if isinstance(value, str) else value
    return structure(_members, document, tuple[Variant, ...], where)


def _server_time(row: Row) -> ServerTime | None:
    names = ("queue", "compute_input", "compute_infer", "compute_output")
    times = [row.number(f"server_{name}_ms") for name in names]
    return None if all(time is None for time in times) else ServerTime(*(t or 0.0 for t in times))


def _latency(row: Row, notes: _Notes) -> tuple[Latency | None, dict[str, float]]:
    """The latencies; without a 99th percentile, those that there are, by their column."""
    p99 = row.number("latency_p99_ms")
    mean, p50, p90, p95 = (row.number(name) for name in LATENCIES[:4])
    if p99 is None:
        given = {name: figure for name in LATENCIES if (figure := row.number(name)) is not None}
        if given:
            notes.gather(
                row.where,
                "latency_p99_ms is missing beside the other latencies",
                f"Kept: {', '.join(given)}; no latency limit can be checked by them.",
            )
        return None, given
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
    return (
        Latency(
            mean_ms=p50 if mean is None else mean,
            p50_ms=p50,
            p90_ms=p90,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=most,
        ),
        {},
    )


def _check_name(row: Row, column: str, name: str) -> None:
    why = unfit_for_path(name.replace("/", "-"))  # `A100/80GB` is a name like any other
    if why is not None:
        raise InputError(f"{row.where}: {column}: {_short(name)} cannot be a name: {why}.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _host(row: Row, server: HostUsage | None) -> HostUsage | None:
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
