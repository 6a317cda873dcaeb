"""`report` as a user calls it, on the founding case."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import ROOT, run


@pytest.fixture(scope="module")
def founding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("founding")
    table = ROOT / "examples" / "founding-case" / "profiles.csv"
    assert run("import", table, "--store", "profiles.db", cwd=folder).returncode == 0
    placed = run("place", "--explain", "--answer", "answer.json", "-o", "layout.yaml", cwd=folder)
    assert placed.returncode == 0, placed.stderr
    assert "With 5 devices at most: not everything fits." in placed.stdout
    curve = run("place", "--frontier", "--count", "6", "--output-format", "json", cwd=folder)
    (folder / "frontier.json").write_text(curve.stdout)
    return folder


def test_one_page_with_figures_and_data_beside_it(founding: Path):
    inputs = (
        "--layout",
        "layout.yaml",
        "--placement",
        "answer.json",
        "--frontier",
        "frontier.json",
    )
    outputs = ("-o", "out/report.html", "--figures", "out/figures", "--csv", "out/data")
    done = run("report", *inputs, *outputs, cwd=founding)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Report: out/report.html\nFigures: out/figures\nCsv: out/data\n"
    page = (founding / "out" / "report.html").read_text()
    assert "9 models on 6 devices" in page
    assert "utilization alone needs 6" in page
    assert "With 5 devices at most: not everything fits." in page
    assert len(list((founding / "out" / "figures").glob("*device-gpu-*.svg"))) == 6
    assert (founding / "out" / "figures" / "frontier.png").is_file()
    assert len((founding / "out" / "data" / "layout.csv").read_text().splitlines()) == 10


def test_the_layout_of_an_answer_is_shown_without_its_file(founding: Path):
    done = run("report", "--placement", "answer.json", "-o", "r.html", cwd=founding)
    assert done.returncode == 0, done.stderr
    assert "9 models on 6 devices" in (founding / "r.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--store", "none.db"), "none.db: no such profile store"),
        (("--layout", "answer.json"), "answer.json: is not a layout"),
        (("--placement", "layout.yaml"), "layout.yaml: has no `layout`; expected what `place"),
        (("--frontier", "answer.json"), "answer.json: has no `frontier`"),
        (("--verification", "layout.yaml"), "layout.yaml: is not a verification"),
        (("--current", "layout.yaml"), "--current is compared with a layout"),
        (("--models", "nope"), "nope"),
        (("-o", "layout.yaml/report.html"), "layout.yaml/report.html: cannot be written"),
    ],
)
def test_bad_input_is_one_clear_error(founding: Path, arguments: tuple[str, ...], said: str):
    done = run("report", *arguments, cwd=founding)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
