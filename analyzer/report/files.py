"""A report on disk: the page, each figure as SVG and PNG, the data as CSV."""

from __future__ import annotations

from pathlib import Path

from analyzer.report.columns import csv_text, measurements_csv
from analyzer.report.page import Report
from analyzer.report.svg import STYLE, standalone
from profiles import output_file
from profiles.errors import InputError, SurroundingsError

ZOOM = 2  # pixels of a PNG for each of the SVG
NO_FONT = "no font was found on this machine, so the PNGs have no text; install fonts-dejavu-core."


def write(path: Path, text: str) -> None:
    """Write a text file; raises InputError where that cannot be."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, and the directories above it; raises InputError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}.") from None
    output_file.write_bytes(path, content)


def write_figures(report: Report, folder: Path) -> list[str]:
    """Write every figure as SVG and PNG; returns what is wrong with them, in words."""
    drawn = [(name, standalone(figure.svg)) for name, figure in report.figures()]
    for name, svg in drawn:
        write(folder / f"{name}.svg", svg)
        write_bytes(folder / f"{name}.png", png(svg))
    return [] if _has_fonts() else [NO_FONT]


def png(svg: str) -> bytes:
    """A figure as PNG, on white; raises SurroundingsError where it cannot be drawn."""
    import resvg_py

    plain = svg.replace(STYLE, STYLE.partition("@media")[0])  # paper is white
    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=plain, background="white", zoom=ZOOM))
    except ValueError as error:
        raise SurroundingsError(f"A figure cannot be drawn as PNG: {error}") from None


def _has_fonts() -> bool:
    box = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20">{}</svg>'
    return png(box.format('<text x="2" y="15">m</text>')) != png(box.format(""))


def write_csv(report: Report, folder: Path) -> None:
    """Write measurements, and as far as they are there residents and checks, as CSV."""
    content = report.content
    write(folder / "measurements.csv", measurements_csv(content.measurements))
    if content.layout is not None:
        names = sorted({name for d in content.layout.devices for name in d.capacity})
        header = ["device", "device_type", "model", "option", "rate_infer_per_s", "latency_ms"]
        rows = [
            [d.name, d.device_type, r.model, r.option, r.rate, r.latency_ms]
            + [r.uses.get(name) for name in names]
            for d in content.layout.devices
            for r in d.residents
        ]
        write(folder / "layout.csv", csv_text([*header, *names], rows))
    if content.verifications:
        header = [
            "verification",
            "device",
            "model",
            "figure",
            "predicted",
            "measured",
            "unit",
            "holds",
        ]
        rows = [
            [
                record.verified_at,
                c.device,
                c.model,
                c.what,
                c.predicted,
                c.measured,
                c.unit,
                c.holds,
            ]
            for record in content.verifications
            for c in record.result.checks
        ]
        write(folder / "verification.csv", csv_text(header, rows))
