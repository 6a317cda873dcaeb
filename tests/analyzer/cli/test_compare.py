"""`compare`: a difference is one beyond the noise, and an error beyond the tolerance."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from command_line import ROOT, run
from some_rows import a_measurement

from analyzer.report.compare import compare, markdown
from profiles.measurement import Confidence, Latency, Measurement, Usage
from profiles.store import ProfileStore


def a_point(
    throughput: float = 100.0, half: float = 0.04, memory: int = 100, at: str = "2026-11-20"
) -> Measurement:
    latency = 1000 / throughput
    return replace(
        a_measurement("bert", throughput=throughput),
        latency=Latency(*[latency] * 6),
        confidence=Confidence(half, half),
        usage=Usage(memory, memory, 30.0),
        measured_at=f"{at}T12:00:00.000+00:00",
        model_digest=f"abcd{at[-2:]}",
    )


def verdicts(before: Measurement, after: Measurement, tolerance: float = 0.05) -> dict[str, str]:
    found = compare([before], [after], tolerance)
    return {c.figure: "beyond" if c.beyond else c.verdict for c in found.changes}


def test_a_difference_within_the_noise_is_none():
    """±4 % of 100 and of 95 are ±5.5 together, more than 5; ±1 % are ±1.4."""
    assert verdicts(a_point(100), a_point(95))["throughput"] == "within noise"
    assert verdicts(a_point(100, 0.01), a_point(95.5, 0.01))["throughput"] == "worse"
    assert verdicts(a_point(100, 0.01), a_point(94, 0.01))["throughput"] == "beyond"
    assert verdicts(a_point(100, 0.01), a_point(106, 0.01))["throughput"] == "better"


def test_latency_and_memory_are_worse_when_there_is_more_of_them():
    found = verdicts(a_point(100, 0.01, memory=100), a_point(80, 0.01, memory=110))
    assert found == {"throughput": "beyond", "p95 latency": "beyond", "hot memory": "beyond"}
    assert verdicts(a_point(memory=110), a_point(memory=100))["hot memory"] == "better"
    assert verdicts(a_point(memory=100), a_point(memory=104))["hot memory"] == "worse"


def test_a_point_that_fails_now_does_not_hold():
    failed = replace(a_point(), status="failed", reason="out of memory\nand more")
    found = compare([a_point()], [failed], 0.05)
    assert not found.holds
    assert found.failing[0].endswith(": out of memory")
    assert compare([failed], [a_point()], 0.05).holds


def test_markdown_keeps_names_in_their_cells():
    strange = replace(
        a_point(100, 0.01), variant=replace(a_point().variant, parameters=(("a|b", "<i>"),))
    )
    text = markdown(compare([strange], [replace(strange, throughput=50)], 0.05), 0.05, every=False)
    row = next(line for line in text.splitlines() if "worse than tolerated" in line)
    assert "a\\|b=&lt;i>" in row
    assert "**does not hold**" in text


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with ProfileStore(tmp_path / "profiles.db") as opened:
        opened.add(a_point(100, 0.01, at="2026-11-20"))
        opened.add(a_point(80, 0.01, at="2026-11-25"))
    return tmp_path


def test_two_dates_and_two_versions_of_one_store(store: Path):
    for before in ("profiles.db@2026-11-20", "profiles.db@abcd20", "profiles.db@2026-11-24T23"):
        done = run("compare", before, "profiles.db", cwd=store)
        assert done.returncode == 1, done.stderr
        assert "-20.0%" in done.stdout
        assert "worse than tolerated" in done.stdout
        assert "2 worse by more than 5%" in done.stderr  # throughput and latency
    assert run("compare", "profiles.db@2026-11-20", "profiles.db@abcd20", cwd=store).returncode == 0


def test_the_tolerance_decides_the_exit_code(store: Path):
    arguments = ("profiles.db@2026-11-20", "profiles.db", "--tolerance", "30%")
    done = run("compare", *arguments, "--output-format", "json", cwd=store)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["holds"] is True
    assert document["changes"][0]["verdict"] == "worse"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("none.db", "no such profile store"),
        ("profiles.db@yesterday", "'yesterday' is neither a date"),
        ("profiles.db@2020-01-01", "has no measurements"),
        ("profiles.db@", "'' is neither a date"),
    ],
)
def test_bad_input_is_one_clear_error(store: Path, before: str, said: str):
    done = run("compare", before, "profiles.db", cwd=store)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["github-workflow.yml", "gitlab-ci.yml"])
def test_the_example_workflows_are_yaml_and_their_commands_exist(name: str):
    text = (ROOT / "examples" / "ci" / name).read_text()
    yaml.safe_load(text)
    for step in ("profile", "compare", "report"):
        assert f"model-placer {step} " in text
