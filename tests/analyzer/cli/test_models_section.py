"""`models:` of the configuration file: what differs from model to model."""

from pathlib import Path

import pytest
import yaml

from analyzer.cli import models_section
from analyzer.cli.models_section import ModelEntry
from analyzer.measure.grid import Sweep
from profiles.errors import InputError
from profiles.variant import HostPolicy, RateLimiter, RateLimitResource

FILE = Path("model-placer.yaml")


def read(text: str) -> dict[str, ModelEntry]:
    return models_section.read(yaml.safe_load(text), FILE)


def test_every_field_takes_the_place_of_the_options():
    entry = read("""
        bert:
          batch_sizes: [1, 8]
          concurrency: 4
          request_rates: 10, 20
          arrivals: poisson
          instance-counts: [2]
          max_batch_sizes: [8]
          max_queue_delays_us: [0, 100]
          preferred_batch_sizes: [4]
          kind: KIND_CPU
          parameters: {intra_op_thread_count: [1, 2], INFERENCE_MODE: true}
          rate_limiters: ["R1:1/2", {resources: {R1: 2}}]
          warm_ups: [0, 5]
          host_policies: [near, "far:cpu-cores=0,numa-node=1"]
          sequence_length: 7
          members: {detector: {instance_counts: [1, 2]}}
          shapes: {IDS: [128]}
          random_ranges: {LEN: [16, 64]}
          input_data: zero
    """)["bert"]
    r1 = RateLimiter((RateLimitResource("R1", 1, 2),)), RateLimiter((RateLimitResource("R1", 2),))
    far = HostPolicy("far", (("cpu-cores", "0"), ("numa-node", "1")))
    assert entry.changed(Sweep()) == Sweep(
        batch_sizes=(1, 8),
        concurrency=(4,),
        request_rates=(10.0, 20.0),
        arrivals="poisson",
        instance_counts=(2,),
        max_batch_sizes=(8,),
        max_queue_delays_us=(0, 100),
        preferred_batch_sizes=(4,),
        kind="KIND_CPU",
        parameters=(("intra_op_thread_count", ("1", "2")), ("INFERENCE_MODE", ("true",))),
        rate_limiters=r1,
        warm_ups=(0, 5),
        host_policies=(HostPolicy("near"), far),
        members=(("detector", Sweep(instance_counts=(1, 2))),),
        sequence_length=7,
    )
    assert entry.with_models == ("detector",)
    assert entry.shapes == {"IDS": (128,)}
    assert entry.ranges == {"LEN": (16, 64)}
    assert entry.input_data == "zero"


def test_every_field_is_in_the_docs():
    text = (Path(__file__).parents[3] / "docs" / "profiling.md").read_text()
    fields = [*models_section.CONFIGURATION, *models_section.LOAD, *models_section.OTHERS]
    assert [field for field in fields if f"| `{field}` |" not in text] == []


def test_a_name_alone_is_measured_as_the_options_say():
    assert read("bert:")["bert"].changed(Sweep(concurrency=(3,))) == Sweep(concurrency=(3,))


def test_members_may_be_names_alone():
    assert read("caller: {members: [doubler]}")["caller"].with_models == ("doubler",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bert: [1]", "models: bert: expected a mapping"),
        (
            "bert: {batch_size: [1]}",
            "models: bert: unknown field 'batch_size'. Did you mean 'batch",
        ),
        ("bert: {batch_sizes: [0]}", "models: bert: batch_sizes: 0 is not a positive integer"),
        ("bert: {concurrency: []}", "models: bert: concurrency: expected at least one value"),
        ("bert: {kind: CPU}", "models: bert: kind: 'CPU' is not one of KIND_AUTO"),
        (
            "bert: {shapes: {IDS: x}}",
            "models: bert: shapes: IDS: 'x' is not a non-negative integer",
        ),
        ("bert: {random_ranges: {LEN: [9, 1]}}", "models: bert: random_ranges: LEN: .* above"),
        ("bert: {shapes: [1]}", "models: bert: shapes: .* not a mapping"),
        ("bert: {input_data: 3}", "models: bert: input_data: 3 is not a non-empty string"),
        ("bert: {members: 3}", "models: bert: members: expected names"),
        (
            "bert: {members: {a: {concurrency: [1]}}}",
            "models: bert: members: a: unknown field 'concurrency'",
        ),
        ("bert: {rate_limiters: [R1]}", "models: bert: rate_limiters: 'R1' is not NAME:COUNT"),
    ],
)
def test_a_slip_is_placed_by_file_and_field(text: str, said: str):
    with pytest.raises(InputError, match=f"model-placer.yaml: {said}"):
        read(text)
