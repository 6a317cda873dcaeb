"""The report: one HTML page that needs no other file and asks nothing of any server.

Templates and style lie beside this file; `report.js` shows the row of a point, sorts and filters.
In a large report the figures of a model are kept compressed until somebody opens them, which is
why it opens at once.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analyzer.deploy.verification_file import VerificationRecord
from analyzer.report import columns, layout_figures, story
from analyzer.report.model_figures import Figure, model_figures, ordered, placed
from placement.layout import Layout, PlacedDevice, Resident
from placement.layout.diff import diff
from profiles.measurement import Baseline, Measurement

HERE = Path(__file__).parent
FOLDED_POINTS = 3000  # beyond, and beyond so many models, a model's figures are compressed text
FOLDED_MODELS = 60
WAYS = 3  # other measured ways that are told of a resident


@dataclass(frozen=True)
class Content:
    """All that a report is made of."""

    measurements: Sequence[Measurement]
    baselines: Sequence[Baseline] = ()
    notes: Sequence[str] = ()  # what of the store counts no more, in words
    store: str = "profiles.db"
    layout: Layout | None = None
    layout_file: str | None = None
    before: Layout | None = None  # the layout that runs now
    verifications: Sequence[VerificationRecord] = ()  # the oldest first
    placement: Mapping[str, Any] = field(default_factory=dict)  # `place --output-format json`
    frontier: Mapping[str, Any] = field(default_factory=dict)  # `place --frontier`, the same
    made_at: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text under headings."""

    name: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class ModelPart:
    """What the report has of one model."""

    name: str
    anchor: str
    best: Measurement | None  # the most throughput
    points: int
    failed: int
    doubtful: bool
    figures: Sequence[Figure]
    table: Table
    failures: Sequence[str]
    homes: Sequence[tuple[int, str, Resident]]  # number and name of each device that holds it


@dataclass(frozen=True)
class DevicePart:
    """What the report has of one device."""

    device: PlacedDevice
    binds: str
    figure: Figure
    table: Table


@dataclass(frozen=True)
class Report:
    """A report before it is written."""

    content: Content
    models: Sequence[ModelPart]
    devices: Sequence[DevicePart] = ()
    verification: Figure | None = None
    checks: Table | None = None
    frontier: Figure | None = None
    frontier_table: Table | None = None
    moves: Table | None = None

    def figures(self) -> list[tuple[str, Figure]]:
        """Every figure with the name of its file, without the ending."""
        found = [(f"{m.anchor}-{f.key}", f) for m in self.models for f in m.figures]
        found += [(_anchor(d.figure.key, n), d.figure) for n, d in enumerate(self.devices)]
        found += [(f.key, f) for f in (self.verification, self.frontier) if f is not None]
        return found


def report(content: Content) -> Report:
    """The parts of a report."""
    by_model: dict[str, list[Measurement]] = defaultdict(list)
    for m in content.measurements:
        by_model[m.model].append(m)
    homes: dict[str, list[tuple[int, PlacedDevice, Resident]]] = defaultdict(list)
    for number, device in enumerate(content.layout.devices if content.layout else ()):
        for resident in device.residents:
            homes[resident.model].append((number, device, resident))
    rows = {model: ordered(own) for model, own in by_model.items()}
    models = [
        _model(number, model, by_model[model], rows[model], homes[model])
        for number, model in enumerate(sorted(by_model))
    ]
    devices: list[DevicePart] = []
    if content.layout is not None:
        largest = layout_figures.largest_capacity(content.layout)
        devices = [_device(content.layout, d, largest, rows) for d in content.layout.devices]
    rounds = [
        (f"{number}: {record.verified_at[:16].replace('T', ' ')}", record.result)
        for number, record in enumerate(content.verifications, 1)
    ]
    points = list(content.frontier.get("frontier", ()))
    return Report(
        content,
        models,
        devices,
        layout_figures.verification_figure(rounds),
        _checks(content) if rounds else None,
        layout_figures.frontier_figure(points, str(content.frontier.get("objective"))),
        _frontier(points) if points else None,
        _moves(content.before, content.layout) if content.before and content.layout else None,
    )


def html(made: Report) -> str:
    """The report as a page."""
    content = made.content
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    environment.filters["next_of"] = next
    environment.filters["deflated"] = _deflated
    body = environment.get_template("model.html.jinja")
    points = sum(m.points for m in made.models)
    layout = content.layout
    return environment.get_template("report.html.jinja").render(
        report=made,
        content=content,
        css=(HERE / "report.css").read_text("utf-8"),
        figure_css=(HERE / "figures.css").read_text("utf-8"),
        js=(HERE / "report.js").read_text("utf-8"),
        folded=points > FOLDED_POINTS or len(made.models) > FOLDED_MODELS,
        points=points,
        bodies=(body.render(model=m) for m in made.models),
        measured_on=story.measured_on(content.measurements),
        dates=story.dates(content.measurements),
        warnings=[
            *story.warnings(content.measurements, content.baselines, layout, content.verifications),
            *content.notes,
        ],
        next_step=story.next_step(
            content.measurements, layout, content.verifications, content.store, content.layout_file
        ),
        anchors={m.name: m.anchor for m in made.models},
        total_rate=sum(layout.rates().values()) if layout else 0.0,
        priced=layout is not None and any(d.price != 1.0 for d in layout.devices),
    )


def _model(
    number: int,
    model: str,
    every: Sequence[Measurement],
    rows: Sequence[Measurement],
    homes: Sequence[tuple[int, PlacedDevice, Resident]],
) -> ModelPart:
    home = homes[0] if homes else None
    chosen = placed(home[2], rows, home[1].device_type) if home else None
    shown = [c for c in columns.COLUMNS if any(c.figure(m) is not None for m in rows)]
    types = len({m.device_type for m in rows}) > 1
    headings = ["variant", "load", *(["device"] if types else []), *(c.heading for c in shown)]
    doubtful = any(m.warnings for m in rows)
    table = Table(
        f"Every point of {model}",
        [*headings, *(["in doubt"] if doubtful else [])],
        [
            [
                str(m.variant),
                str(m.load),
                *([m.device_type] if types else []),
                *(columns.text(c, m) for c in shown),
                *(["; ".join(m.warnings)] if doubtful else []),
            ]
            for m in rows
        ],
    )
    bad = [m for m in every if m.status != "ok"]
    return ModelPart(
        model,
        _anchor(model, number),
        max(rows, key=lambda m: m.throughput, default=None),
        len(rows),
        sum(m.status == "failed" for m in bad),
        doubtful or bool(bad),
        model_figures(rows, home[2] if home else None, chosen),
        table,
        [f"{m.variant} {m.load}: {m.status}: {m.reason or ''}" for m in bad],
        [(n, device.name, resident) for n, device, resident in homes],
    )


def _device(
    layout: Layout,
    device: PlacedDevice,
    largest: Mapping[str, float],
    rows: Mapping[str, Sequence[Measurement]],
) -> DevicePart:
    names = list(device.capacity) or list(device.uses)
    lines = []
    for r in device.residents:
        limit = f" (limit {r.latency_limit_ms:g})" if r.latency_limit_ms is not None else ""
        latency = "–" if r.latency_ms is None else f"p{r.percentile} {r.latency_ms:.4g}{limit}"
        uses = [
            layout_figures.amount(r.uses[name], layout_figures.unit_of(layout, name))
            if name in r.uses
            else "–"
            for name in names
        ]
        elsewhere = layout_figures.also_fits(layout, device, r)
        lines.append(
            [
                r.model,
                r.option,
                f"{r.rate:.6g}",
                latency,
                *uses,
                ", ".join(elsewhere) or "on no other device in use",
                "; ".join(_other_ways(device, r, rows.get(r.model, ()))) or "none",
            ]
        )
    headings = [
        *("model", "as", "infer/s", "latency, ms"),
        *(name.replace("_", " ") for name in names),
        *("room for it as well on", "other measured ways to carry it"),
    ]
    bound = layout_figures.binding(device)
    binds = f"{bound.resource.replace('_', ' ')} {bound.used:.0%}" if bound else ""
    figure = layout_figures.device_figure(layout, device, largest)
    return DevicePart(device, binds, figure, Table(f"On {device.name}", headings, lines))


def _other_ways(device: PlacedDevice, r: Resident, rows: Sequence[Measurement]) -> list[str]:
    """Measured points that carry the resident's rate within its limit, the least memory first."""
    enough = [
        m
        for m in rows
        if m.device_type == device.device_type
        and m.usage is not None
        and m.throughput >= r.rate * (1 - 1e-9)
        and (m.variant, m.load) != (r.variant, r.load)
        and (
            r.latency_limit_ms is None
            or (m.latency_surely_ms(r.percentile) or float("inf")) <= r.latency_limit_ms
        )
    ]
    enough.sort(key=lambda m: m.usage.memory_hot_bytes if m.usage else 0)
    return [
        f"{m.variant} {m.load}: {m.throughput:.4g} infer/s, "
        f"{layout_figures.amount(m.usage.memory_hot_bytes, 'bytes')}"
        for m in enough[:WAYS]
        if m.usage is not None
    ]


def _checks(content: Content) -> Table:
    rows = [
        [
            str(number),
            c.device,
            c.model or "(device)",
            c.what,
            "–" if c.predicted is None else layout_figures.amount(c.predicted, c.unit),
            "–" if c.measured is None else layout_figures.amount(c.measured, c.unit),
            f"{c.measured / c.predicted - 1:+.0%}"
            if c.predicted and c.measured is not None
            else "–",
            {True: "pass", False: "FAIL", None: "not judged"}[c.holds],
            c.reason or "",
        ]
        for number, record in enumerate(content.verifications, 1)
        for c in record.result.checks
    ]
    headings = "verification,device,model,figure,predicted,measured,difference,holds,why"
    return Table("Every check", headings.split(","), rows)


def _frontier(points: Sequence[Mapping[str, Any]]) -> Table:
    names = ("devices", "value", "bound", "status", "throughput", "price")
    rows = [
        ["–" if p.get(name) is None else _plain(p[name]) for name in names]
        for p in points
        if p.get("value") is not None
    ]
    return Table("The frontier", [n.replace("_", " ") for n in names], rows)


def _moves(before: Layout, after: Layout) -> Table:
    found = diff(before, after)
    rows = [[m, ", ".join(a) or "nowhere", ", ".join(b) or "nowhere"] for m, a, b in found.moved]
    return Table(f"Moves; {found.kept} replicas stay", ["model", "from", "to"], rows)


def _plain(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _anchor(name: str, number: int) -> str:
    """A name that fits an address and a file name, and is no other's."""
    return f"{number}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)[:60]}"


def _code(text: str) -> Any:
    """Text with what stands in `backquotes` as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _deflated(text: str) -> str:
    """The text compressed as `report.js` reads it."""
    return b64encode(zlib.compress(text.encode())).decode()
