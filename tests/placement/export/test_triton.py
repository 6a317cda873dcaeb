"""Exported repositories: their text, and that a real Triton serves them as they are."""

from __future__ import annotations

import json
from pathlib import Path

import echo_model
import pytest

from analyzer.deploy.smoke_test import check_repository
from analyzer.triton import http_api, local
from analyzer.triton.runtime import Binary
from placement import export
from placement.export.servers import servers
from placement.layout import Layout, PlacedDevice, Resident
from profiles import model_config
from profiles.errors import InputError
from profiles.variant import (
    DynamicBatching,
    HostPolicy,
    RateLimiter,
    RateLimitResource,
    Variant,
)

CPU = "Xeon (2 cores)"

BERT = """
# Weights of March; ask Ann before you change the dims.
backend: "onnxruntime"
max_batch_size: 8
input { name: "ids" data_type: TYPE_INT64 dims: [ 128 ] }
output { name: "logits" data_type: TYPE_FP32 dims: [ 2 ] }
version_policy { specific { versions: [ 2 ] } }
instance_group {
  count: 1
  kind: KIND_GPU
  rate_limiter { resources { name: "R1" count: 4 } priority: 2 }
}
parameters { key: "threads" value { string_value: "1" } }
model_warmup {
  name: "zeros"
  batch_size: 1
  inputs { key: "ids" value { data_type: TYPE_INT64 dims: [ 128 ] zero_data: true } }
}
model_transaction_policy { decoupled: false }
"""
PIPELINE = """
platform: "ensemble"
max_batch_size: 8
input { name: "ids" data_type: TYPE_INT64 dims: [ 128 ] }
output { name: "logits" data_type: TYPE_FP32 dims: [ 2 ] }
ensemble_scheduling { step {
  model_name: "bert" model_version: -1
  input_map { key: "ids" value: "ids" }
  output_map { key: "logits" value: "logits" }
} }
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    repository = tmp_path / "models"
    for version in ("1", "2"):
        (repository / "bert" / version).mkdir(parents=True)
        (repository / "bert" / version / "model.onnx").write_text(f"weights {version}")
    (repository / "bert" / "labels.txt").write_text("no\nyes\n")
    (repository / "bert" / "config.pbtxt").write_text(BERT)
    (repository / "pipeline").mkdir()
    (repository / "pipeline" / "config.pbtxt").write_text(PIPELINE)
    (repository / "bare" / "1").mkdir(parents=True)
    (repository / "shared.onnx").write_text("shared weights")
    (repository / "bare" / "1" / "model.onnx").symlink_to("../../shared.onnx")
    return repository


def a_device(name: str, *residents: Resident, kind: str = "Tesla T4", **more: str) -> PlacedDevice:
    return PlacedDevice(name, kind, residents, **more)  # type: ignore[arg-type]


def a_resident(model: str, **choice: object) -> Resident:
    return Resident(model, "o", variant=Variant(model.partition("#")[0], **choice))  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_a_variant_stands_in_the_configuration_and_all_else_is_kept(models, tmp_path):
    chosen = a_resident(
        "bert",
        max_batch_size=4,
        instance_count=3,
        dynamic_batching=DynamicBatching((2, 4), 100),
        parameters=(("threads", "2"),),
    )
    export.export(Layout((a_device("gpu-1", chosen),)), models, tmp_path / "out")
    written = tmp_path / "out" / "triton" / "gpu-1" / "bert"
    config = model_config.read(written / "config.pbtxt")
    assert (config.name, config.max_batch_size) == ("bert", 4)
    (group,) = config.instance_group
    assert (group.count, list(group.gpus)) == (3, [0])
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4]
    assert config.parameters["threads"].string_value == "2"
    original = model_config.parse(BERT, "")
    assert group.rate_limiter == original.instance_group[0].rate_limiter
    for kept in ("input", "output", "version_policy", "model_warmup", "model_transaction_policy"):
        assert getattr(config, kept) == getattr(original, kept)
    assert (written / "config.pbtxt.original").read_text() == BERT
    assert (written / "2" / "model.onnx").read_text() == "weights 2"
    assert (written / "labels.txt").is_file()


def test_an_ensemble_brings_the_models_of_its_steps(models, tmp_path):
    layout = Layout((a_device("gpu-1", Resident("pipeline", "o", rate=7.0)),))
    export.export(layout, models, tmp_path)
    (server,) = json.loads((tmp_path / "triton" / "manifest.json").read_text())["servers"]
    assert server["models"] == ["bert", "pipeline"]
    ensemble = model_config.read(tmp_path / "triton" / "gpu-1" / "pipeline" / "config.pbtxt")
    assert not ensemble.instance_group
    assert (tmp_path / "triton" / "gpu-1" / "pipeline" / "1").is_dir()


def a_pipeline(name: str, bert: Variant) -> Resident:
    return Resident(name, "o", variant=Variant(name, members=(bert,)))


def test_a_member_gets_the_configuration_that_it_was_measured_in(models, tmp_path):
    resident = a_pipeline("pipeline", Variant("bert", instance_count=3))
    export.export(Layout((a_device("gpu-1", resident),)), models, tmp_path)
    config = model_config.read(tmp_path / "triton" / "gpu-1" / "bert" / "config.pbtxt")
    assert [group.count for group in config.instance_group] == [3]


def test_what_business_logic_calls_comes_with_it(models, tmp_path):
    """Its calls are in its code: the variant that was measured names them."""
    resident = a_pipeline("bare", Variant("bert"))
    export.export(Layout((a_device("gpu-1", resident),)), models, tmp_path)
    (server,) = json.loads((tmp_path / "triton" / "manifest.json").read_text())["servers"]
    assert server["models"] == ["bare", "bert"]


def test_one_server_cannot_hold_a_member_in_two_configurations(models, tmp_path):
    two, three = (Variant("bert", instance_count=count) for count in (2, 3))
    together = a_device("gpu-1", a_pipeline("pipeline", two), a_pipeline("bare", three))
    with pytest.raises(InputError, match=r"bert as instances=2, bare .* instances=3"):
        export.export(Layout((together,)), models, tmp_path)
    placed = a_device("gpu-1", a_pipeline("pipeline", two), a_resident("bert", instance_count=3))
    with pytest.raises(InputError, match=r"bert is placed there as instances=3, and pipeline"):
        export.export(Layout((placed,)), models, tmp_path)
    alike = a_device("gpu-1", a_pipeline("pipeline", two), a_resident("bert", instance_count=2))
    export.export(Layout((alike,)), models, tmp_path)


def test_a_server_is_started_with_what_its_variants_ask_of_it(models, tmp_path):
    limiter = RateLimiter((RateLimitResource("R1", 1, 2),))
    near = HostPolicy("near", (("cpu-cores", "0-3"),))
    chosen = a_resident("bert", rate_limiter=limiter, host_policy=near)
    (server,) = servers(Layout((a_device("gpu-1", chosen),)), models)
    assert set(server.arguments("/models")) >= {
        "--rate-limit=execution_count",
        "--rate-limit-resource=R1:2",
        "--host-policy=near,cpu-cores=0-3",
    }
    other = RateLimiter((RateLimitResource("R1", 1, 5),))
    crowd = a_device("gpu-1", chosen, a_resident("bare", max_batch_size=1, rate_limiter=other))
    with pytest.raises(InputError, match=r"gpu-1: Resource R1 is 2 .* [Kk]eep the models apart"):
        servers(Layout((crowd,)), models)


def test_a_model_without_configuration_gets_one_with_the_variant_alone(models, tmp_path):
    layout = Layout((a_device("gpu-1", a_resident("bare", max_batch_size=4, instance_count=2)),))
    export.export(layout, models, tmp_path)
    config = model_config.read(tmp_path / "triton" / "gpu-1" / "bare" / "config.pbtxt")
    assert (config.max_batch_size, config.instance_group[0].count, config.backend) == (4, 2, "")


def test_independent_copies_of_a_model_have_names_of_their_own(models, tmp_path):
    layout = Layout((a_device("gpu-1", a_resident("bert#1"), a_resident("bert#2")),))
    export.export(layout, models, tmp_path)
    for name in ("bert_1", "bert_2"):
        directory = tmp_path / "triton" / "gpu-1" / name
        assert model_config.read(directory / "config.pbtxt").name == name


def test_copies_are_files_not_links(models, tmp_path):
    layout = Layout((a_device("gpu-1", a_resident("bare"), a_resident("bert")),))
    export.export(layout, models, tmp_path / "out", copy=True)
    written = tmp_path / "out" / "triton"
    assert not [path for path in written.rglob("*") if path.is_symlink()]
    assert (written / "gpu-1" / "bare" / "1" / "model.onnx").read_text() == "shared weights"


def test_the_same_layout_gives_the_same_bytes_and_replaces_what_was_there(models, tmp_path):
    layout = Layout((a_device("gpu-1", a_resident("bert")), a_device("gpu-2", a_resident("bare"))))
    export.export(layout, models, tmp_path / "a")
    first = files(tmp_path / "a")
    (tmp_path / "a" / "triton" / "stray").write_text("of an older export")
    export.export(layout, models, tmp_path / "a")
    export.export(layout, models, tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b") == first
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["triton"]


def test_a_strangers_folder_is_replaced_with_force_alone(models, tmp_path):
    layout = Layout((a_device("gpu-1", a_resident("bert")),))
    stranger = tmp_path / "out" / "triton" / "precious"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("mine")
    with pytest.raises(InputError, match="--force"):
        export.export(layout, models, tmp_path / "out")
    assert stranger.read_text() == "mine"
    export.export(layout, models, tmp_path / "out", force=True)
    assert not stranger.exists()


def test_the_models_themselves_are_never_replaced(models, tmp_path):
    models.rename(tmp_path / "triton")
    with pytest.raises(InputError, match="holds the model repository"):
        export.export(
            Layout((a_device("g", a_resident("bert")),)),
            tmp_path / "triton",
            tmp_path,
            force=True,
        )
    assert (tmp_path / "triton" / "bert" / "config.pbtxt").read_text() == BERT


def test_a_failed_export_leaves_what_was_there(models, tmp_path):
    layout = Layout((a_device("gpu-1", a_resident("bert")),))
    export.export(layout, models, tmp_path / "out")
    before = files(tmp_path / "out")
    (models / "bert" / "1" / "gone").symlink_to("nowhere")
    with pytest.raises(InputError, match="gone"):
        export.export(layout, models, tmp_path / "out", copy=True)
    assert files(tmp_path / "out") == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["triton"]


def test_one_server_per_host_names_the_gpus_of_each_model(models, tmp_path):
    """bert sits on the host's first and third GPU, bare on the second."""
    layout = Layout(
        (
            a_device("t4-1", a_resident("bert", instance_count=2), host="a"),
            a_device("t4-2", a_resident("bare"), host="a"),
            a_device("t4-3", a_resident("bert", instance_count=2), host="a"),
        )
    )
    export.export(layout, models, tmp_path, per_host=True)
    (server,) = json.loads((tmp_path / "triton" / "manifest.json").read_text())["servers"]
    assert server["visible_devices"] == ["0", "1", "2"]
    group = model_config.read(tmp_path / "triton/a/bert/config.pbtxt").instance_group[0]
    assert (list(group.gpus), group.count) == ([0, 2], 2)
    group = model_config.read(tmp_path / "triton/a/bare/config.pbtxt").instance_group[0]
    assert list(group.gpus) == [1]


def test_one_server_cannot_hold_two_variants_of_a_model(models, tmp_path):
    layout = Layout(
        (
            a_device("t4-1", a_resident("bert", instance_count=2), host="a"),
            a_device("t4-2", a_resident("bert", instance_count=1), host="a"),
        )
    )
    with pytest.raises(InputError, match=r"one variant on t4-1 and another on t4-2"):
        export.export(layout, models, tmp_path, per_host=True)


def test_an_unknown_model_is_named_with_the_nearest(models, tmp_path):
    with pytest.raises(InputError, match="Did you mean 'bert'"):
        export.export(Layout((a_device("g", a_resident("bret")),)), models, tmp_path)


@pytest.mark.triton
@pytest.mark.parametrize("copy", [False, True])
def test_triton_serves_each_exported_repository(
    embedded_triton: Binary, example_repository: Path, tmp_path: Path, copy: bool
) -> None:
    """The server's own view of each model is the configuration that was exported."""
    residents = (
        (a_resident("voice_activity", max_batch_size=4, kind="KIND_CPU"),)
        if copy
        else (
            a_resident("file_type", instance_count=2),
            a_resident("ocr_orientation", dynamic_batching=DynamicBatching((2,), 500)),
        )
    )
    layout = Layout((a_device("cpu-1", *residents, kind=CPU),))
    export.export(layout, example_repository, tmp_path, copy=copy)
    manifest = json.loads((tmp_path / "triton" / "manifest.json").read_text())
    for entry in manifest["servers"]:
        repository = tmp_path / "triton" / entry["repository"]
        with local.launch(repository, embedded_triton) as server:
            for name in entry["models"]:
                server.load(name)
                seen = http_api.config(server.http_url, name)
                meant = model_config.read(repository / name / "config.pbtxt")
                assert seen.max_batch_size == meant.max_batch_size
                assert seen.instance_group[0].count == meant.instance_group[0].count
                assert not seen.instance_group[0].gpus
                assert seen.dynamic_batching == meant.dynamic_batching
                assert seen.parameters == meant.parameters


ECHO_CONFIG = "max_batch_size: 4" + echo_model.TENSORS
ECHO_STEP = """
platform: "ensemble"
ensemble_scheduling { step {
  model_name: "echo" model_version: -1
  input_map { key: "IN" value: "IN" }
  output_map { key: "OUT" value: "OUT" }
} }
"""


@pytest.mark.triton
def test_triton_serves_an_ensemble_and_a_numbered_copy(
    embedded_triton: Binary, tmp_path: Path
) -> None:
    """The ensemble's step was not placed: it came with it. echo#2 is served as echo_2."""
    models = tmp_path / "models"
    echo_model.write(models, "echo", 'backend: "python"' + ECHO_CONFIG)
    (models / "pipeline").mkdir()
    (models / "pipeline" / "config.pbtxt").write_text(ECHO_STEP + ECHO_CONFIG)
    layout = Layout((a_device("cpu-1", Resident("pipeline", "o"), a_resident("echo#2"), kind=CPU),))
    export.export(layout, models, tmp_path)
    answered = check_repository(tmp_path / "triton" / "cpu-1")
    assert set(answered) == {"echo", "echo_2", "pipeline"}
