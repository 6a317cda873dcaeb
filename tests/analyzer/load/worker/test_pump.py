"""When requests are sent."""

import asyncio
import itertools
import statistics
import time

import pytest
import uvloop

from analyzer.load.worker.alarm import Alarm
from analyzer.load.worker.pump import arrivals


def test_constant_arrivals_are_equally_spaced():
    assert list(itertools.islice(arrivals(50.0, "constant", 0), 3)) == [0.02] * 3


def test_poisson_arrivals_keep_the_rate_and_vary_as_exponentials_do():
    """Mean and standard deviation of the gaps are both 1/50 s; the seed decides them."""
    gaps = list(itertools.islice(arrivals(50.0, "poisson", 1), 20_000))
    assert statistics.fmean(gaps) == pytest.approx(0.02, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(0.02, rel=0.05)
    assert gaps[:3] == list(itertools.islice(arrivals(50.0, "poisson", 1), 3))


def test_an_alarm_rings_within_the_millisecond_and_never_early():
    """0.7 ms ahead: uvloop's own timers would ring after 1 ms at best."""

    async def late_s() -> list[float]:
        alarm = Alarm()
        found = []
        for _ in range(200):
            due_s = time.monotonic() + 0.0007
            await alarm.wait_until(due_s)
            found.append(time.monotonic() - due_s)
        alarm.close()
        return found

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        late = runner.run(late_s())
    assert min(late) >= 0
    assert statistics.quantiles(late, n=10)[0] < 0.0003
