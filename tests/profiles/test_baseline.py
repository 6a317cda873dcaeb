"""What a model adds to a server that runs already."""

import pytest

from profiles.baseline import less_baseline
from profiles.environment import Environment
from profiles.measurement import Baseline, HostUsage, LoadPoint, Measurement, Usage
from profiles.variant import Variant

SERVER = Baseline(
    "Tesla T4",
    Environment(),
    memory_bytes=309_000_000,
    utilization_percent=9,
    memory_utilization_percent=1,
    power_w=30,
    host=HostUsage(0.25, 0.5, 100_000_000, cores_by_process=(("tritonserver", 0.25),)),
)


def a_measurement(usage: Usage | None) -> Measurement:
    host = HostUsage(1.0, 0.2, 400_000_000, cores_by_process=(("stub", 0.5), ("tritonserver", 0.5)))
    return Measurement(
        Variant("bert"), LoadPoint(), "Tesla T4", Environment(), usage=usage, host=host
    )


def test_what_the_idle_server_uses_is_no_need_of_the_model():
    """59 - 9 = 50 %, 11 - 1 = 10 %, 70 - 30 = 40 W, 1 - 0.25 cores, 400 - 100 MB of RAM.

    GPU memory was a difference before, and energy is of all the device's power.
    """
    measured = a_measurement(Usage(1_000, 2_000, 59, 11, 70, 0.5))
    left = less_baseline(measured, SERVER)
    assert left.usage == Usage(1_000, 2_000, 50, 10, 40, 0.5)
    by_process = (("stub", 0.5), ("tritonserver", 0.25))
    assert left.host == HostUsage(0.75, 0.2, 300_000_000, cores_by_process=by_process)


def test_a_quiet_model_leaves_nothing_and_never_less():
    left = less_baseline(a_measurement(Usage(1_000, 2_000, 4, 0, 29)), SERVER)
    assert left.usage == Usage(1_000, 2_000, 0, 0, 0)


@pytest.mark.parametrize("usage", [None, Usage(1_000, 2_000, None)])
def test_what_was_not_measured_stays_so(usage: Usage | None):
    assert less_baseline(a_measurement(usage), SERVER).usage == usage
