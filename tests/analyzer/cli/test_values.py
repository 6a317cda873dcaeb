"""Values read alike from the command line and from YAML."""

import pytest

from analyzer.cli import values
from profiles.variant import HostPolicy, RateLimiter, RateLimitResource


@pytest.mark.parametrize(
    ("words", "structure", "meant"),
    [
        ("R1:1", {"resources": {"R1": 1}}, RateLimiter((RateLimitResource("R1", 1),))),
        (
            "R1:1/2,R2:4@3",
            {
                "resources": [
                    {"name": "R1", "count": 1, "available": 2},
                    {"name": "R2", "count": 4},
                ],
                "priority": 3,
            },
            RateLimiter((RateLimitResource("R1", 1, 2), RateLimitResource("R2", 4)), 3),
        ),
        ("@2", {"priority": 2}, RateLimiter(priority=2)),
    ],
)
def test_a_rate_limiter_in_words_and_in_yaml(words: str, structure: object, meant: RateLimiter):
    assert values.rate_limiter(words) == meant
    assert values.rate_limiter(structure) == meant


def test_a_host_policy_in_words_and_in_yaml():
    meant = HostPolicy("near", (("cpu-cores", "0-3"), ("numa-node", "0")))
    assert values.host_policy("near:numa-node=0,cpu-cores=0-3") == meant
    assert values.host_policy({"name": "near", "cpu-cores": "0-3", "numa-node": 0}) == meant
    assert values.host_policy("near") == HostPolicy("near")


@pytest.mark.parametrize(
    ("value", "meant"),
    [("auto", "auto"), ("none", None), ("20,95", (0.2, 0.95)), ([20, 95], (0.2, 0.95))],
)
def test_part_load_in_words_and_in_yaml(value: object, meant: object):
    assert values.part_load(value) == meant


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        (values.rate_limiter, "R1", "NAME:COUNT"),
        (values.rate_limiter, "R1:0", "positive integer"),
        (values.rate_limiter, "", "NAME:COUNT"),
        (values.rate_limiter, {"resource": {"R1": 1}}, "Unknown key 'resource'"),
        (values.rate_limiter, {"resources": [{"name": "R1"}]}, "lacks name or count"),
        (values.rate_limiter, 3, "not a mapping"),
        (values.host_policy, "near:cores=1", "cpu-cores, numa-node"),
        (values.host_policy, "near:", "NAME"),
        (values.host_policy, {"cpu-cores": "0"}, "lacks a name"),
        (values.whole, -1, "non-negative integer"),
        (values.whole, True, "non-negative integer"),
        (values.rate, "0", "requests per second"),
        (values.random_range, "LEN=5", "LEAST:GREATEST"),
        (values.random_range, "bert/=1:2", r"\[MODEL/\]INPUT=LEAST:GREATEST"),
        (values.limits, "9:1", "the least is above the greatest"),
        (values.limits, [1, "x"], "LEAST:GREATEST"),
        (values.parameters, {"a": {}}, "not the value"),
        (values.part_load, "20,100", "percents from 1 to 99"),
    ],
)
def test_a_slip_is_told_with_what_was_expected(read, value: object, said: str):
    with pytest.raises(ValueError, match=said):
        read(value)
