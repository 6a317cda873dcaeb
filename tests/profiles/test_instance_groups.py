"""Instance groups keep all that they say; devices and counts alone change."""

from __future__ import annotations

from typing import Any

import pytest

from profiles import model_config
from profiles.variant import Variant


def groups_of(text: str, gpus: list[int] | None = None, **varied: Any) -> list[Any]:
    config = model_config.parse(f'name: "bert" {text}', "a test")
    return list(model_config.apply_variant(config, Variant("bert", **varied), gpus).instance_group)


PROFILES = """
instance_group [
  { count: 1 kind: KIND_GPU gpus: [ 0 ] profile: [ "0" ] host_policy: "near"
    rate_limiter { resources { name: "R" count: 4 } priority: 2 } },
  { count: 2 kind: KIND_GPU gpus: [ 1 ] profile: [ "1", "2" ]
    secondary_devices { kind: KIND_NVDLA device_id: 3 } },
  { count: 3 kind: KIND_CPU },
  { count: 1 kind: KIND_GPU passive: true }
]
"""


def test_groups_that_differ_survive_on_the_given_gpu():
    """Profiles, a CPU group, secondary devices, rate limiter and host policy of each group."""
    before = list(model_config.parse(PROFILES, "a test").instance_group)
    after = groups_of(PROFILES, gpus=[0])
    assert [list(group.gpus) for group in after] == [[0], [0], [], [0]]
    for group in (*before, *after):
        del group.gpus[:]
    assert after == before


def test_an_instance_count_is_of_each_group_on_the_gpu():
    """Neither the CPU's three nor the passive one are meant."""
    varied = groups_of(PROFILES, gpus=[0], instance_count=5)
    assert [group.count for group in varied] == [5, 5, 3, 1]


def test_without_groups_on_gpus_the_count_is_of_those_on_the_cpu():
    text = 'instance_group [ { kind: KIND_CPU host_policy: "a" }, { kind: KIND_CPU count: 2 } ]'
    assert [group.count for group in groups_of(text, instance_count=4)] == [4, 4]


@pytest.mark.parametrize(
    ("backend", "kind", "gpus"),
    [
        ("python", "GPU", [0]),
        ("openvino", "CPU", []),
        ("vllm", "MODEL", []),
        ("tensorrtllm", "MODEL", []),
    ],
)
def test_without_a_group_each_backends_own_kind_holds(backend: str, kind: str, gpus: list[int]):
    """The count is left to Triton, which knows what the backend wants; ONNX Runtime has two on a
    CPU."""
    (group,) = groups_of(f'backend: "{backend}"', gpus=[0])
    assert type(group).Kind.Name(group.kind) == f"KIND_{kind}"
    assert (group.count, list(group.gpus)) == (0, gpus)
    assert groups_of(f'backend: "{backend}"') == []


def test_alone_on_its_gpu_a_model_without_a_group_stays_so():
    """The server sees that one GPU: whatever the backend does without a group is right."""
    config = model_config.parse('name: "bert"', "a test")
    assert model_config.apply_variant(config, Variant("bert"), [0], alone=True) == config
    counted = model_config.apply_variant(config, Variant("bert", instance_count=2), [0], alone=True)
    assert [group.count for group in counted.instance_group] == [2]
