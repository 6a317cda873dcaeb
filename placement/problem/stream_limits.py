"""Limits on a decoupled model's stream: time to the first response, and from one to the next.

They rule out measured points, as a latency limit does. What neighbours on a device do to them was
not measured, so it is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from placement.problem.demands import Demand
from profiles.measurement import Latency, Measurement


def within(rows: Iterable[Measurement], demand: Demand) -> list[Measurement]:
    """The rows that keep the demand's limits; a row without the figure keeps none."""
    return [
        m
        for m in rows
        if all(
            figure is not None and figure.percentile(demand.percentile) <= limit
            for _, limit, figure in _limits(m, demand)
        )
    ]


def why_none(model: str, rows: Iterable[Measurement], demand: Demand) -> str | None:
    """Why no row that was measured with success keeps the limits; None where one does."""
    good = [m for m in rows if m.status == "ok"]
    if not good or within(good, demand):
        return None
    said = []
    for what, limit, _ in _limits(good[0], demand):
        known = [
            figure.percentile(demand.percentile)
            for m in good
            for name, _, figure in _limits(m, demand)
            if name == what and figure is not None
        ]
        best = f"the best measured was {min(known):.4g} ms" if known else "it was never measured"
        said.append(f"p{demand.percentile} {what} of at most {limit:g} ms: {best}")
    return f"{model} keeps its limits in no measured option: {'; '.join(said)}."


def _limits(m: Measurement, demand: Demand) -> Iterator[tuple[str, float, Latency | None]]:
    if demand.first_response_limit_ms is not None:
        yield "time to the first response", demand.first_response_limit_ms, m.first_response
    if demand.between_responses_limit_ms is not None:
        yield "time between responses", demand.between_responses_limit_ms, m.between_responses
