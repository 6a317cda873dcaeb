"""The check of a real GPU runs without one, too; `make gpu-check` in CI runs all of its parts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT
from pretended_nvml.fleet import Fleet

from analyzer.triton.runtime import Binary

pytestmark = pytest.mark.triton


def gpu_check(output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--pretended", "--output", output]
    return subprocess.run(
        [*map(str, command), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )


def results(output: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]


def test_queries_and_limits_on_a_pretended_gpu(
    tmp_path: Path, embedded_triton: Binary, pretended_driver: Fleet
):
    """One GPU; three models that fail, each in its way, and one after them that does not."""
    output = tmp_path / "results"
    done = gpu_check(output, "--part", "surroundings,limits")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NVML is pretended" in done.stdout
    rows = results(output)
    assert all(row["pretended"] is True for row in rows)
    judged = [row for row in rows if "passed" in row]
    assert {row["part"] for row in judged} == {"run", "surroundings", "limits"}
    assert len(judged) >= 11
    answers = json.loads((output / "surroundings" / "nvml.json").read_text())
    assert answers["pretended"] is True
    assert answers["answers"]["DeviceGetCount"]["answer"] == 1
    assert all(answer["microseconds"] > 0 for answer in answers["answers"].values())


def test_a_part_is_ended_when_its_time_is_over_and_what_it_found_is_kept(
    tmp_path: Path, embedded_triton: Binary, pretended_driver: Fleet
):
    """0.015 times 30 s, three times as long without a GPU, are 1.35 s: no part ends in them."""
    output = tmp_path / "results"
    done = gpu_check(output, "--part", "utilization", "--times", "0.015")
    assert done.returncode == 1
    failed = [row["what"] for row in results(output) if row.get("passed") is False]
    assert failed == ["utilization within 1.35 s", "utilization ended"]


def test_an_unknown_part_is_told_with_those_there_are(tmp_path: Path):
    done = gpu_check(tmp_path / "results", "--part", "memry")
    assert done.returncode == 2
    assert "unknown part 'memry'; parts: surroundings, memory" in done.stderr
