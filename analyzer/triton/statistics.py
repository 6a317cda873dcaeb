"""Triton's own statistics of a model: request counts, queue and compute times."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from analyzer.triton import http_api
from profiles.measurement import ServerTime

COUNT_TIMEOUT_S = 0.5  # what is not counted by then is not going to be


@dataclass(frozen=True)
class Statistics:
    """Totals since the model was loaded; times in ns, over all versions."""

    successes: int
    failures: int
    queue_ns: int
    compute_input_ns: int
    compute_infer_ns: int
    compute_output_ns: int
    batches: tuple[tuple[int, int], ...] = ()  # size of an executed batch, how many there were


@dataclass(frozen=True)
class Served:
    """What happened between two snapshots."""

    requests: int
    failures: int
    server_time: ServerTime | None  # None when nothing was served
    batches: tuple[tuple[int, int], ...] = ()  # as executed: size, how many there were


def snapshot(
    url: str, model: str, before: Statistics | None = None, served: int | None = None
) -> Statistics:
    """The totals now, or once `served` requests were counted since `before`.

    Triton counts a request after it has answered it. Raises ServerError when it does not answer.
    """
    deadline = time.monotonic() + COUNT_TIMEOUT_S
    while True:
        totals = _totals(url, model)
        counted = before is None or served is None or totals.successes - before.successes >= served
        if counted or time.monotonic() >= deadline:
            return totals
        time.sleep(0.01)


def _totals(url: str, model: str) -> Statistics:
    versions = http_api.statistics(url, model)["model_stats"]
    rows = [row["inference_stats"] for row in versions]
    batches: Counter[int] = Counter()
    for version in versions:
        for row in version.get("batch_stats", ()):
            batches[int(row["batch_size"])] += int(row["compute_infer"]["count"])

    def total(name: str, what: str) -> int:
        return sum(int(row.get(name, {}).get(what, 0)) for row in rows)

    return Statistics(
        successes=total("success", "count"),
        failures=total("fail", "count"),
        queue_ns=total("queue", "ns"),
        compute_input_ns=total("compute_input", "ns"),
        compute_infer_ns=total("compute_infer", "ns"),
        compute_output_ns=total("compute_output", "ns"),
        batches=tuple(sorted(batches.items())),
    )


def difference(before: Statistics, after: Statistics) -> Served:
    """What was served between two snapshots, and its mean times."""
    requests = after.successes - before.successes
    if requests <= 0:
        return Served(0, after.failures - before.failures, None)

    def mean_ms(name: str) -> float:
        return float(getattr(after, name) - getattr(before, name)) / requests / 1e6

    return Served(
        requests,
        after.failures - before.failures,
        ServerTime(
            mean_ms("queue_ns"),
            mean_ms("compute_input_ns"),
            mean_ms("compute_infer_ns"),
            mean_ms("compute_output_ns"),
        ),
        tuple(sorted((Counter(dict(after.batches)) - Counter(dict(before.batches))).items())),
    )
