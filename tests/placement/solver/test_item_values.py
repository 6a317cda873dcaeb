"""A cut is nowhere below the function that it cuts, and no plan is cheaper than the values say."""

import random

import numpy as np
import pytest

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource
from placement.solver.instance import compile_instance
from placement.solver.item_values import ItemValues

OBJECTIVES = ("min-hardware", "max-throughput")


def a_problem(objective, seed, models=12):
    """Models with three options on two types, some of which need several replicas."""
    rng = random.Random(seed)
    made = tuple(
        Model(
            f"m{n}",
            tuple(
                Option(
                    f"k{k}",
                    kind,
                    {"memory": rng.uniform(1, 9), "utilization": rng.uniform(5, 95)},
                    rng.uniform(10, 200),
                )
                for kind in ("small", "large")
                for k in range(3)
            ),
            rate=rng.uniform(5, 500),
            min_replicas=rng.choice((0, 1, 1, 2, 4)),
        )
        for n in range(models)
    )
    return PlacementProblem(
        made,
        (
            PoolType("small", {"memory": 16, "utilization": 100}),
            PoolType("large", {"memory": 40, "utilization": 100}),
        ),
        (Pool("small", "small", 9, price=0.5), Pool("large", "large", 9, price=1.2)),
        (Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        objective=objective,
    )


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(5))
def test_a_cut_bounds_the_values_at_all_prices(objective, seed, fine):
    instance = compile_instance(a_problem(objective, seed))
    values = ItemValues(instance, 0.0)
    rng = np.random.default_rng(seed)
    points = [rng.random(instance.limited.shape) * 10 ** rng.uniform(-2, 1) for _ in range(30)]
    for point in points:
        value, usage, _, constant = values.cut(point, 0.0, fine=fine)
        assert constant + float((usage * point).sum()) == pytest.approx(value)
        for other in points:
            above = constant + float((usage * other).sum())
            assert float(values.values(other, 0.0, fine=fine).sum()) <= above * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(5))
def test_no_plan_of_an_item_costs_less_than_its_value(objective, seed, fine):
    """Random replicas and shares; what they do not carry is paid for at the penalty."""
    instance = compile_instance(a_problem(objective, seed))
    rng = np.random.default_rng(seed)
    draw = random.Random(seed)
    prices = rng.random(instance.limited.shape)
    each = ItemValues(instance, 0.0).values(prices, 0.0, fine=fine)
    base = (instance.base * prices[instance.type_of]).sum(axis=1)
    slope = (instance.slope * prices[instance.type_of]).sum(axis=1)
    for i, item in enumerate(instance.items):
        tried = 0
        while tried < 200:
            number = max(item.replicas, draw.randint(0, 5))
            cost, left = 0.0, item.rate
            for j in draw.choices(range(item.rows.start, item.rows.stop), k=number):
                most = min(1.0, left / float(instance.throughput[j]))
                share = most if draw.random() < 0.7 else draw.uniform(0, most)
                left -= share * float(instance.throughput[j])
                cost += float(base[j] + share * slope[j])
            if left > 1e-9 * item.rate and not instance.flexible:
                if number == 5:
                    tried += 1
                continue
            tried += 1
            cost += item.penalty * max(0.0, left) / item.rate if instance.flexible else 0.0
            assert each[i] <= cost * (1 + 1e-9) + 1e-9
