"""Co-location measurements and the slowdown fitted from them, as text."""

from __future__ import annotations

from collections.abc import Sequence

from analyzer.report.text_table import text_table
from placement.problem.neighbour_cost import Error as CostError
from placement.problem.neighbour_cost import NeighbourCost
from placement.problem.neighbour_cost import median_error as cost_error
from placement.problem.slowdown import USE, Error, Sensitivity, median_error
from profiles.colocation import Colocation

COLUMNS = (
    *("model", "beside", "load"),
    *("alone infer/s", "asked", "reached", "kept %", "neighbours use %"),
)


def table(rows: Sequence[Colocation], fits: Sequence[Sensitivity], errors: Sequence[Error]) -> str:
    """What was measured, what was fitted, and the prediction error on unseen runs."""
    if not rows:
        return "No co-location measurements. `verify --store` and `profile --pairs` make them."
    parts = [rows_table(rows)]
    if fits:
        parts.append(
            text_table(
                ["model", "on", "loses beside a full device %", "rows"],
                [[f.model, f.device_type, f"{100 * f.b:.0f}", f.rows] for f in fits],
                left=2,
            )
        )
    error, plain = median_error(errors), median_error(errors, plain=True)
    if error is None or plain is None:
        parts.append("One run only: the prediction error on unseen runs cannot be estimated yet.")
    else:
        runs = len({e.row.run for e in errors})
        parts.append(
            f"Throughput of {len(errors)} models in {runs} runs, each predicted by the other runs: "
            f"median error {error:.1%}, without a slowdown {plain:.1%}."
        )
    return "\n\n".join(parts)


def cost_table(costs: Sequence[NeighbourCost], errors: Sequence[CostError]) -> str:
    """How much more an inference takes of a device beside neighbours; empty where it is unknown."""
    if not costs:
        return ""
    text = text_table(
        ["model", "on", "an inference takes more beside a full device %", "runs"],
        [[c.model, c.device_type, f"{100 * c.g:.0f}", c.runs] for c in costs],
        left=2,
    )
    error, plain = cost_error(errors), cost_error(errors, plain=True)
    if error is None or plain is None:
        return text
    return (
        f"{text}\n\nUse of the device in {len(errors)} runs, each predicted by the other runs: "
        f"median error {error:.1%}, added up {plain:.1%}."
    )


def rows_table(rows: Sequence[Colocation]) -> str:
    """A row for each model of each run."""
    return text_table(
        list(COLUMNS),
        [
            [
                row.model,
                ", ".join(n.model for n in row.neighbours),
                str(row.load),
                f"{row.solo_throughput:.1f}",
                f"{row.wanted_throughput or row.solo_throughput:.1f}",
                f"{row.throughput:.1f}",
                f"{100 * row.throughput / row.solo_throughput:.0f}",
                f"{row.neighbours_use(USE):.0f}",
            ]
            for row in rows
        ],
        left=3,
    )
