"""The report in a real Chromium: no error, no request, readable by machine and at 360 px."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium import command, opened

from analyzer.deploy.judge import Check
from analyzer.deploy.verification_file import VerificationRecord
from analyzer.deploy.verify import Verification
from analyzer.report import page
from analyzer.report.page import Content, html, report
from placement.layout import Layout, PlacedDevice, Resident
from profiles.environment import Environment
from profiles.measurement import Confidence, Latency, LoadPoint, Measurement, ServerTime, Usage
from profiles.variant import Variant

GPU = "NVIDIA A100-SXM4-40GB"
SLICE = f"{GPU} MIG 1g.5gb"


def a_point(model: str, batch: int, concurrency: int, throughput: float) -> Measurement:
    mean = 1000 * batch * concurrency / throughput
    return Measurement(
        Variant(model, instance_count=1),
        LoadPoint(batch, concurrency),
        SLICE,
        Environment("2.51.0", "a CPU", "MIG-1", "550.54"),
        throughput=throughput,
        latency=Latency(mean, mean, mean, mean, mean * 1.2, mean * 2),
        server_time=ServerTime(mean / 2, 0, mean / 3, 0),
        usage=Usage(10**9, 14 * 10**8, 40.0, 20.0, 80.0, 0.5),
        confidence=Confidence(0.03, 0.05),
        measured_at="2026-11-27T06:00:00.000+00:00",
    )


def points(model: str) -> list[Measurement]:
    return [
        a_point(model, batch, concurrency, 50.0 * batch * min(2, concurrency))
        for batch in (1, 2)
        for concurrency in (1, 2, 4)
    ]


def a_fleet(models: list[str]) -> Layout:
    """A model on each slice, two slices to a GPU, and room for one model more on each."""
    return Layout(
        tuple(
            PlacedDevice(
                f"a100-{n // 2}/1g.5gb-{n % 2}",
                SLICE,
                (
                    Resident(
                        model,
                        "instances=1 b1 c2",
                        rate=100.0,
                        uses={"memory": 1.4e9, "utilization": 40.0},
                        latency_ms=24.0,
                        variant=Variant(model, instance_count=1),
                        load=LoadPoint(1, 2),
                        latency_limit_ms=30.0,
                    ),
                ),
                {"memory": 1.8e9, "utilization": 40.0},
                {"memory": 5e9, "utilization": 100.0},
                parent=f"a100-{n // 2}",
                price=3.0,
            )
            for n, model in enumerate(models)
        )
    )


@pytest.fixture
def content() -> Content:
    models = ["bert", "gpt", "resnet"]
    rows = [m for model in models for m in points(model)]
    rows[0] = replace(rows[0], warnings=("another process used the GPU",))
    failed = Measurement(
        Variant("gpt", instance_count=9),
        LoadPoint(),
        SLICE,
        Environment(),
        "failed",
        "out of memory",
    )
    first = Verification(
        (Check("a100-0/1g.5gb-0", "bert", "throughput", 100.0, 61.0, "infer/s", False, "slow"),)
    )
    second = Verification((replace(first.checks[0], measured=99.0, holds=True, reason=None),))
    return Content(
        [*rows, failed],
        layout=a_fleet(models),
        layout_file="layout.yaml",
        before=a_fleet(models[::-1]),
        verifications=[
            VerificationRecord("layout.yaml", 30, 0.1, seen, f"2026-11-27T0{n}:00:00+00:00")
            for n, seen in enumerate((first, second))
        ],
        placement={
            "explanation": ["2 devices: proven optimal."],
            "what_if": ["With 1 device: no."],
        },
        frontier={
            "objective": "max-throughput",
            "frontier": [
                {"devices": n, "value": n * 1.0, "bound": n * 1.1, "status": "feasible"}
                for n in (1, 2, 3)
            ],
        },
    )


LOOK = """
const each = (what, of) => [...document.querySelectorAll(what)].map(of);
document.querySelectorAll("details").forEach((part) => { part.open = true; });
await new Promise((done) => setTimeout(done, 300));
const mark = document.querySelector("#models .mark[data-row='2']");
mark.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
tell("row", document.getElementById("row").innerText);
tell("marks", document.querySelectorAll("#models .mark[data-row]").length);
tell("letters", document.querySelector(".figures .figure text").getBoundingClientRect().height);
tell("overflow", document.documentElement.scrollWidth - innerWidth);
tell("width", innerWidth);
const search = document.getElementById("words");
search.value = "gpt";
search.dispatchEvent(new Event("input"));
tell("found", each("details.item:not(.out)", (item) => item.dataset.name));
search.value = "";
search.dispatchEvent(new Event("input"));
document.querySelectorAll("#rows-overview button")[1].click();
tell("sorted", each("#rows-overview tbody td:nth-child(2)", (cell) => cell.innerText));
const seen = await axe.run();
tell("axe", seen.violations.map((v) => v.id + ": " + v.nodes[0].html));
"""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (768, "dark"), (1440, "light")])
def test_a_page_in_chromium(tmp_path: Path, content: Content, width: int, scheme: str):
    whole = tmp_path / "report.html"
    whole.write_text(html(report(content)), "utf-8")
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    told = {k: json.loads(v) for k, v in opened(whole, LOOK, width, *dark).items()}
    assert told["said"] == []
    assert told["requests"] == []
    assert told["overflow"] <= 0
    assert told["axe"] == []
    assert told["letters"] >= 10
    assert told["width"] == width
    assert "b1 c4" in told["row"]  # the third row of bert
    assert "100.0" in told["row"]
    assert [name.split()[0] for name in told["found"]] == ["a100-0/1g.5gb-1", "gpt"]
    assert told["sorted"] == sorted(told["sorted"], key=float)
    assert told["marks"] == 3 * 6 * 4  # latency, utilization, power, energy: every point in each


@pytest.mark.slow
def test_a_large_report_opens_its_models_on_demand(
    tmp_path: Path, content: Content, monkeypatch: pytest.MonkeyPatch
):
    """The figures of a model are compressed; opened, they are the same as in a small report."""
    small = html(report(content))
    monkeypatch.setattr(page, "FOLDED_POINTS", 5)
    large = html(report(content))
    assert small.count("<svg") - large.count("<svg") == 3 * 6
    whole = tmp_path / "report.html"
    whole.write_text(large, "utf-8")
    told = {k: json.loads(v) for k, v in opened(whole, LOOK).items()}
    assert told["marks"] == 3 * 6 * 4
    assert "b1 c4" in told["row"]
    assert told["said"] == []


@pytest.mark.slow
def test_it_prints(tmp_path: Path, content: Content):
    (tmp_path / "report.html").write_text(html(report(content)), "utf-8")
    target = tmp_path / "report.pdf"
    printed = command(
        f"--print-to-pdf={target}",
        f"--user-data-dir={tmp_path / 'chromium'}",
        (tmp_path / "report.html").as_uri(),
    )
    subprocess.run(printed, check=True, capture_output=True, timeout=120)
    assert target.read_bytes().startswith(b"%PDF-")
    assert target.stat().st_size > 50_000


class _Text(HTMLParser):
    """The text of each list item and cell."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def told(content: Content) -> str:
    parser = _Text()
    parser.feed(html(report(content)))
    return " ".join("".join(parser.words).split())


def test_what_is_wrong_stands_before_every_figure(content: Content):
    text = told(content)
    first_figure = text.index("Devices Every bar")
    for said in (
        "1 point failed (gpt): out of memory",
        "1 point in doubt (bert): another process used the GPU",
        f"{SLICE}, host CPU a CPU, driver 550.54, Triton 2.51.0: 18 measurements",
    ):
        assert text.index(said) < first_figure, said


def test_the_next_step_follows_from_what_is_known(content: Content):
    assert "Next: The layout held under load; put it into effect" in told(content)
    failing = replace(content, verifications=content.verifications[:1])
    assert "Next: The layout does not hold under load; place again" in told(failing)
    assert "The layout does not hold: slow" in told(failing)
    assert "test it under load: model-placer verify" in told(replace(content, verifications=()))
    bare = Content(content.measurements)
    assert "Next: The models are measured; place them" in told(bare)


def test_a_resident_says_where_else_it_would_fit_and_how_else_it_could_run(content: Content):
    """Two others have 1.8 of 5 GB and 40 of 100 % in use: with 1.4 GB and 40 % more, 80 %."""
    text = told(content)
    assert "a100-0/1g.5gb-1 (then 80% full), a100-1/1g.5gb-0 (then 80% full)" in text
    # b1 c4 has the rate of b1 c2, but 40 ms · 1.2 is above the limit of 30 ms; b2 c1 is 20 · 1.2
    assert "instances=1 b2 c1: 100 infer/s, 1.40 GB" in text
    assert "instances=1 b1 c4: 100 infer/s" not in text


def test_a_model_leads_to_its_devices_and_a_device_to_its_models(content: Content):
    made = html(report(content))
    assert 'In the layout: <a href="#device-1">a100-0/1g.5gb-1</a>, instances=1 b1 c2, 100' in made
    assert '<td class="l"><a href="#1-gpt">gpt</a></td><td class="l">instances=1 b1 c2</td>' in made
    assert 'id="device-1"' in made
    assert 'id="1-gpt"' in made


def test_names_are_text_and_never_markup(content: Content):
    hostile = replace(
        content.measurements[0], reason=None, warnings=("<script>alert(1)</script>`x`",)
    )
    made = html(report(replace(content, measurements=[hostile], layout=None, before=None)))
    assert "<script>alert" not in made
    assert "&lt;script&gt;alert(1)" in made


def test_a_thousand_points_and_a_thousand_models_are_under_three_megabytes():
    ten = [
        a_point(f"model_{n}", 2 ** (k % 5), 1 + k // 5, 100.0 + k)
        for n in range(10)
        for k in range(100)
    ]
    each = [a_point(f"model_{n}", 1, 1, 100.0) for n in range(1000)]
    for rows in (ten, each):
        assert len(html(report(Content(rows)))) < 3e6
