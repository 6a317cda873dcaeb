"""Problems that make no sense, or that no fleet could mean, are refused with their place."""

from dataclasses import replace

import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules
from placement.problem.validate import validate
from profiles.errors import InputError

OPTION = Option("k", "t4", {"memory": 1.0}, 100.0)
PROBLEM = PlacementProblem(
    (Model("bert", (OPTION,)),),
    (PoolType("t4", {"memory": 16.0}),),
    (Pool("gpu", "t4"),),
    (Resource("memory", scales=False),),
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": (Model("bert", (OPTION,), rate=1e308),)}, "bert.rate: 1e.308 is out of range"),
        (
            {"models": (Model("bert", (OPTION,), rate=1e9),)},
            "more than 1000000 replicas; its best option carries 100",
        ),
        ({"models": (Model("bert", (OPTION,), count=10**7),)}, "at most 1000000 are supported"),
        (
            {"models": (Model("bert", (OPTION,), min_replicas=10**7),)},
            "bert.min_replicas: must lie",
        ),
        ({"models": (Model("bert", (OPTION,), weight=float("nan")),)}, "bert.weight: must be"),
        (
            {"models": (replace(PROBLEM.models[0], count=2), Model("bert#1", (OPTION,)))},
            "a copy of",
        ),
        (
            {"models": (Model("bert", (replace(OPTION, standing={"memory": 1.0}),)),)},
            "standing.memory: memory is needed whole at any share",
        ),
        (
            {
                "models": (Model("bert", (replace(OPTION, standing={"time": 2.0}),)),),
                "resources": (Resource("memory", scales=False), Resource("time")),
            },
            "standing.time: 2 is a part of the need, which is only 0",
        ),
        ({"pools": (Pool("gpu", "t4", price=1e13),)}, "gpu.price: 1e.13 is out of range"),
        ({"pools": (Pool("gpu", "t4", price=1e-300),)}, "gpu.price: 1e-300 is out of range"),
        ({"pools": (Pool("gpu", "t4", 10**9),)}, "gpu.count: must lie between 0 and 10000000"),
        ({"pools": (Pool("gpu", "v100"),)}, "unknown device type 'v100'. Known: t4."),
        ({"rules": Rules(spread=("gpt",))}, "rules.spread: unknown model 'gpt'. Known: bert."),
        (
            {"rules": Rules(excluded_devices=("gpu-x",))},
            "unknown device or pool 'gpu-x'. Known pools: gpu.",
        ),
        ({"max_slowdown": 1.5}, "max_slowdown: must lie between 0 and 1, is 1.5"),
        ({"repair": True}, "repair: needs the running layout in `current`"),
        (
            {"repair": True, "objective": "max-throughput", "pools": (Pool("gpu", "t4", 1),)},
            "repair: needs the objective min-hardware",
        ),
        ({"max_devices": -1}, "max_devices: must not be negative, is -1"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_place(changes, message):
    with pytest.raises(InputError, match=message):
        validate(replace(PROBLEM, **changes))


def test_what_is_merely_unusual_is_taken():
    """Free devices, prices by the second, bytes of a large host, a hundred thousand copies."""
    validate(
        replace(
            PROBLEM,
            models=(Model("bert", (OPTION,), count=100_000, rate=1e6, weight=1e-9),),
            types=(PoolType("t4", {"memory": 2.0**44}),),
            pools=(Pool("gpu", "t4", price=0.1 / 730 / 3600), Pool("old", "t4", 3, 0.0)),
            rules=Rules(pins=(("bert#7", "gpu-900"),), excluded_devices=("old-2",)),
        )
    )
