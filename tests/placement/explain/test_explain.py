"""Why so many devices, what clashes, and ways out, in words."""

from dataclasses import replace

from placement import Model, Option, PlacementProblem, Pool, PoolType, Resource, Rules, solve
from placement.explain.explain import explain
from placement.solver.result import Deadline

MEMORY = Resource("memory", scales=False, unit="GB")
UTILIZATION = Resource("utilization")
WHOLE = {"memory": 16.0, "utilization": 100.0}


def a_model(name, memory=4.0, utilization=20.0, latency_ms=10.0, **settings):
    needs = {"memory": memory, "utilization": utilization}
    return Model(name, (Option("b1", "t4", needs, 100.0, latency_ms),), **settings)


def a_problem(*models, count=None, limit=1.0, **settings):
    capacity = {name: amount * limit for name, amount in WHOLE.items()}
    return PlacementProblem(
        models=models,
        types=(PoolType("t4", capacity, {"memory": 1}, WHOLE),),
        pools=(Pool("rack", "t4", count),),
        resources=(MEMORY, UTILIZATION),
        **settings,
    )


def told(problem):
    return explain(problem, solve(problem, 10), Deadline(10))


def test_the_resource_that_forces_the_count_is_named():
    """Three of 8 GB: each of 15 GB free holds one; 60 % would fit one device."""
    words = told(a_problem(*(a_model(n, 8) for n in "abc")))
    assert words.lines[:3] == (
        "3 devices: proven optimal.",
        "3 devices are needed: memory alone needs 3 (24.0 of 3 × 15.0 GB); "
        "utilization alone needs 1 (60.0 of 1 × 100.0 %).",
        "Memory is what binds.",
    )
    assert (words.binding, words.bounds) == (("memory",), {"memory": 3, "utilization": 1})


def test_two_resources_may_force_it_together():
    """Two of 10 GB and 10 %, two of 2 GB and 80 %: each alone needs two, three of four pairs fail.

    10 + 2 GB and 90 % fit, so two devices are enough; with 95 % in place of 80 none pairs up.
    """
    large = [a_model(n, 10, 10) for n in "ab"]
    busy = [a_model(n, 2, 95) for n in "cd"]
    words = told(a_problem(*large, *busy))
    assert words.bounds == {"memory": 2, "utilization": 3}
    assert words.binding == ("memory", "utilization")
    assert "Memory and utilization together force it." in words.lines


def test_a_price_is_called_a_price():
    problem = a_problem(a_model("a"))
    words = told(replace(problem, pools=(Pool("rack", "t4", None, 0.5),)))
    assert words.lines[0] == "1 device, price 0.5: proven optimal."
    assert "memory alone costs 0.5 (4.0 of 1 × 15.0 GB)" in words.lines[1]


def test_the_smallest_clash_leaves_out_what_does_not_matter():
    """a and b of 9 GB need a device each; c is small, utilization plenty."""
    words = told(a_problem(a_model("a", 9), a_model("b", 9), a_model("c", 1), count=1))
    assert words.lines == (
        "These cannot all hold:",
        "  - a: 9 GB memory, 20% utilization",
        "  - b: 9 GB memory, 20% utilization",
        "  - the limit on memory",
        "  - the fleet: 1 × t4 (rack)",
    )
    assert words.relaxations == ("1 more t4 (rack)", "without a", "without b")


def test_a_limit_is_raised_as_little_as_suffices_and_not_above_the_device():
    """8 + 6.5 + 1 = 15.5 of 16 GB: 90 % (14.4) is too little, 1.1 times as much is enough."""
    words = told(a_problem(a_model("a", 8), a_model("b", 6.5), count=1, limit=0.9))
    assert "a memory limit of 15.84 GB" in words.relaxations
    beyond = told(a_problem(a_model("a", 9), a_model("b", 9), count=1, limit=0.9))
    assert not any("limit" in words for words in beyond.relaxations)


def test_a_pinned_device_that_is_too_small_is_a_rule_to_give_up():
    """10 GB do not fit the 8 GB device that the model is pinned to; the other has room."""
    needs = {"memory": 10.0}
    options = tuple(Option("b1", kind, needs) for kind in ("small", "big"))
    problem = PlacementProblem(
        (Model("a", options), Model("b", tuple(replace(o, needs={"memory": 1}) for o in options))),
        (PoolType("small", {"memory": 8.0}), PoolType("big", {"memory": 16.0})),
        (Pool("old", "small", 1), Pool("new", "big", 1)),
        (MEMORY,),
        Rules(pins=(("a", "old"),)),
    )
    words = told(problem)
    assert words.lines == (
        "These cannot all hold:",
        "  - a: 10 GB memory",
        "  - the limit on memory",
        "  - a is pinned to old",
        "  - the fleet: 1 × small (old), 1 × big (new)",
    )
    assert "without the rule that a is pinned to old" in words.relaxations


def test_a_latency_limit_that_nothing_meets_says_what_would_be_met():
    words = told(a_problem(a_model("a", latency_ms=31.0, latency_limit_ms=20), a_model("b")))
    assert words.lines == (
        "a meets its p99 limit of 20 ms in no option; the best is 31 ms (b1 on t4).",
    )
    assert words.relaxations[0] == "a p99 limit of 31 ms for a, not 20 ms"


def test_moves_that_are_forbidden_are_said():
    """a and b run on rack-1, which now holds one of them only."""
    problem = a_problem(
        a_model("a", 9), a_model("b", 9), count=2, max_moves=0,
        current=(("a", "rack-1"), ("b", "rack-1")),
    )  # fmt: skip
    words = told(problem)
    assert "  - no move from the current layout" in words.lines
    assert "1 move instead of 0" in words.relaxations


def test_without_time_no_question_is_asked():
    problem = a_problem(*(a_model(n, 9) for n in "abc"), count=2)
    words = explain(problem, solve(problem, 10), Deadline(0.0))
    assert words.relaxations == ()
    assert words.lines[-1].startswith("The time limit ended the search")


def test_what_was_cut_short_says_so():
    words = explain(a_problem(a_model("a")), replace(solve(a_problem(a_model("a")), 5),
                    status="unknown", layout=None), Deadline(1))  # fmt: skip
    assert words.lines == ("No layout was found in time, nor that there is none.",)


def test_growth_is_told_with_its_bound():
    models = [a_model(n, 2, 100) for n in "ab"]
    problem = a_problem(*models, count=1, objective="max-throughput", fairness="max-min")
    words = told(problem)
    assert words.lines[0] == "All models can grow together by the factor 0.5: proven optimal."
    assert words.binding == ("utilization",)


def test_a_resource_that_nobody_needs_is_not_spoken_of():
    model = Model("a", (Option("b1", "t4", {"memory": 4.0, "utilization": 0.0}),))
    words = told(a_problem(model))
    assert words.lines[1] == "One device is needed: memory alone needs 1 (4.0 of 1 × 15.0 GB)."


def test_a_fleet_that_is_too_small_for_many_models_is_told_as_a_whole():
    """20 models of 9 GB fit 15 GB one by one: 20 devices; two have 30 of at least 180 GB."""
    words = told(a_problem(*(a_model(f"m{n}", 9) for n in range(20)), count=2))
    assert words.lines == (
        "All 20 models together need at least 6 times this fleet: 2 × t4 (rack).",
        "  - memory: at least 180 GB needed, 30 GB there",
        "  - utilization: at least 400% needed, 200% there",
    )
    assert any(more.endswith("more t4 (rack)") for more in words.relaxations)


def test_models_that_are_pinned_where_they_do_not_fit_are_named_among_many():
    """a and b of 9 GB are pinned to one device of 15 GB; forty others run anywhere."""
    others = [a_model(f"m{n}", 1, 3, rate=20.0) for n in range(40)]
    pair = [a_model(n, 9, rate=20.0) for n in "ab"]
    problem = a_problem(*others, *pair, rules=Rules(pins=(("a", "edge"), ("b", "edge"))))
    words = told(replace(problem, pools=(*problem.pools, Pool("edge", "t4", 1))))
    assert words.lines[:3] == (
        "These cannot all hold:",
        "  - a at 20/s: 9 GB memory, 4% utilization",
        "  - b at 20/s: 9 GB memory, 4% utilization",
    )
    assert "without the rule that a is pinned to edge" in words.relaxations


def test_a_limit_on_devices_in_use_is_among_what_clashes():
    words = told(a_problem(a_model("a", 9), a_model("b", 9), max_devices=1))
    assert "  - at most 1 device in use" in words.lines
    assert "2 devices in use instead of 1" in words.relaxations


def test_a_model_with_a_rate_and_no_throughput_is_named():
    option = Option("b1", "t4", {"memory": 1.0}, throughput=0.0)
    words = told(a_problem(Model("a", (option,), rate=10.0)))
    assert words.lines == (
        "a has a rate of 10/s, but no option that meets its limits has a throughput above zero.",
    )


def test_no_limit_is_raised_beyond_what_a_problem_may_state():
    """1e18 is the largest amount; a of 120 % fits nowhere and leaves the memory as it is."""
    problem = a_problem(a_model("a", 1, 120.0))
    kind = replace(problem.types[0], capacity={"memory": 1e18, "utilization": 100.0}, physical={})
    assert told(replace(problem, types=(kind,))).lines[0].startswith("a fits on no device")
