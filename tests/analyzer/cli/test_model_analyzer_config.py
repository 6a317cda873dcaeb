"""`profile -f` with a YAML file of Model Analyzer, from its documentation's examples."""

import json
from pathlib import Path

import pytest
import yaml
from command_line import run

from analyzer.cli.model_analyzer_config import translate
from profiles.errors import InputError
from profiles.model_analyzer import variants_by_model

FILE = Path("ma.yaml")


def translated(text: str):
    return translate(yaml.safe_load(text), FILE)


def test_explicit_points_are_a_grid():
    """`docs/config.md`: a model with parameters and model_config_parameters is not searched."""
    made, notes = translated("""
    model_repository: models
    run_config_search_disable: true
    profile_models:
      bert:
        parameters: {concurrency: {start: 2, stop: 8, step: 2}, batch_sizes: "1,2,3"}
        model_config_parameters:
          max_batch_size: [6, 8]
          dynamic_batching: {max_queue_delay_microseconds: [200, 300], preferred_batch_size: [4]}
          instance_group: [{kind: KIND_GPU, count: [1, 2]}]
          parameters: {threads: {string_value: [1, 2]}}
    """)
    assert made == {
        "model_repository": "models",
        "profile": {},
        "models": {
            "bert": {
                "batch_sizes": [1, 2, 3],
                "concurrency": [2, 4, 6, 8],
                "max_batch_sizes": [6, 8],
                "max_queue_delays_us": [200, 300],
                "preferred_batch_sizes": [4],
                "instance_counts": [1, 2],
                "kind": "KIND_GPU",
                "parameters": {"threads": ["1", "2"]},
            }
        },
    }
    assert notes == []


def test_what_it_would_search_by_itself_is_searched():
    made, _ = translated("""
    profile_models: bert, gpt
    run_config_search_mode: quick
    run_config_search_max_concurrency: 8
    run_config_search_max_instance_count: 2
    run_config_search_max_model_batch_size: 4
    objectives: [perf_throughput]
    constraints: {perf_latency_p99: {max: 100}}
    """)
    assert made["models"]["gpt"] == {
        "batch_sizes": [1],
        "concurrency": [1, 2, 4, 8],
        "instance_counts": [1, 2],
        "max_batch_sizes": [1, 2, 4],
        "max_queue_delays_us": [0],
    }
    assert made["profile"] == {
        "search": "auto",
        "goal": "throughput",
        "latency_limit": 100,
        "latency_percentile": "99",
    }


def test_flags_of_perf_analyzer_give_shapes_and_data():
    made, notes = translated("""
    run_config_search_disable: true
    triton_launch_mode: remote
    triton_http_endpoint: host:9000
    client_protocol: grpc
    profile_models: {bert: {cpu_only: true, perf_analyzer_flags: {input-data: data.json}}, gpt: {}}
    perf_analyzer_flags: {shape: ["IDS:128", "MASK:1,128"], percentile: 95, streaming: true}
    """)
    shapes = {"IDS": [128], "MASK": [1, 128]}
    assert made["models"]["bert"]["shapes"] == made["models"]["gpt"]["shapes"] == shapes
    assert made["models"]["bert"]["input_data"] == "data.json"
    assert made["models"]["bert"]["kind"] == "KIND_CPU"
    assert made["profile"] == {
        "url": "host:9000",
        "launch_mode": "remote",
        "load_generator": "grpc",
        "latency_percentile": "95",
    }
    assert notes == ["ma.yaml: not heeded: perf_analyzer_flags: streaming."]


def test_every_field_that_is_not_heeded_is_named():
    _, (note,) = translated("""
    export_path: out
    triton_server_flags: {log_verbose: true}
    run_config_search_disable: true
    profile_models:
      bert:
        weighting: 2
        constraints: {gpu_used_memory: {max: 200}}
        model_config_parameters:
          optimization: {execution_accelerators: {}}
          instance_group: [{kind: KIND_GPU, count: 1}, {kind: KIND_CPU, count: 1}]
    """)
    for name in (
        "export_path",
        "triton_server_flags",
        "profile_models: bert: weighting",
        "profile_models: bert: constraints: gpu_used_memory",
        "model_config_parameters: optimization",
        "instance_group with several groups",
    ):
        assert name in note


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("profile_models: 3", "ma.yaml: profile_models: expected names"),
        ("profile_models: {bert: 3}", "ma.yaml: profile_models: bert: expected a mapping, not 3"),
        ("{profile_models: [a], concurrency: many}", "a: concurrency: expected numbers such as"),
        ("{profile_models: [a], perf_analyzer_flags: {shape: IDS}}", "shape: expected INPUT:1,2"),
    ],
)
def test_what_is_not_built_as_it_should_be_is_named(text: str, named: str):
    with pytest.raises(InputError, match=named):
        translated(text)


def test_profile_reads_it_and_says_what_it_does_not_heed(tmp_path: Path):
    (tmp_path / "models").mkdir()
    (tmp_path / "ma.yaml").write_text(
        "{model_repository: models, profile_models: [bert], export_path: out}"
    )
    done = run("profile", "-f", "ma.yaml", cwd=tmp_path)
    assert "ma.yaml: not heeded: export_path" in done.stderr
    assert "Model repository models is empty" in done.stderr
    assert done.returncode == 2
    done = run("place", "-f", "ma.yaml", cwd=tmp_path)
    assert "`profile -f` alone reads it" in done.stderr
    assert done.returncode == 2


def test_its_output_repository_is_a_source_of_variants(tmp_path: Path):
    """Its default and one variant, which differs in instances and batching: 2 x 2 points.

    As a model repository it cannot be served, and the error says what it can be used for.
    """
    base = (
        'backend: "python" max_batch_size: 8 input [{ name: "x" data_type: TYPE_FP32 dims: [4] }] '
        'output [{ name: "y" data_type: TYPE_FP32 dims: [4] }] '
    )
    one, two = (f"instance_group [{{ count: {n} kind: KIND_CPU }}]" for n in (1, 2))
    for folder, text in (
        ("models/bert", base + one),
        ("output/bert_config_default", f'name: "bert" {base}{one}'),
        ("output/bert_config_0", f'name: "bert" {base}{two} dynamic_batching {{ }}'),
    ):
        (tmp_path / folder / "1").mkdir(parents=True)
        (tmp_path / folder / "config.pbtxt").write_text(text)
    found = variants_by_model(tmp_path / "output")["bert"]
    assert [str(variant) for variant in found] == [
        "instances=2,dynamic_batching=0us",
        "as configured",
    ]
    common = ("--concurrency", "1,2", "--batch-sizes", "1", "--dry-run", "--output-format", "json")
    done = run("profile", "-m", "models", "--variants", "output", *common, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["variants"], row["points"]) == (2, 4)
    served = run("profile", "-m", "output", "--strict", cwd=tmp_path)
    assert served.returncode == 2
    assert "--variants beside the models' own repository" in served.stderr
