"""Reading, varying and writing `config.pbtxt`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from profiles import model_config
from profiles.errors import InputError
from profiles.variant import (
    DynamicBatching,
    HostPolicy,
    RateLimiter,
    RateLimitResource,
    Variant,
    WarmUp,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "model_repository"


def a_config(text: str = "") -> model_config.ModelConfig:
    return model_config.parse(f'name: "bert"\nmax_batch_size: 8\n{text}', "bert/config.pbtxt")


def test_a_syntax_error_is_placed_by_line_and_column() -> None:
    with pytest.raises(InputError, match=r"bert/config\.pbtxt:3:7: not a Triton model config"):
        a_config("input ( name: 'x' )")


def test_an_unknown_field_is_an_error_and_is_named() -> None:
    """Protobuf could drop it in silence; a slip in the user's file would go unseen."""
    with pytest.raises(InputError, match=r":3:1: .*max_batch_sise"):
        a_config("max_batch_sise: 4")


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.pbtxt: No such file"):
        model_config.read(tmp_path / "config.pbtxt")
    for content in (b"name: \xff", b'name: "\xff"'):
        (tmp_path / "config.pbtxt").write_bytes(content)
        with pytest.raises(InputError, match=r"not UTF-8 at byte [67]"):
            model_config.read(tmp_path / "config.pbtxt")


def test_a_comment_may_be_in_any_encoding(tmp_path: Path) -> None:
    """Triton skips it unread."""
    (tmp_path / "config.pbtxt").write_bytes(b'# Gr\xfc\xdfe\nname: "bert"')
    assert model_config.read(tmp_path / "config.pbtxt").name == "bert"


@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*/config.pbtxt")), ids=lambda p: p.parent.name
)
def test_what_is_written_reads_back_equal(path: Path, tmp_path: Path) -> None:
    config = model_config.read(path)
    model_config.write(tmp_path / "config.pbtxt", config, "Made by a test\nfrom an example")
    assert model_config.read(tmp_path / "config.pbtxt") == config
    text = (tmp_path / "config.pbtxt").read_text()
    assert text.startswith("# Made by a test\n# from an example\nname:")


def test_an_original_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.pbtxt").write_text("# a comment that protobuf would lose\n")
    with pytest.raises(FileExistsError):
        model_config.write(tmp_path / "config.pbtxt", a_config(), "Made by a test")


def test_json_keeps_tritons_field_names_and_reads_back_equal() -> None:
    config = a_config('parameters { key: "a" value { string_value: "b" } }')
    document = json.loads(model_config.to_json(config))
    assert document["max_batch_size"] == 8
    assert model_config.from_json(document) == config


def test_a_variant_without_choices_changes_nothing() -> None:
    config = a_config("instance_group { count: 2 kind: KIND_CPU } dynamic_batching { }")
    assert model_config.apply_variant(config, Variant("bert")) == config


def test_a_variant_leaves_the_original_as_it_is() -> None:
    config = a_config()
    model_config.apply_variant(config, Variant("bert", max_batch_size=2, instance_count=3))
    assert config == a_config()


def test_preferred_batch_sizes_above_the_new_maximum_are_clipped() -> None:
    """Triton refuses the model else: 2 stays, 6 and 8 become one 4."""
    config = a_config("dynamic_batching { preferred_batch_size: [ 2, 6, 8 ] }")
    varied = model_config.apply_variant(config, Variant("bert", max_batch_size=4))
    assert list(varied.dynamic_batching.preferred_batch_size) == [2, 4]


def test_instances_of_all_groups_become_one_group_on_the_given_gpu() -> None:
    config = a_config("instance_group [ { count: 2 gpus: [ 0 ] }, { count: 1 gpus: [ 1 ] } ]")
    kept = model_config.apply_variant(config, Variant("bert"), gpus=[0])
    assert [(group.count, list(group.gpus)) for group in kept.instance_group] == [(3, [0])]
    varied = model_config.apply_variant(config, Variant("bert", instance_count=4), gpus=[0])
    assert [(group.count, list(group.gpus)) for group in varied.instance_group] == [(4, [0])]


def test_cpu_instances_have_no_gpus() -> None:
    config = a_config("instance_group { kind: KIND_GPU gpus: [ 0 ] }")
    varied = model_config.apply_variant(config, Variant("bert", kind="KIND_CPU"), gpus=[0])
    assert list(varied.instance_group[0].gpus) == []
    assert "KIND_CPU" in model_config.to_text(varied, "x")


def test_dynamic_batching_is_set_and_the_batchers_other_fields_stay() -> None:
    config = a_config("dynamic_batching { preferred_batch_size: 8 preserve_ordering: true }")
    batching = DynamicBatching(preferred_batch_sizes=(4, 32), max_queue_delay_us=100)
    varied = model_config.apply_variant(config, Variant("bert", dynamic_batching=batching))
    assert list(varied.dynamic_batching.preferred_batch_size) == [4, 8]
    assert varied.dynamic_batching.max_queue_delay_microseconds == 100
    assert varied.dynamic_batching.preserve_ordering


def test_dynamic_batching_with_its_defaults_is_turned_on() -> None:
    varied = model_config.apply_variant(
        a_config(), Variant("bert", dynamic_batching=DynamicBatching())
    )
    assert varied.HasField("dynamic_batching")


def test_parameters_are_set_beside_the_models_own() -> None:
    config = a_config('parameters { key: "file" value { string_value: "x.onnx" } }')
    varied = model_config.apply_variant(
        config, Variant("bert", parameters=(("intra_op_thread_count", "2"),))
    )
    found = {key: value.string_value for key, value in varied.parameters.items()}
    assert found == {"file": "x.onnx", "intra_op_thread_count": "2"}


def test_every_instance_group_gets_the_rate_limiter_and_the_host_policy() -> None:
    config = a_config("instance_group [ { count: 1 }, { count: 2 } ]")
    limiter = RateLimiter((RateLimitResource("R1", 2, shared=True),), priority=3)
    varied = model_config.apply_variant(
        config, Variant("bert", rate_limiter=limiter, host_policy=HostPolicy("near"))
    )
    assert [group.count for group in varied.instance_group] == [1, 2]
    for group in varied.instance_group:
        (resource,) = group.rate_limiter.resources
        assert (resource.name, resource.count, getattr(resource, "global")) == ("R1", 2, True)
        assert group.rate_limiter.priority == 3
        assert group.host_policy == "near"


def test_a_warm_up_asks_for_one_inference_and_for_the_largest_batch() -> None:
    """Whole numbers are zeros, since a random one may be no valid index; the own one goes."""
    config = a_config(
        'input { name: "IDS" data_type: TYPE_INT32 dims: [ -1 ] }'
        'input { name: "MASK" data_type: TYPE_FP32 dims: [ 2 ] }'
        'model_warmup { name: "own" batch_size: 2 }'
    )
    warm = model_config.apply_variant(config, Variant("bert", warm_up=WarmUp(5, (("IDS", (7,)),))))
    assert [(w.batch_size, w.count) for w in warm.model_warmup] == [(1, 5), (8, 5)]
    inputs = warm.model_warmup[0].inputs
    assert list(inputs["IDS"].dims) == [7]
    assert inputs["IDS"].zero_data
    assert inputs["MASK"].random_data
    cold = model_config.apply_variant(config, Variant("bert", warm_up=WarmUp(0)))
    assert not cold.model_warmup


@pytest.mark.parametrize(
    ("text", "variant", "reason"),
    [
        ("", Variant("bert", max_batch_size=0), "cannot become 0"),
        ("", Variant("bert", max_batch_size=-1), "is negative"),
        ("", Variant("bert", instance_count=0), "less than one"),
        ("ensemble_scheduling { }", Variant("bert", instance_count=2), "is an ensemble"),
        (
            "sequence_batching { }",
            Variant("bert", dynamic_batching=DynamicBatching()),
            "sequence batching",
        ),
        ("ensemble_scheduling { }", Variant("bert", rate_limiter=RateLimiter()), "is an ensemble"),
        ("sequence_batching { }", Variant("bert", warm_up=WarmUp(1)), "is stateful"),
        (
            'input { name: "IDS" data_type: TYPE_INT32 dims: [ -1 ] }',
            Variant("bert", warm_up=WarmUp(1)),
            "--shape bert/IDS:8",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused(text: str, variant: Variant, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        model_config.apply_variant(a_config(text), variant)


def test_the_messages_are_those_that_tritonclient_uses_later() -> None:
    """They are loaded without gRPC, which costs a second, and must not exist twice after it."""
    script = (
        "import sys; from profiles import model_config; config = model_config.new('x');"
        "assert 'grpc' not in sys.modules;"
        "import tritonclient.grpc as triton;"
        "from tritonclient.grpc import model_config_pb2, service_pb2;"
        "assert type(config) is model_config_pb2.ModelConfig;"
        "assert type(service_pb2.ModelConfigResponse(config=config).config) is type(config)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
