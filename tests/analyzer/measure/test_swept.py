"""What is swept takes effect on a real Triton, and composed models are measured as one."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from analyzer.deploy.smoke_test import check_repository
from analyzer.load.inputs import Inputs
from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from analyzer.measure.plan import make_plan
from analyzer.report.tables import measurements_table
from analyzer.triton import local
from analyzer.triton.options import LaunchOptions
from analyzer.triton.runtime import Binary
from placement import export
from placement.layout import Layout, PlacedDevice, Resident
from profiles import model_config, repository
from profiles.errors import InputError
from profiles.measurement import Measurement
from profiles.variant import (
    HostPolicy,
    RateLimiter,
    RateLimitResource,
    Variant,
    WarmUp,
    server_arguments,
)

pytestmark = pytest.mark.triton

MODELS = Path(__file__).parents[1] / "swept_models"
QUICK = SteadyStateRule(relative_half_width=0.1, max_duration_s=1.5)


@pytest.fixture
def options(tmp_path: Path, embedded_triton: Binary) -> Options:
    return Options(MODELS, tmp_path / "profiles.db", gpus="none", rule=QUICK)


def measured(options: Options, **changes: object) -> list[Measurement]:
    return profile.run(replace(options, **changes), lambda _: None).measurements


@contextmanager
def serving(variant: Variant) -> Iterator[str]:
    """A Triton that has the variant loaded: its address."""
    config = repository.read_model(MODELS, variant.model).config
    with local.launch(
        MODELS, options=LaunchOptions(arguments=server_arguments([variant]))
    ) as server:
        server.load(variant.model, model_config.apply_variant(config, variant))
        yield server.http_url


def ask(url: str, model: str, size: int = 3) -> list[int]:
    tensor = InferInput("IN", [1, size], "FP32")
    tensor.set_data_from_numpy(np.zeros([1, size], dtype=np.float32))
    with InferenceServerClient(url) as client:
        found: list[int] = client.infer(model, [tensor]).as_numpy("OUT")[0].tolist()
    return found


def test_a_warm_up_and_a_host_policy_reach_the_instances(embedded_triton: Binary):
    """Three requests of one inference and three of the largest batch came before ours."""
    variant = Variant(
        "witness",
        warm_up=WarmUp(3, (("IN", (5,)),)),
        host_policy=HostPolicy("first", (("cpu-cores", "0-0"),)),
    )
    with serving(variant) as url:
        assert ask(url, "witness") == [6, 1]


def test_a_rate_limiter_lets_so_many_instances_run_as_have_their_resources(options: Options):
    """Of two instances that rest for 20 ms one holds all that there is: 50 infer/s at most, not
    100. Figures under a rate limit are told from those of a plain server."""
    limiters = tuple(RateLimiter((RateLimitResource("R", count, 2),)) for count in (1, 2))
    both, one = measured(
        options,
        models=["rester"],
        sweep=Sweep((1,), (2,), instance_counts=(2,), rate_limiters=limiters),
    )
    assert one.throughput < 51
    assert both.throughput > 1.3 * one.throughput
    assert "--rate-limit-resource=R:2" in one.environment.triton


def test_an_ensemble_is_measured_with_its_models_in_their_variants(options: Options):
    """Two steps of 5 ms through one model: 100 infer/s with one instance of it, 200 with two.

    The memory is that of all together: an ensemble alone holds next to nothing, a stub 15 MB.
    """
    sweep = Sweep((1,), (2,), members=(("doubler", Sweep(instance_counts=(1, 2))),))
    one, two = measured(options, models=["pipeline"], sweep_by_model={"pipeline": sweep})
    assert [m.status for m in (one, two)] == ["ok", "ok"]
    assert one.throughput < 101
    assert two.throughput > 1.3 * one.throughput
    assert two.usage is not None
    assert two.usage.memory_cold_bytes > 20e6
    assert two.variant.members == (Variant("doubler", instance_count=2),)


def test_a_models_business_logic_fails_without_the_models_that_it_calls(options: Options):
    (alone,) = measured(options, models=["caller"], sweep=Sweep((1,), (1,)))
    assert alone.status == "failed"
    assert "doubler" in (alone.reason or "")


def test_the_configuration_file_says_what_differs_from_model_to_model(
    tmp_path: Path, embedded_triton: Binary
):
    """As a user types it: a flag for all models, and each with its own."""
    (tmp_path / "model-placer.yaml").write_text(f"""
        model_repository: {MODELS}
        profile: {{gpus: none, batch_sizes: [1], max_duration: 1.5s, confidence_interval: 20%}}
        models:
          caller: {{concurrency: [2], members: [doubler]}}
          witness:
            shapes: {{IN: [7]}}
            warm_ups: [2]
            rate_limiters: ["R1:1/2@3"]
            host_policies: [{{name: first, cpu-cores: 0-0}}]
    """)
    command = [sys.executable, "-c", "from analyzer.cli import main; main()", "profile"]
    done = subprocess.run(
        [*command, "--concurrency", "1", "--output-format", "json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    caller, witness = json.loads(done.stdout)
    assert (caller["status"], caller["load"]["concurrency"]) == ("ok", 2)
    assert [member["model"] for member in caller["variant"]["members"]] == ["doubler"]
    assert (witness["status"], witness["load"]["concurrency"]) == ("ok", 1)
    assert witness["variant"]["warm_up"] == {"requests": 2, "dims": [["IN", [7]]]}
    assert witness["variant"]["host_policy"]["name"] == "first"
    assert "--rate-limit-resource=R1:2" in witness["environment"]["triton"]


def test_a_change_of_a_member_is_a_change_of_the_ensemble(options: Options, tmp_path: Path):
    copy = tmp_path / "models"
    for name in ("pipeline", "doubler"):
        shutil.copytree(MODELS / name, copy / name)
    changed = Options(copy, tmp_path / "profiles.db")
    before = {point.variant.model: point.digest for point in make_plan(changed).points}
    (copy / "doubler" / "1" / "weights").write_text("new")
    after = {point.variant.model: point.digest for point in make_plan(changed).points}
    assert before["pipeline"] != after["pipeline"]


def test_a_members_name_is_checked_before_anything_starts(options: Options):
    with pytest.raises(InputError, match="Did you mean 'doubler'"):
        measured(options, models=["caller"], with_models={"caller": ["dubler"]})
    with pytest.raises(InputError, match="Did you mean 'caller'"):
        measured(options, with_models={"coller": ["doubler"]})


@pytest.mark.parametrize("model", ["counter", "counted"])
def test_a_stateful_model_is_measured_by_sequences(options: Options, model: str):
    """So is an ensemble around it. The model refuses what is no sequence; Triton's count is the
    client's, ends included."""
    said: list[str] = []
    asked = replace(options, models=[model], sweep=Sweep((1, 4), (1, 4), sequence_length=5))
    outcome = profile.run(asked, lambda _: None, said.append)
    assert [str(m.load) for m in outcome.measurements] == ["b1 c1 s5", "b1 c4 s5"]
    for m in outcome.measurements:
        assert (m.status, m.reason, m.failures) == ("ok", None, 0)
        assert not [warning for warning in m.warnings if "counted" in warning]
    assert f"{model} is stateful: it is measured with batch size 1." in said


def test_a_decoupled_model_is_measured_by_streams_which_is_said(options: Options, tmp_path: Path):
    """Two responses to each request, 5 ms apart: 10 ms at least to the last of them."""
    data = tmp_path / "two.json"
    data.write_text('{"data": [{"COUNT": [2]}]}')
    said: list[str] = []
    asked = replace(
        options,
        models=["streamer", "rester"],
        sweep=Sweep((1,), (2,)),
        inputs=Inputs(data_by_model={"streamer": str(data)}),
    )
    stream, plain = profile.run(asked, lambda _: None, said.append).measurements
    assert [m.status for m in (stream, plain)] == ["ok", "ok"]
    assert stream.responses == 2 * stream.requests
    assert stream.responses_per_s == pytest.approx(2 * stream.throughput, rel=0.05)
    assert stream.first_response is not None
    assert stream.latency is not None
    assert stream.latency.p50_ms > stream.first_response.p50_ms + 5
    assert not [warning for warning in stream.warnings if "counted" in warning]
    assert any("over gRPC" in line for line in said)
    assert "responses/s, first p50" in measurements_table([stream])
    assert "--rate-limit" not in plain.environment.triton
    assert (plain.responses, plain.first_response, plain.responses_per_s) == (0, None, None)


def test_a_layout_of_composed_models_is_exported_with_its_members_and_answers(
    tmp_path: Path, embedded_triton: Binary
):
    """An ensemble with two instances of its member, business logic that calls the same member,
    and a decoupled model: every one loads, and answers a request."""
    doubler = Variant("doubler", instance_count=2)
    residents = [
        Resident("pipeline", "o", variant=Variant("pipeline", members=(doubler,))),
        Resident("caller", "o", variant=Variant("caller", members=(Variant("doubler"),))),
        Resident("streamer", "o"),
    ]
    layout = Layout((PlacedDevice("cpu-1", "Xeon (2 cores)", tuple(residents)),))
    export.export(layout, MODELS, tmp_path)
    repository = tmp_path / "triton" / "cpu-1"
    config = model_config.read(repository / "doubler" / "config.pbtxt")
    assert [group.count for group in config.instance_group] == [2]
    assert set(check_repository(repository)) == {"caller", "doubler", "pipeline", "streamer"}
