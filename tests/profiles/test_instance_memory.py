"""Memory of each added instance, from measurements with more and with fewer."""

from profiles.environment import Environment
from profiles.instance_memory import added_instances
from profiles.measurement import LoadPoint, Measurement, Usage
from profiles.variant import Variant


def a_measurement(
    instances: int | None, concurrency: int, cold_bytes: int, hot_bytes: int
) -> Measurement:
    return Measurement(
        Variant("bert", instance_count=instances),
        LoadPoint(concurrency=concurrency),
        "Tesla T4",
        Environment(),
        usage=Usage(cold_bytes, hot_bytes, 50),
    )


def test_each_added_instance_is_the_slope_between_fewest_and_most():
    """Cold 1000, 1300, 2200 with 1, 2, 4 instances: (2200 - 1000) / 3 = 400; hot (3000 - 1500) / 3.

    The load that only one was measured at does not count.
    """
    measured = [
        a_measurement(1, 1, 1000, 1400),
        a_measurement(1, 4, 1000, 1500),
        a_measurement(2, 4, 1300, 1900),
        a_measurement(4, 4, 2200, 3000),
        a_measurement(4, 64, 2200, 9000),
    ]
    (added,) = added_instances(measured)
    assert (added.variant, added.fewest, added.most) == (Variant("bert"), 1, 4)
    assert (added.cold_bytes, added.hot_bytes) == (400, 500)


def test_one_count_or_an_unknown_one_tells_nothing():
    assert added_instances([a_measurement(None, 1, 1, 1), a_measurement(2, 1, 5, 5)]) == []
