"""Tables, plots and bars in a terminal."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import COMMAND, ROOT, run
from some_rows import a_measurement

from analyzer.report import terminal
from analyzer.report.best import best, best_table
from analyzer.report.text_plot import latency_plot
from analyzer.report.text_table import text_table
from profiles.measurement import Latency, LoadPoint, Measurement
from profiles.store import ProfileStore


def a_point(concurrency: int, throughput: float, p95_ms: float, model: str = "bert") -> Measurement:
    return replace(
        a_measurement(model, concurrency, throughput),
        latency=Latency(p95_ms, p95_ms, p95_ms, p95_ms, p95_ms * 2, p95_ms * 3),
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with ProfileStore(tmp_path / "profiles.db") as opened:
        for concurrency, throughput, p95_ms in ((1, 50.0, 10.0), (2, 90.0, 15.0), (4, 95.0, 40.0)):
            opened.add(a_point(concurrency, throughput, p95_ms))
    return tmp_path


def test_columns_are_left_out_least_first_until_the_table_fits(monkeypatch: pytest.MonkeyPatch):
    header, row = ["model", "a", "b", "c"], ["bert", "1111111111", "2222222222", "3333333333"]
    monkeypatch.setenv("COLUMNS", "30")
    table = text_table(header, [row], least=["b", "a"])
    assert table.splitlines()[0].split() == ["model", "a", "c"]
    assert table.endswith("Left out for the width: b.")
    monkeypatch.setenv("COLUMNS", "80")
    assert text_table(header, [row], least=["b", "a"]).splitlines()[0].split() == header


def test_what_must_stay_is_shortened(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "30")
    rows = [["a_very_long_name_of_a_model_indeed", "100.0"]]
    table = text_table(["model", "infer/s"], rows)
    assert max(map(len, table.splitlines())) == 30
    assert "a_very_long_na…indeed" in table


def test_colours_take_no_width():
    plain = text_table(["a", "b"], [["x", "pass"]])
    painted = text_table(["a", "b"], [["x", terminal.paint("pass", "green")]])
    assert painted != plain
    assert terminal.plain(painted) == plain


def test_show_fits_eighty_columns(store: Path):
    done = run("show", cwd=store, COLUMNS="80")
    table = done.stdout.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert "infer/s" in table[0]
    assert "p99 ms" in table[0]
    assert "CPU cores" in run("show", cwd=store).stdout  # a pipe has no width


def in_a_terminal(folder: Path, *arguments: str, **environment: str) -> str:
    """What the command prints to a terminal of 24 × 80."""
    leader, follower = pty.openpty()
    os.set_blocking(leader, False)
    environ = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS"}}
    subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | environment,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    os.close(follower)
    said = b""
    try:
        while part := os.read(leader, 65536):
            said += part
    except OSError:  # the end of a terminal
        pass
    os.close(leader)
    return said.decode()


def test_colours_are_for_terminals_that_want_them(store: Path):
    arguments = ("place", "--device", "Tesla T4", "--workers", "1")
    assert "\x1b[32m█" in in_a_terminal(store, *arguments)
    assert "\x1b" not in in_a_terminal(store, *arguments, NO_COLOR="1")
    piped = run(*arguments, cwd=store).stdout
    assert "\x1b" not in piped
    assert "█" in piped


def test_bars_are_drawn_where_there_are_no_blocks(store: Path):
    done = run("place", "--device", "Tesla T4", cwd=store, PYTHONIOENCODING="ascii:replace")
    assert "utilization         #######................." in done.stdout  # 30 of 100 %


def test_the_best_point_is_that_of_most_throughput_within_the_limit():
    points = [a_point(1, 50, 10), a_point(2, 90, 15), a_point(4, 95, 40)]
    (free,), (limited,), (none,) = (best(points, ms, 95) for ms in (None, 20, 5))
    assert free.point is points[2]
    assert limited.point is points[1]
    assert none.point is None
    assert none.least_ms == 10
    assert best(points, 20, 99)[0].point is points[0]  # twice the p95
    assert "no point within p95 5 ms; the least is 10 ms" in best_table([none], 5, 95)


def test_points_of_which_the_percentile_is_not_known_are_told_with_the_remedy():
    """20 requests tell p50 (11 are needed), and not p99 (662)."""
    few = replace(a_point(1, 50, 10), requests=20)
    said = best_table(best([few], 100, 99), 100, 99)
    assert "p99 is known of none" in said
    assert "p99 is not known of 1 of 1 points" in said
    assert "profile --latency-percentile 99 --remeasure" in said
    assert "not known" not in best_table(best([few], 100, 50), 100, 50)
    assert "not known" not in best_table(best([few], None, 99), None, 99)


def test_a_plot_has_every_point_where_it_belongs():
    """The point of most throughput and latency is in the upper right corner."""
    rows = [a_point(1, 50, 10), a_point(4, 100, 15)]
    other = replace(rows[0], load=LoadPoint(4, 1), throughput=75.0)
    lines = latency_plot("bert", [*rows, other]).splitlines()
    plot = [line.partition("│")[2] or line.partition("┤")[2] for line in lines[1:17]]
    (high,) = [n for n, line in enumerate(plot) if line.rstrip().endswith("1")][:1] or [None]
    (low,) = [n for n, line in enumerate(plot) if "1" in line and "2" in line]
    assert high is not None
    assert high < low
    assert plot[low].index("1") < plot[low].index("2") < plot[high].index("1")
    assert lines[-2:] == ["  1  batch 2", "  2  batch 4"]


def test_show_plots_sorts_and_writes_csv(store: Path):
    assert "bert: p99 latency" in run("show", "--plot", "--percentile", "99", cwd=store).stdout
    done = run("show", "--csv", "--sort", "-throughput", cwd=store)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["throughput_infer_per_s"] for row in rows] == ["95.0", "90.0", "50.0"]
    done = run("show", "--best", "--latency-limit", "20", cwd=store)
    assert [line.split()[-3] for line in done.stdout.splitlines()[1:]] == ["90.0"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--plot", "--best"), "Give one of --plot and --best at a time"),
        (("--latency-limit", "5"), "--latency-limit is that of --best"),
        (("--csv", "--output-format", "json"), "either --csv or --output-format json"),
        (("--sort", "speed"), "'speed' is not one of"),
        (("--best", "--latency-limit", "0"), "0"),
        (("--best", "--models", "nope"), "nope"),
    ],
)
def test_what_show_cannot_do_is_one_clear_error(store: Path, arguments: tuple[str, ...], said: str):
    done = run("show", *arguments, cwd=store)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
