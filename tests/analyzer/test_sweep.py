"""A grid is every variant under every load."""

from analyzer.sweep import Sweep, loads, variants
from profiles.measurement import LoadPoint
from profiles.variant import DynamicBatching, Variant


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
