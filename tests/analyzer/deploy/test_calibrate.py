"""Place, try, learn, place again: on plain layouts, and with real Tritons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.deploy.calibrate import place_until_it_holds
from analyzer.deploy.judge import Check
from analyzer.deploy.verify import Verification
from analyzer.triton.runtime import Binary
from placement.layout import Layout, PlacedDevice, Resident
from profiles.environment import Environment
from profiles.errors import NoAnswerError
from profiles.measurement import LoadPoint, Measurement, Usage
from profiles.store import ProfileStore
from profiles.variant import Variant

GOOD = Verification((Check("d", "m", "throughput", 1.0, 1.0, "infer/s", holds=True),))
BAD = Verification(
    (Check("d", "m", "throughput", 1.0, 0.5, "infer/s", holds=False, reason="m is too slow"),)
)


def a_layout(rate: float) -> Layout:
    return Layout((PlacedDevice("d", "Tesla T4", (Resident("m", "o", 1.0, rate),)),))


def test_it_places_again_until_the_layout_holds():
    layouts = iter([a_layout(100.0), a_layout(80.0), a_layout(60.0)])
    seen = iter([BAD, BAD, GOOD])
    rounds = place_until_it_holds(lambda _: next(layouts), lambda _: next(seen), most=5)
    assert [r.layout.rates()["m"] for r in rounds] == [100.0, 80.0, 60.0]
    assert rounds[-1].seen.holds


def test_a_failure_from_which_nothing_is_learnt_ends_it():
    with pytest.raises(NoAnswerError, match="new measurements do not change it:\n  m is too slow"):
        place_until_it_holds(lambda _: a_layout(100.0), lambda _: BAD, most=5)


def test_it_ends_after_so_many_rounds():
    rates = iter(range(100, 0, -1))
    with pytest.raises(NoAnswerError, match="No layout held in 3 rounds"):
        place_until_it_holds(lambda _: a_layout(next(rates)), lambda _: BAD, most=3)


def test_when_nothing_fits_any_more_the_last_failure_is_told():
    layouts = iter([a_layout(100.0)])

    def place(_: float) -> Layout:
        try:
            return next(layouts)
        except StopIteration:
            raise NoAnswerError("nothing fits") from None

    with pytest.raises(NoAnswerError, match=r"[Nn]othing fits(.|\n)*m is too slow"):
        place_until_it_holds(place, lambda _: BAD, most=3)


def test_what_was_used_too_much_is_planned_for_no_more():
    """80 % are allowed and 100 % were used: the next layout plans for four fifths of the limit, the
    one after that, of which 88.9 % were used, for 80/88.9 of these."""
    parts: list[float] = []

    def place(part: float) -> Layout:
        parts.append(part)
        device = PlacedDevice("d", "Tesla T4", (), {}, {"utilization": 80.0})
        return Layout((replace(device, uses={"utilization": 80.0 * part}),))

    def seen(percent: float) -> Verification:
        holds = percent <= 88
        return Verification((Check("d", None, "utilization", 80.0, percent, "%", holds=holds),))

    used = iter([100.0, 88.9, 79.0])
    rounds = place_until_it_holds(place, lambda _: seen(next(used)), most=5)
    assert parts == pytest.approx([1.0, 0.8, 0.8 * 80 / 88.9])
    assert rounds[-1].seen.holds


# Every inference has the device to itself for 10 ms: models of one server wait for each other.
TAKER = """
import fcntl
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        self.device = Path(args["model_repository"]).parent.joinpath("device").open("w")

    def execute(self, requests):
        responses = []
        for request in requests:
            fcntl.flock(self.device, fcntl.LOCK_EX)
            time.sleep(0.01)
            fcntl.flock(self.device, fcntl.LOCK_UN)
            array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]))
        return responses
"""
CONFIG = """
backend: "python"
input { name: "IN" data_type: TYPE_INT32 dims: [ 1 ] }
output { name: "OUT" data_type: TYPE_INT32 dims: [ 1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""


@pytest.mark.triton
def test_the_slowdown_that_a_trial_shows_moves_a_model_to_another_host(
    embedded_triton: Binary, tmp_path: Path
):
    """Two models that take a device for 10 ms, 70 a second demanded of either: memory alone is
    limited, so one host is promised, and it cannot: 1.4 s of work in a second. Then each has one.
    """
    models, store = tmp_path / "models", tmp_path / "profiles.db"
    kind = "Xeon (1 cores)"
    for name in ("ada", "bob"):
        (models / name / "1").mkdir(parents=True)
        (models / name / "1" / "model.py").write_text(TAKER)
        (models / name / "config.pbtxt").write_text(CONFIG)
    with ProfileStore(store) as opened:
        for name in ("ada", "bob"):
            opened.add(
                Measurement(
                    Variant(name),
                    LoadPoint(1, 1),
                    kind,
                    Environment(),
                    throughput=90.0,
                    usage=Usage(10**8, 10**8, 92.0),
                    extra={"device_memory_bytes": 8e9, "device_cores": 1.0},
                )
            )
    demand = tmp_path / "demand.yaml"
    demand.write_text("models:\n  ada: {rate: 70}\n  bob: {rate: 70}\n")
    arguments = ["place", "--store", store, "--device", kind, "--limits", "memory", "--demand"]
    arguments += [demand, "--verify", "-m", models, "--duration", "2s", "--tolerance", "20%"]
    arguments += ["-o", tmp_path / "layout.yaml", "--output-format", "json"]
    run = subprocess.run(
        [sys.executable, "-c", "from analyzer.cli import main; main()", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "Round 1: the layout does not hold" in run.stderr
    document = json.loads(run.stdout)
    assert document["rounds"] == 2
    assert len(document["layout"]["devices"]) == 2
