"""What the figures are made of: axes, fronts, files."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from some_rows import a_measurement

from analyzer.report import files
from analyzer.report.columns import measurements_csv
from analyzer.report.model_figures import model_figures, ordered, pareto_front
from analyzer.report.page import Content, report
from analyzer.report.svg import Bar, Mark, Series, axis, scatter, stacked_bars, standalone
from profiles.environment import Environment
from profiles.measurement import LoadPoint, Measurement
from profiles.variant import Variant

SVG = "{http://www.w3.org/2000/svg}"


def test_an_axis_begins_at_zero_and_is_logarithmic_for_a_wide_range():
    plain = axis([40, 50], 0, 100)
    assert plain.low == 0
    assert plain.at(0) == 0
    wide = axis([1, 1000], 0, 100, log=True)
    assert wide.logarithmic
    assert wide.at(10) - wide.at(1) == pytest.approx(wide.at(100) - wide.at(10))
    assert wide.ticks() == [1, 10, 100, 1000]
    assert not axis([40, 50], 0, 100, log=True).logarithmic


@pytest.mark.parametrize("most", [1e-9, 0.3, 1, 7, 99.9, 1e6, 3e12])
def test_ticks_are_few_round_and_within(most: float):
    found = axis([most], 0, 100).ticks()
    assert 3 <= len(found) <= 7
    assert all(0 <= tick <= most * 1.07 for tick in found)


def test_no_figures_at_all_are_an_axis_nevertheless():
    assert axis([], 0, 100).at(0.5) < 100
    assert axis([0, 0], 0, 100).ticks()
    ET.fromstring(scatter("empty", "x", "y", []))
    ET.fromstring(stacked_bars("empty", "y", ["a"], []))


def test_the_pareto_front_is_what_no_other_beats():
    """(80, 9) has less throughput and more latency than (100, 8)."""
    assert pareto_front([(50, 2), (80, 9), (100, 8), (50, 3), (90, 5)]) == [
        (50, 2),
        (90, 5),
        (100, 8),
    ]


def test_names_are_escaped():
    drawn = standalone(scatter('<a>&"b"', "x", "y", [Series("<s>", (Mark(1, 2, 0),))]))
    root = ET.fromstring(drawn)
    assert root.get("aria-label") == '<a>&"b"'
    assert any(text.text == "<s>" for text in root.iter(f"{SVG}text"))


def test_every_point_is_drawn_and_names_its_row():
    rows = ordered([a_measurement(concurrency=n, throughput=10.0 * n) for n in (4, 1, 2)])
    assert [m.load.concurrency for m in rows] == [1, 2, 4]
    latency = next(f for f in model_figures(rows) if f.key == "latency")
    root = ET.fromstring(latency.svg)
    assert [part.get("data-row") for part in root.iter("path") if part.get("data-row")] == [
        "0",
        "1",
        "2",
    ]


def test_a_stack_is_as_high_as_its_parts():
    root = ET.fromstring(stacked_bars("t", "ms", ["a", "b"], [Bar("x", (1.0, 3.0), 0)]))
    low, high = [r for r in root.iter("rect") if "part" in (r.get("class") or "")]
    assert float(high.get("height") or 0) == pytest.approx(3 * float(low.get("height") or 0), 0.02)


def test_figures_are_written_as_svg_and_png(tmp_path: Path):
    made = report(Content([a_measurement()]))
    files.write_figures(made, tmp_path)
    svgs, pngs = sorted(tmp_path.glob("*.svg")), sorted(tmp_path.glob("*.png"))
    assert [p.stem for p in svgs] == [p.stem for p in pngs]
    assert [p.stem for p in svgs] == ["0-bert-latency", "0-bert-memory", "0-bert-utilization"]
    for svg, png in zip(svgs, pngs, strict=True):
        assert ET.fromstring(svg.read_text()).tag == f"{SVG}svg"
        assert png.read_bytes().startswith(b"\x89PNG")
        assert png.stat().st_size > 2000  # drawn, not blank


def test_csv_has_every_row_and_unknown_figures_are_empty(tmp_path: Path):
    failed = Measurement(
        Variant("=cmd()".strip("=()")), LoadPoint(), "Tesla T4", Environment(), "failed", "=1+1"
    )
    (tmp_path / "m.csv").write_text(measurements_csv([a_measurement(), failed]))
    with (tmp_path / "m.csv").open(newline="") as text:
        good, bad = csv.DictReader(text)
    assert good["throughput_infer_per_s"] == "10.0"
    assert good["memory_hot_bytes"] == "200"
    assert good["power_w"] == ""
    assert bad["status"] == "failed"
    assert bad["throughput_infer_per_s"] == ""
    assert bad["reason"] == "'=1+1"  # a spreadsheet would reckon it
