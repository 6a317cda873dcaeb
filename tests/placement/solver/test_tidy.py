"""What is left of replicas that carry next to nothing."""

from __future__ import annotations

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules
from placement.layout.replica import Replica
from placement.solver.tidy import tidy

OPTION = Option("b1 c1", "t4", {"memory": 1.0, "utilization": 50.0}, 100.0, 10.0)


def a_problem(rate: float | None = 80.0, **settings: object) -> PlacementProblem:
    return PlacementProblem(
        models=(Model("a", (OPTION,), rate=rate), Model("b", (OPTION,))),
        types=(PoolType("t4", {"memory": 16, "utilization": 100}),),
        pools=(Pool("gpu", "t4", 2),),
        resources=(Resource("memory", scales=False, unit="GB"), Resource("utilization")),
        **settings,  # type: ignore[arg-type]
    )


def placed(*shares: float) -> tuple[Replica, ...]:
    """`a` on the first devices with these shares, beside `b` on each."""
    seats = [f"gpu-{n + 1}" for n in range(len(shares))]
    return tuple(Replica("a", 0, s, share) for s, share in zip(seats, shares, strict=True)) + tuple(
        Replica("b", 0, s) for s in seats
    )


def yes(_: object) -> bool:
    return True


def test_a_replica_without_a_share_is_given_up():
    assert tidy(a_problem(), placed(0.8, 0.0), yes) == (*placed(0.8), Replica("b", 0, "gpu-2"))


def test_a_sliver_is_merged_where_that_holds():
    """80 + 1 of 10,000: the one goes to the other replica."""
    kept = tidy(a_problem(), placed(0.8, 0.0001), yes)
    assert [r.share for r in kept if r.model == "a"] == [0.8001]
    assert tidy(a_problem(), placed(0.8, 0.0001), lambda _: False) == placed(0.8, 0.0001)


def test_a_real_part_stays():
    assert tidy(a_problem(), placed(4000, 4000), yes) == placed(4000, 4000)


def test_a_replica_that_must_be_there_stays():
    """Two replicas demanded; `together`; alone on its device, which is counted as in use."""
    twice = PlacementProblem(**{**vars(a_problem()), "models": (
        Model("a", (OPTION,), rate=80.0, min_replicas=2), Model("b", (OPTION,)),
    )})  # fmt: skip
    assert tidy(twice, placed(0.8, 0.0), yes) == placed(0.8, 0.0)
    together = a_problem(rules=Rules(together=(("a", "b"),)))
    assert tidy(together, placed(0.8, 0.0), yes) == placed(0.8, 0.0)
    alone = tuple(r for r in placed(0.8, 0.0) if (r.model, r.seat) != ("b", "gpu-2"))
    assert tidy(a_problem(), alone, yes) == alone
