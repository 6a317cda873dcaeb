"""A grid is every variant under every load."""

from analyzer.measure.grid import Sweep, fitting, loads, variants
from profiles import model_config
from profiles.measurement import LoadPoint
from profiles.variant import (
    DynamicBatching,
    HostPolicy,
    RateLimiter,
    RateLimitResource,
    Variant,
    WarmUp,
)


def test_nothing_varied_is_the_model_as_configured():
    assert variants("bert", Sweep()) == [Variant("bert")]


def test_variants_are_every_combination():
    """Two instance counts x two thread counts x two switches = 8."""
    sweep = Sweep(
        instance_counts=(1, 2),
        parameters=(
            ("intra_op_thread_count", ("1", "2")),
            ("INFERENCE_MODE", ("true", "false")),
        ),
    )
    made = variants("bert", sweep)
    assert len(set(made)) == 8
    assert (
        Variant(
            "bert",
            instance_count=2,
            parameters=(("INFERENCE_MODE", "false"), ("intra_op_thread_count", "1")),
        )
        in made
    )


def test_a_queue_delay_turns_dynamic_batching_on():
    sweep = Sweep(max_queue_delays_us=(0, 500), preferred_batch_sizes=(4,))
    assert [v.dynamic_batching for v in variants("bert", sweep)] == [
        DynamicBatching((4,), 0),
        DynamicBatching((4,), 500),
    ]


def test_loads_come_small_first():
    made = list(loads(Sweep(batch_sizes=(4, 1), concurrency=(2, 1))))
    assert made == [LoadPoint(1, 1), LoadPoint(1, 2), LoadPoint(4, 1), LoadPoint(4, 2)]


def test_request_rates_take_the_place_of_concurrency():
    sweep = Sweep(batch_sizes=(1,), request_rates=(50.0,), arrivals="poisson")
    assert list(loads(sweep)) == [LoadPoint(1, None, 50.0, "poisson")]


def test_limiters_warm_ups_and_policies_are_dimensions_as_any_other():
    """2 x 2 x 2 = 8; a warm-up of nothing needs no dims."""
    sweep = Sweep(
        rate_limiters=(RateLimiter((RateLimitResource("R", 1),)), RateLimiter(priority=2)),
        warm_ups=(0, 5),
        host_policies=(HostPolicy("near"), HostPolicy("far")),
    )
    made = variants("bert", sweep, dims=lambda model: {"IDS": (8,)})
    assert len(set(made)) == 8
    assert {v.warm_up for v in made} == {WarmUp(0), WarmUp(5, (("IDS", (8,)),))}


def test_a_composed_model_comes_in_every_combination_of_its_members():
    """2 instance counts of one member x 2 batch sizes of another; the third is as configured."""
    sweep = Sweep(
        members=(
            ("detector", Sweep(instance_counts=(1, 2))),
            ("classifier", Sweep(max_batch_sizes=(4, 8))),
        )
    )
    made = variants("pipeline", sweep, ("detector", "classifier", "decoder"))
    assert len(set(made)) == 4
    assert {v.members for v in made} >= {
        (
            Variant("detector", instance_count=2),
            Variant("classifier", max_batch_size=8),
            Variant("decoder"),
        )
    }


def test_what_an_ensemble_has_not_is_left_out_and_said():
    config = model_config.parse("ensemble_scheduling { }", "config.pbtxt")
    sweep, (note,) = fitting("pipeline", Sweep(instance_counts=(1, 2), warm_ups=(3,)), config)
    assert variants("pipeline", sweep) == [Variant("pipeline")]
    assert "instance counts, warm ups" in note
    assert "members" in note


def test_a_stateful_model_gets_single_inferences_in_sequences():
    config = model_config.parse("sequence_batching { }", "config.pbtxt")
    asked = Sweep(batch_sizes=(1, 4), concurrency=(2,), max_queue_delays_us=(9,), sequence_length=7)
    sweep, notes = fitting("counter", asked, config, stateful=True)
    assert list(loads(sweep, stateful=True)) == [LoadPoint(1, 2, sequence_length=7)]
    assert str(LoadPoint(1, 2, sequence_length=7)) == "b1 c2 s7"
    assert variants("counter", sweep) == [Variant("counter")]
    assert len(notes) == 2


def test_any_other_model_is_swept_as_asked():
    sweep = Sweep(instance_counts=(1, 2))
    assert fitting("bert", sweep, model_config.new("bert")) == (sweep, [])
    assert fitting("bert", sweep, None) == (sweep, [])
