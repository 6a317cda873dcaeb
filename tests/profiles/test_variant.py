"""A variant's key, its words, and what it needs of the server."""

import pytest

from profiles.errors import InputError
from profiles.variant import (
    DynamicBatching,
    HostPolicy,
    RateLimiter,
    RateLimitResource,
    Variant,
    server_arguments,
)


def limited(name: str, count: int, available: int | None = None) -> Variant:
    return Variant("m", rate_limiter=RateLimiter((RateLimitResource(name, count, available),)))


def test_the_key_is_that_of_the_stores_that_are_out_there():
    """Keys as version 0.1.0 made them: what was measured is found, whatever fields come later."""
    assert Variant("a").key == "a-5bb592a214"
    varied = Variant(
        "bert",
        instance_count=2,
        dynamic_batching=DynamicBatching((4,), 5),
        parameters=(("a", "b"),),
    )
    assert varied.key == "bert-b5e8080acd"


def test_what_is_varied_is_in_the_key():
    variants = [
        Variant("m"),
        limited("R", 1),
        limited("R", 1, 2),
        Variant("m", host_policy=HostPolicy("near")),
        Variant("m", members=(Variant("a"),)),
        Variant("m", members=(Variant("a", instance_count=2),)),
    ]
    assert len({variant.key for variant in variants}) == len(variants)


def test_a_composed_variant_names_the_members_that_are_varied():
    members = (Variant("detector", instance_count=2), Variant("classifier"))
    assert str(Variant("pipeline", members=members)) == "detector(instances=2)"
    assert str(Variant("pipeline", members=(Variant("classifier"),))) == "as configured"


def test_a_rate_limiter_needs_the_servers_and_every_resource_by_its_amount():
    """Triton takes a resource that is not given for 0 as soon as another one is."""
    assert server_arguments([Variant("m")]) == ()
    assert server_arguments([limited("R", 2), limited("R", 3), limited("S", 1, 4)]) == (
        "--rate-limit=execution_count",
        "--rate-limit-resource=R:3",
        "--rate-limit-resource=S:4",
    )


def test_the_host_policy_of_a_member_reaches_the_server():
    near = HostPolicy("near", (("cpu-cores", "0-1"), ("numa-node", "0")))
    pipeline = Variant("pipeline", members=(Variant("detector", host_policy=near),))
    assert server_arguments([pipeline]) == (
        "--host-policy=near,cpu-cores=0-1",
        "--host-policy=near,numa-node=0",
    )


def test_a_server_has_one_definition_of_a_name():
    with pytest.raises(InputError, match="R is 2 in one variant and 3 in another"):
        server_arguments([limited("R", 1, 2), limited("R", 1, 3)])
    near = [HostPolicy("near", (("cpu-cores", cores),)) for cores in ("0", "1")]
    with pytest.raises(InputError, match="another name"):
        server_arguments([Variant("m", host_policy=policy) for policy in near])
