"""The figures of a layout: devices drawn to scale, prediction against measurement, the frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analyzer.deploy.verify import Verification
from analyzer.report.model_figures import Figure
from analyzer.report.svg import Mark, Series, level_bars, scatter
from placement.layout import Layout, PlacedDevice, Resident

CLOSE = 5  # other devices that are told of a resident


@dataclass(frozen=True)
class Binding:
    """The resource of a device that has the least room left."""

    resource: str
    used: float  # part of what may be used, 0 to 1


def binding(device: PlacedDevice) -> Binding | None:
    """The fullest resource; None where the layout states no limits."""
    parts = {
        name: device.uses.get(name, 0.0) / limit
        for name, limit in device.capacity.items()
        if limit > 0
    }
    if not parts:
        return None
    name = max(parts, key=lambda key: parts[key])
    return Binding(name, parts[name])


def amount(figure: float, unit: str) -> str:
    """The figure with its unit; bytes as GB."""
    return f"{figure / 1e9:.2f} GB" if unit == "bytes" else f"{figure:.4g} {unit}".strip()


def unit_of(layout: Layout, resource: str) -> str:
    """The unit of a resource: bytes, %, W or cores."""
    known = {"memory": "bytes", "host_memory": "bytes", "power": "W", "cpu": "cores"}
    return layout.units.get(resource, known.get(resource, "%"))


def device_figure(layout: Layout, device: PlacedDevice, largest: Mapping[str, float]) -> Figure:
    """A bar for each resource, filled by the server and the residents.

    `largest` has, by resource, what the largest device offers: the full width.
    """
    rows = []
    for name, limit in device.capacity.items():
        unit, used = unit_of(layout, name), device.uses.get(name, 0.0)
        parts = [(r.model, r.uses.get(name, 0.0)) for r in device.residents]
        server = max(0.0, used - sum(figure for _, figure in parts))
        parts.append(("the server itself", server))
        named = [(f"{what}: {amount(figure, unit)}", figure) for what, figure in parts]
        text = f"{amount(used, unit)} of {amount(limit, unit)}, {amount(limit - used, unit)} left"
        rows.append((name.replace("_", " "), named, limit, text, largest[name] or 1.0))
    title = f"Use of {device.name}"
    scaled = [
        (name, [(what, figure / full) for what, figure in parts], limit / full, text)
        for name, parts, limit, text, full in rows
    ]
    return Figure(f"device-{device.name}", title, level_bars(title, scaled))


def largest_capacity(layout: Layout) -> dict[str, float]:
    """By resource, the most that any device may use of it."""
    found: dict[str, float] = {}
    for device in layout.devices:
        for name, limit in device.capacity.items():
            found[name] = max(found.get(name, 0.0), limit)
    return found


def also_fits(layout: Layout, home: PlacedDevice, resident: Resident) -> list[str]:
    """Other devices of the type with room for the resident as it is, the roomiest first."""
    found = []
    for device in layout.devices:
        holds = any(other.model == resident.model for other in device.residents)
        if device.name == home.name or device.device_type != home.device_type or holds:
            continue
        after = max(
            (
                (device.uses.get(name, 0.0) + resident.uses.get(name, 0.0)) / limit
                for name, limit in device.capacity.items()
                if limit > 0
            ),
            default=2.0,
        )
        if after <= 1.0:
            found.append((after, device.name))
    return [f"{name} (then {after:.0%} full)" for after, name in sorted(found)[:CLOSE]]


def verification_figure(rounds: Sequence[tuple[str, Verification]]) -> Figure | None:
    """Measured throughput against the predicted one, a series for each verification."""
    series, first = [], 0  # rows are those of all checks, in order
    for name, seen in rounds:
        marks = tuple(
            Mark(c.predicted, c.measured, first + number)
            for number, c in enumerate(seen.checks)
            if c.what == "throughput" and c.predicted and c.measured is not None
        )
        first += len(seen.checks)
        if marks:
            series.append(Series(name, marks))
    if not series:
        return None
    title = "Measured against predicted throughput"
    most = max(max(m.x, m.y) for one in series for m in one.marks)
    least = min(min(m.x, m.y) for one in series for m in one.marks)
    drawn = scatter(
        title,
        "predicted, inferences/s",
        "measured, inferences/s",
        series,
        joined=False,
        front=((least, least), (most, most)),
        log=True,
    )
    return Figure("verification", title, drawn, "On the broad line both are equal.")


def frontier_figure(points: Sequence[Mapping[str, Any]], objective: str) -> Figure | None:
    """What 1, 2, … N devices carry at most, or cost at least, with the proven bound."""
    what = "price" if objective == "min-hardware" else "relative throughput"
    known = [p for p in points if p.get("value") is not None]
    if not known:
        return None
    best = Series(
        f"best {what} found",
        tuple(Mark(p["devices"], p["value"], number) for number, p in enumerate(known)),
    )
    bounds = tuple(
        Mark(p["devices"], p["bound"], number)
        for number, p in enumerate(known)
        if p.get("bound") is not None
    )
    title = f"{what.capitalize()} by number of devices"
    series = [best, *([Series("proven bound", bounds)] if bounds else [])]
    return Figure("frontier", title, scatter(title, "devices at most", what, series))
