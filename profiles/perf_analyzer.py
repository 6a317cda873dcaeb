"""What NVIDIA's perf_analyzer wrote: its CSV (`-f`) and its profile export (JSON).

The CSV has a row for each concurrency or request rate, times in microseconds, and with
`--verbose-csv` the GPU's figures as Triton's metrics endpoint gives them: `UUID:figure;`. The
profile export (`--profile-export-file`) has the time stamps of every request of the measured
windows in nanoseconds, from which throughput and latencies follow. Neither says which model it is
of, or how many inferences a request had: the caller does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from profiles.errors import InputError
from profiles.importers import Row

SOURCE = "perf_analyzer"
THROUGHPUT = "Inferences/Second"
LOAD = {"Concurrency": "concurrency", "Request Rate": "request_rate"}
TIMES_US = {
    "Server Queue": "server_queue_ms",
    "Server Compute Input": "server_compute_input_ms",
    "Server Compute Infer": "server_compute_infer_ms",
    "Server Compute Output": "server_compute_output_ms",
    "p50 latency": "latency_p50_ms",
    "p90 latency": "latency_p90_ms",
    "p95 latency": "latency_p95_ms",
    "p99 latency": "latency_p99_ms",
    "Avg latency": "latency_mean_ms",
}
OF_GPU = {  # to the plain column's unit
    "Avg GPU Utilization": ("utilization_percent", 100.0),  # Triton tells a part of one
    "Avg GPU Power Usage": ("power_w", 1.0),
    "Max GPU Memory Usage": ("memory_mb", 1e-6),
}
NOT_NEEDED = {
    *("Client Send", "Network+Server Send/Recv", "Client Recv", "Total GPU Memory"),
    *("request/response", "response wait", "Server Cache Hit", "Server Cache Miss"),
    *("Inter Token Latency", "Avg First Token Latency"),
}
MOST = 1e12  # of any figure that makes sense
NEAR = 0.1  # of a whole number of inferences per request: how far throughput may be off
PERCENTILES = (50, 90, 95, 99)
NS_PER_MS, NS_PER_S = 1e6, 1e9


def is_table(header: Iterable[str]) -> bool:
    """Whether a CSV with such a header is its report."""
    return THROUGHPUT in set(header)


def is_export(document: Any) -> bool:
    """Whether a JSON document is its profile export."""
    return isinstance(document, Mapping) and "experiments" in document


def read_table(
    rows: Sequence[Row], model: str | None, batch_size: int
) -> tuple[list[Row], list[str]]:
    """The rows of a report in plain columns, and what was left out; raises InputError."""
    where = rows[0].where if rows else ""
    named = _model(model, where)
    known = {THROUGHPUT, *LOAD, *TIMES_US, *OF_GPU, *NOT_NEEDED}
    columns = dict.fromkeys(column for row in rows for column in row.cells)
    left_out = [
        f"{where}: unknown column {column!r}. It is not read."
        for column in columns
        if column not in known and column  # a report may end its lines with a comma
    ]
    made = []
    for row in rows:
        cells = {"model": named, "batch_size": batch_size, "throughput": row.cells.get(THROUGHPUT)}
        cells |= {plain: row.cells.get(name) for name, plain in LOAD.items() if name in row.cells}
        for name, plain in TIMES_US.items():
            cells[plain] = _scaled(row.cells.get(name), 1e-3)
        fault = row.fault
        for name, (plain, factor) in OF_GPU.items():
            by_gpu = [part for part in str(row.cells.get(name) or "").split(";") if part.strip()]
            if len(by_gpu) > 1:
                fault = f"{name}: {len(by_gpu)} GPUs, and the throughput is that of all of them."
            elif by_gpu:
                cells[plain] = _scaled(by_gpu[0].rpartition(":")[2], factor)
        made.append(Row(row.where, cells, SOURCE, fault or _other_batch_size(cells)))
    return made, left_out


def _other_batch_size(cells: Mapping[str, Any]) -> str:
    """Why a row cannot be of the batch size that was told; empty where it can, or nothing tells.

    Inferences per request are those per second by the requests per second: at a rate that is the
    rate, at a concurrency the requests in flight by their mean latency (Little's law).
    """
    throughput, rate, concurrency, mean_ms = (
        _number(cells.get(name))
        for name in ("throughput", "request_rate", "concurrency", "latency_mean_ms")
    )
    told = cells["batch_size"]
    requests = rate or (1000 * concurrency / mean_ms if concurrency and mean_ms else 0.0)
    if not requests or not throughput:
        return ""
    seen = throughput / requests
    fewer = not rate and seen < told / 1.5  # at a rate the server may not keep up
    if not (fewer or seen > 1.5 * told) or abs(seen / max(1, round(seen)) - 1) > NEAR:
        return ""
    return (
        f"{throughput:g} inferences at {requests:.4g} requests per second are batches of "
        f"{round(seen)}, not of {told}: --batch-size {round(seen)}."
    )


def _number(cell: object) -> float:
    with suppress(ValueError):
        number = float(str(cell))
        return number if 0 < number < MOST else 0.0
    return 0.0


def read_export(
    path: Path, document: Mapping[str, Any], model: str | None, batch_size: int
) -> list[Row]:
    """The experiments of a profile export in plain columns.

    Raises InputError where it is not built as one, or an experiment has no measured window.
    """
    named = _model(model, str(path))
    experiments = document["experiments"]
    if not isinstance(experiments, list):
        raise InputError(f"{path}: experiments: expected a list.")
    rows = []
    for number, experiment in enumerate(experiments, start=1):
        where = f"{path}: experiment {number}"
        try:
            mode, value = experiment["experiment"]["mode"], experiment["experiment"]["value"]
            cells = {"model": named, "batch_size": batch_size, _mode(where, mode): value}
            cells |= _figures(where, experiment, batch_size)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(
                f"{where}: is no experiment of a profile export ({type(error).__name__}: {error})."
            ) from None
        rows.append(Row(where, cells, SOURCE))
    return rows


def _mode(where: str, mode: Any) -> str:
    known = {"concurrency": "concurrency", "request_rate": "request_rate"}
    if mode not in known:
        raise InputError(f"{where}: unknown mode {mode!r}. Known modes: {', '.join(known)}.")
    return known[mode]


def _figures(where: str, experiment: Mapping[str, Any], batch_size: int) -> dict[str, float]:
    """Throughput of the measured windows, and latencies of the requests that ended in them.

    A request's latency is to its last response; percentiles are the nearest ranks, as its report
    has them.
    """
    windows = sorted(experiment["window_boundaries"])
    if len(windows) < 2 or windows[0] >= windows[-1]:
        raise InputError(f"{where}: window_boundaries: needs a window to measure by.")
    ended = sorted(
        (request["response_timestamps"][-1], request["timestamp"])
        for request in experiment["requests"]
        if request["response_timestamps"]
    )
    ends = [end for end, _ in ended]
    inside = ended[bisect_left(ends, windows[0]) : bisect_right(ends, windows[-1])]
    if not inside:
        raise InputError(f"{where}: requests: none ended within the windows.")
    latencies = sorted((end - start) / NS_PER_MS for end, start in inside)
    span_s = (windows[-1] - windows[0]) / NS_PER_S
    return {
        "throughput": len(inside) * batch_size / span_s,
        "latency_mean_ms": sum(latencies) / len(latencies),
        "latency_max_ms": latencies[-1],
        **{
            f"latency_p{percent}_ms": latencies[int(percent / 100 * (len(latencies) - 1) + 0.5)]
            for percent in PERCENTILES
        },
    }


def _model(model: str | None, where: str) -> str:
    if model is None:
        raise InputError(f"{where}: perf_analyzer does not say which model it measured: --model.")
    return model


def _scaled(cell: Any, factor: float) -> Any:
    try:
        return float(cell) * factor
    except (TypeError, ValueError):
        return cell  # the reader of rows names what is wrong with it
