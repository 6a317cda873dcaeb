"""What NVIDIA's Model Analyzer wrote: its tables, checkpoints and repository of variants.

Its tables have the columns that `inference_output_fields` and `gpu_output_fields` chose, in any
order; its figures of the GPU are the device's with the server in it, and `metrics-server-only.csv`
has the server alone. Rows are handed on in the columns of the plain table (`importers.py`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from profiles import model_config
from profiles.errors import InputError
from profiles.importers import PARAMETER, SERVER, Row, variant_of
from profiles.model_config import ModelConfig
from profiles.variant import Variant

SOURCE = "Model Analyzer"
OWN = re.compile(r"^(?P<model>.+)_config_(?P<which>default|\d+)$")  # its names of variants
ITS_SERVER = "triton-server"  # the model in rows of the server alone
INFERENCE, GPU, SERVER_ONLY = (
    "metrics-model-inference.csv",
    "metrics-model-gpu.csv",
    "metrics-server-only.csv",
)
LOAD = {"Batch": "batch_size", "Concurrency": "concurrency", "Request Rate": "request_rate"}
FIGURES = {  # by column of a table, without `Max` or `Average` before it
    "Throughput (infer/sec)": "throughput",
    "Avg Latency (ms)": "latency_mean_ms",
    "p90 Latency (ms)": "latency_p90_ms",
    "p95 Latency (ms)": "latency_p95_ms",
    "p99 Latency (ms)": "latency_p99_ms",
    "Server Queue (ms)": "server_queue_ms",
    "Server Compute Input (ms)": "server_compute_input_ms",
    "Server Compute Infer (ms)": "server_compute_infer_ms",
    "Server Compute Output (ms)": "server_compute_output_ms",
    "RAM Usage (MB)": "host_memory_mb",
}
OF_GPU = {
    "GPU Memory Usage (MB)": "memory_mb",
    "GPU Utilization (%)": "utilization_percent",
    "GPU Power Usage (W)": "power_w",
}
TAGS = {  # the same in a checkpoint
    "perf_throughput": "throughput",
    "perf_latency_avg": "latency_mean_ms",
    "perf_latency_p90": "latency_p90_ms",
    "perf_latency_p95": "latency_p95_ms",
    "perf_latency_p99": "latency_p99_ms",
    "perf_server_queue": "server_queue_ms",
    "perf_server_compute_input": "server_compute_input_ms",
    "perf_server_compute_infer": "server_compute_infer_ms",
    "perf_server_compute_output": "server_compute_output_ms",
    "cpu_used_ram": "host_memory_mb",
    "gpu_used_memory": "memory_mb",
    "gpu_utilization": "utilization_percent",
    "gpu_power_usage": "power_w",
}
OF_VARIANT = {"Model Config Path", "Instance Group", "Max Batch Size"}
NOT_NEEDED = {  # known, and of no use here
    *("Model", "GPU UUID", "Satisfies Constraints", "Available RAM (MB)", "RAM Available (MB)"),
    *("GPU Memory Available (MB)", "GPU Total Memory (MB)", "Total GPU Memory (MB)"),
    *("Client Send/Recv (ms)", "Client Response Wait (ms)"),
}
BACKEND_PARAMETER = "backend_parameter/"
Configs = Mapping[str, Mapping[str, Any]]  # by name of a variant: cells that tell it


@dataclass
class Rows:
    """Rows in the plain table's columns, and what was left out."""

    rows: list[Row] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def is_table(header: Iterable[str]) -> bool:
    """Whether a CSV with such a header is one of its tables."""
    columns = {_plain_name(column) for column in header}
    return "Model" in columns and bool(columns & {*LOAD, *FIGURES, *OF_GPU, *OF_VARIANT})


def is_checkpoint(document: Any) -> bool:
    """Whether a JSON document is one of its checkpoints."""
    return isinstance(document, Mapping) and "ResultManager.results" in document


def read_tables(tables: Sequence[Sequence[Row]], configs: Configs) -> Rows:
    """The rows of its tables, the GPU's figures beside those of inference.

    Raises InputError where the throughput of what the GPU's table tells is missing.
    """
    made = Rows()
    inference: list[Row] = []
    gpu: list[Row] = []
    for table in tables:
        columns = list(dict.fromkeys(column for row in table for column in row.cells))
        for column in columns:
            if not _known(column):
                where = table[0].where
                made.left_out.append(f"{where}: unknown column {column!r}. It is not read.")
        for row in table:
            cells = {_plain_name(column): _cell(value) for column, value in row.cells.items()}
            if row.fault:
                made.rows.append(row)
            elif cells.get("Model") == ITS_SERVER:
                made.rows.append(_made(row, {"model": SERVER, **_figures(cells, OF_GPU)}))
            elif "Throughput (infer/sec)" in cells:
                inference.append(replace(row, cells=cells))
            else:
                gpu.append(replace(row, cells=cells))
    if gpu and not inference:
        raise InputError(
            f"{gpu[0].where}: has no column 'Throughput (infer/sec)': import it together with "
            f"{INFERENCE}."
        )
    made.rows = _one_server(made.rows)
    shared = ("Model", *LOAD, *sorted(OF_VARIANT))
    common = [
        name for name in shared if gpu and name in gpu[0].cells and name in inference[0].cells
    ]
    by_point: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in gpu:
        by_point[tuple(row.cells[name] for name in common)].append(row)
    for row in inference:
        beside = by_point.pop(tuple(row.cells.get(name) for name in common), [])
        _point(row, beside, configs, made)
    for rows in by_point.values():
        made.left_out += [
            f"{row.where}: no row of {INFERENCE} is of the same point. The row is left out."
            for row in rows
        ]
    return made


def read_checkpoint(path: Path, document: Mapping[str, Any]) -> Rows:
    """The measurements of a checkpoint; raises InputError where it is not built as one."""
    from google.protobuf.json_format import ParseError

    made = Rows()
    try:
        results = document["ResultManager.results"]["_results"]
        server = document.get("ResultManager.server_only_data") or {}
        made.rows += [
            Row(f"{path}: server on {uuid}", {"model": SERVER, **_tags(records)}, SOURCE)
            for uuid, records in server.items()
        ]
        made.rows = _one_server(made.rows)
        for model, variants in results.items():
            for name, (run, measured) in variants.items():
                configs = [one["_model_config_variant"] for one in run["_model_run_configs"]]
                members = run.get("_composing_config_variants") or []
                known = {one["variant_name"]: one["model_config"] for one in (*configs, *members)}
                told = config_cells(
                    {n: model_config.from_json(config) for n, config in known.items()}
                )
                own = dict(told.get(name, {}))
                if members:
                    own["members"] = [
                        _member(one["variant_name"], told, str(one["model_config"].get("name")))
                        for one in members
                    ]
                for number, one in enumerate(measured.values(), start=1):
                    where = f"{path}: {name} measurement {number}"
                    _checkpoint_point(where, model, one, own, made)
    except (KeyError, TypeError, ValueError, AttributeError, ParseError) as error:
        raise InputError(
            f"{path}: is no checkpoint of Model Analyzer ({type(error).__name__}: {error})."
        ) from None
    return made


def _checkpoint_point(
    where: str, model: str, one: Mapping[str, Any], own: Mapping[str, Any], made: Rows
) -> None:
    parts = one["_model_config_measurements"]
    if len(parts) != 1:
        made.left_out.append(f"{where}: {len(parts)} models at once. It is left out.")
        return
    load = parts[0]["_model_specific_pa_params"]
    gpus = one.get("_gpu_data") or {}
    if len(gpus) > 1:
        made.left_out.append(f"{where}: {_several(len(gpus))} It is left out.")
        return
    cells = {
        "model": model,
        "batch_size": load.get("batch-size"),
        "request_rate": load.get("request-rate-range"),
        "concurrency": None
        if load.get("request-rate-range") is not None
        else load.get("concurrency-range"),
        **own,
        **_tags(parts[0]["_non_gpu_data"]),
    }
    for records in gpus.values():
        cells |= _tags(records)
    made.rows.append(Row(where, cells, SOURCE))


def _tags(records: Iterable[Any]) -> dict[str, Any]:
    return {TAGS[tag]: record["_value"] for tag, record in records if tag in TAGS}


def read_variants(folder: Path) -> dict[str, dict[str, Any]]:
    """The variants in its output repository by name, as cells of the plain table.

    A directory `x_config_0` there holds the configuration of a variant of the model x, under the
    name of the directory or of the model. Raises InputError where there is none.
    """
    files = sorted(folder.glob("*/config.pbtxt"))
    configs = {file.parent.name: file for file in files if OWN.match(file.parent.name)}
    if not configs:
        raise InputError(
            f"{folder}: has no variants of Model Analyzer, such as x_config_0/config.pbtxt."
        )
    return config_cells({name: model_config.read(file) for name, file in configs.items()})


def variants_by_model(folder: Path) -> dict[str, list[Variant]]:
    """The variants in its output repository, by model; raises InputError as `read_variants`."""
    found: dict[str, list[Variant]] = {}
    for name, cells in read_variants(folder).items():
        match = OWN.match(name)
        assert match is not None
        row = Row(str(folder / name), {"model": match["model"], **cells})
        found.setdefault(match["model"], []).append(variant_of(row))
    return found


def config_cells(configs: Mapping[str, ModelConfig]) -> dict[str, dict[str, Any]]:
    """By variant: how its configuration differs from the model's own, in plain columns.

    Where the model's own (`x_config_default`) is not there, everything that Model Analyzer varies
    is told.
    """
    found = {}
    for name, config in configs.items():
        match = OWN.match(name)
        if match is not None and match["which"] == "default":
            found[name] = dict[str, Any]()
            continue
        cells = _settings(config)
        default = configs.get(f"{match['model']}_config_default") if match else None
        if default is not None:
            own = _settings(default)
            cells = {key: value for key, value in cells.items() if own.get(key) != value}
        found[name] = cells
    return found


def _settings(config: ModelConfig) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    if config.max_batch_size:
        cells["max_batch_size"] = config.max_batch_size
    groups = config.instance_group
    if groups:
        cells["instance_count"] = sum(max(1, group.count) for group in groups)
        kinds = {type(group).Kind.Name(group.kind) for group in groups}
        if len(kinds) == 1:
            cells["kind"] = kinds.pop()
    if config.HasField("dynamic_batching"):
        batching = config.dynamic_batching
        cells["dynamic_batching"] = "yes"
        cells["max_queue_delay_us"] = batching.max_queue_delay_microseconds
        cells["preferred_batch_sizes"] = list(batching.preferred_batch_size)
    for key in config.parameters:
        cells[f"{PARAMETER}{key}"] = config.parameters[key].string_value
    return cells


def _point(row: Row, gpus: Sequence[Row], configs: Configs, made: Rows) -> None:
    """A row of inference with the GPU's figures beside it."""
    uuids = {gpu.cells.get("GPU UUID") for gpu in gpus}
    if len(uuids) > 1:
        made.left_out.append(f"{row.where}: {_several(len(uuids))} The row is left out.")
        return
    if len(gpus) > 1:
        made.left_out.append(
            f"{row.where}: {len(gpus)} rows of the GPU's table may be of this point; their figures "
            "are not taken."
        )
        gpus = ()
    model = str(row.cells.get("Model") or "")
    if "," in model:
        made.left_out.append(f"{row.where}: several models at once ({model}). It is left out.")
        return
    cells: dict[str, Any] = {"model": model, **_figures(row.cells, FIGURES)}
    for name, column in LOAD.items():
        cells[column] = row.cells.get(name)
    if cells["request_rate"] not in {None, ""}:
        cells["concurrency"] = None
    cells |= _variant(row, configs)
    for gpu in gpus:
        cells |= _figures(gpu.cells, OF_GPU)
    made.rows.append(_made(row, cells))


def _variant(row: Row, configs: Configs) -> dict[str, Any]:
    """How the model was configured: as the repository or checkpoint tells, else the columns."""
    name, _, members = str(row.cells.get("Model Config Path") or "").partition(":")
    cells: dict[str, Any] = {}
    match = OWN.match(name)
    if name in configs:
        cells |= configs[name]
    elif match is None or match["which"] != "default":  # which is the model as it is
        size = row.cells.get("Max Batch Size")
        cells["max_batch_size"] = size if str(size) != "0" else None
        groups = re.findall(r"(\d+):([A-Z]+)", str(row.cells.get("Instance Group") or ""))
        if groups:
            cells["instance_count"] = sum(int(count) for count, _ in groups)
            kinds = {kind for _, kind in groups}
            cells["kind"] = f"KIND_{kinds.pop()}" if len(kinds) == 1 else None
    for column, value in row.cells.items():
        if column.startswith(BACKEND_PARAMETER):
            cells[f"{PARAMETER}{column.removeprefix(BACKEND_PARAMETER)}"] = value
    if members:
        cells["members"] = [
            _member(member.strip(), configs, "") for member in members.split(",") if member.strip()
        ]
    return cells


def _member(name: str, configs: Configs, model: str) -> dict[str, Any]:
    """A member of an ensemble, as `members` of a plain table has it."""
    match = OWN.match(name)
    cells = {"model": model or (match["model"] if match else name), **configs.get(name, {})}
    return asdict(variant_of(Row(name, cells)))


def _one_server(rows: list[Row]) -> list[Row]:
    """Of several GPUs of a machine, the server's needs on the one where it needs most."""
    servers = [row for row in rows if not row.fault]
    if len(servers) < 2:
        return rows
    most = max(servers, key=lambda row: _number(row.cells.get("memory_mb")))
    return [row for row in rows if row.fault or row is most]


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return -1.0


def _several(count: int) -> str:
    return f"was measured on {count} GPUs at once, and its throughput is that of all of them."


def _figures(cells: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    return {plain: cells[name] for name, plain in columns.items() if name in cells}


def _made(row: Row, cells: Mapping[str, Any]) -> Row:
    return Row(row.where, cells, SOURCE)


def _plain_name(column: str) -> str:
    for word in ("Max ", "Average "):
        if column.startswith(word) and column.removeprefix(word) in {*OF_GPU, *FIGURES}:
            return column.removeprefix(word)
    return column


def _known(column: str) -> bool:
    name = _plain_name(column)
    known = {*LOAD, *FIGURES, *OF_GPU, *OF_VARIANT, *NOT_NEEDED}
    return name in known or name.startswith(BACKEND_PARAMETER)


def _cell(value: Any) -> Any:
    """A cell; Model Analyzer writes a list of one for a single model, and None for nothing."""
    text = str(value).strip() if value is not None else ""
    return "" if text == "None" else text
