"""The time limit and Ctrl-C of `place`, with the real command line."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource
from placement.layout import check
from placement.layout import layout as layouts
from placement.problem.problem_file import problem_document

pytestmark = pytest.mark.slow
PLACE = (sys.executable, "-c", "from analyzer.cli import main; main()", "place")


@pytest.fixture(scope="module")
def hard(tmp_path_factory):
    """120 models with two options on 30 GPUs: far more than a minute's work to prove."""
    models = tuple(
        Model(
            f"m{i}",
            tuple(
                Option(
                    f"k{k}",
                    "gpu",
                    {
                        "memory": 1.0 + (i * 37 + k * 11) % 53 / 10,
                        "utilization": 20.0 + (i * 29 + k * 41) % 61,
                    },
                    10.0 + (i * 17 + k * 23) % 97,
                )
                for k in range(2)
            ),
        )
        for i in range(120)
    )
    problem = PlacementProblem(
        models,
        (PoolType("gpu", {"memory": 16, "utilization": 100}, {"memory": 0.4}),),
        (Pool("gpu", "gpu", 30),),
        (Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        objective="max-throughput",
    )
    path = tmp_path_factory.mktemp("hard") / "problem.json"
    path.write_text(json.dumps(problem_document(problem)))
    return problem, path


def interrupted_after(seconds, path, output):
    """Exit code, stdout and stderr of a `place` that was told to take ten minutes."""
    with subprocess.Popen(
        [*PLACE, "--problem", path, "--time-limit", "600s", "--output-format", "json",
         "-o", output],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            time.sleep(seconds)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=120)
        finally:
            process.kill()
    return process.returncode, stdout, stderr


def test_ctrl_c_gives_the_best_layout_so_far(hard, tmp_path):
    """After six seconds, or more where a busy machine has no layout by then."""
    problem, path = hard
    output = tmp_path / "layout.yaml"
    for seconds in (6, 30, 90):
        status, stdout, stderr = interrupted_after(seconds, path, output)
        assert status == 130
        if output.exists():
            break
    assert "Interrupted: this is the best layout found so far." in stderr
    answer = json.loads(stdout)
    assert answer["status"] == "feasible"
    assert 0 < answer["value"] <= answer["bound"]
    assert check.violations(problem, layouts.load(output)) == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_ends_it_at_once(hard, workers):
    with subprocess.Popen(
        [*PLACE, "--problem", hard[1], "--time-limit", "600s", "--workers", workers],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            time.sleep(6)
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (process.returncode, stdout) == (128 + signal.SIGTERM, "")
    assert "Traceback" not in stderr


@pytest.fixture
def demanding(hard, tmp_path):
    """The same models with rates, on as many GPUs as they need."""
    problem, _ = hard
    least = replace(problem, objective="min-hardware", pools=(Pool("gpu", "gpu"),))
    models = tuple(replace(m, rate=60.0) for m in least.models)
    path = tmp_path / "least.json"
    path.write_text(json.dumps(problem_document(replace(least, models=models))))
    return path


@pytest.mark.parametrize("ended", [signal.SIGINT, signal.SIGKILL])
def test_the_workers_end_with_the_command(hard, ended):
    """By Ctrl-C, or when it is killed and can do nothing about them."""
    with subprocess.Popen(
        [*PLACE, "--problem", hard[1], "--time-limit", "60s", "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            place = psutil.Process(process.pid)
            while len(workers := place.children()) < 2:
                assert process.poll() is None, "it ended without having had workers"
                time.sleep(0.1)
            process.send_signal(ended)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == (130 if ended == signal.SIGINT else -signal.SIGKILL)
    gone, alive = psutil.wait_procs(workers, timeout=20)
    assert (len(gone), alive) == (2, [])


def test_the_time_limit_holds_for_everything_together(demanding):
    """Reading, solving, checking and explaining; process start, and a busy machine, on top."""
    started = time.monotonic()
    done = subprocess.run(
        [*PLACE, "--problem", demanding, "--time-limit", "4s", "--output-format", "json"],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    spent = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["bound"] <= answer["value"]
    assert answer["explanation"]
    assert spent < 4 + 16  # a second, where the machine is idle
