"""What a run says of itself, on completions whose truth is known."""

from array import array

import numpy as np
import pytest

from analyzer.load.series import Series
from analyzer.load.steady_state import SteadyStateRule
from profiles.measurement import LoadPoint


def a_report(
    pairs: list[tuple[float, float]],
    cpu_s: float = 0.0,
    waits: tuple[float, int] = (0.0, 0),
) -> dict[str, object]:
    done = array("d", [time_s for pair in pairs for time_s in pair]).tobytes()
    return {"done": done, "cpu_s": cpu_s, "waits": waits, "failures": 0, "texts": []}


def a_run(cpu_s: float = 0.1, waits: tuple[float, int] = (0.0, 0)) -> Series:
    """Ten seconds at one in flight, each request taking 10 ms."""
    series = Series(LoadPoint(2, 1), started_s=0.0)
    series.add(0, a_report([]))
    pairs = [(i / 100, (i + 1) / 100) for i in range(1000)]
    series.add(0, a_report(pairs, cpu_s, waits))
    return series


def test_figures_are_those_of_the_completions():
    """100 requests a second with two inferences each; warm-up takes no success away."""
    result = a_run().result(SteadyStateRule())
    assert result.throughput == pytest.approx(200)
    assert result.latency is not None
    assert result.latency.mean_ms == pytest.approx(10)
    assert result.completed == 1000
    assert result.client_limited is None
    assert result.confidence.reached


def test_a_client_at_nine_tenths_of_a_core_is_said():
    assert "95% of a core" in str(a_run(cpu_s=9.5).result(SteadyStateRule()).client_limited)


def test_a_client_that_waits_for_a_processor_is_said():
    """2 s over 1,000 wake-ups are 2 ms each, a fifth of the latency; 0.5 ms are a twentieth."""
    said = a_run(waits=(2.0, 1000)).result(SteadyStateRule()).client_limited
    assert "2.00 ms" in str(said)
    assert "20%" in str(said)
    assert a_run(waits=(0.5, 1000)).result(SteadyStateRule()).client_limited is None


def test_reports_of_two_workers_are_put_in_order():
    series = Series(LoadPoint(1, 2), started_s=0.0)
    series.add(0, a_report([(0.0, 0.3), (0.3, 0.6)]))
    series.add(1, a_report([(0.1, 0.2), (0.2, 0.5)]))
    ends, latencies = series.columns()
    assert ends.tolist() == [0.2, 0.3, 0.5, 0.6]
    assert latencies.tolist() == pytest.approx([0.1, 0.3, 0.3, 0.3])


def test_nothing_answered_is_a_result_without_latency():
    result = Series(LoadPoint(1, 1), started_s=0.0).result(SteadyStateRule())
    assert result.requests == 0
    assert result.latency is None
    assert not result.confidence.reached


def a_slow_run(concurrency: int, *ends_s: float, stopped_s: float = 1e9) -> Series:
    """Requests of 3 s that complete at these times, each sent when another completed."""
    series = Series(LoadPoint(1, concurrency), started_s=0.0, stopped_s=stopped_s)
    sent = [*[0.0] * concurrency, *ends_s]
    series.add(0, a_report(list(zip(sent, ends_s, strict=False))))
    return series


def test_what_completes_together_is_not_taken_for_a_rate():
    """Four at once every 3 s are 4/3 a second, however few of them there are."""
    series = a_slow_run(4, *[3.0] * 4, *[6.0] * 4, *[9.0] * 4, *[12.0] * 4)
    assert series.enough()
    result = series.result(SteadyStateRule())
    assert result.throughput == pytest.approx(4 / 3)
    assert result.requests == 12
    assert result.latency is not None
    assert result.latency.p50_ms == pytest.approx(3000)
    assert result.confidence.windows == 3
    assert result.too_few is None


def test_what_completed_after_the_end_met_less_load_and_does_not_count():
    """One after another, 3 s each; when the load ends at 30 s, four are still in flight."""
    ends_s = [3.0 * (i + 1) for i in range(14)]
    result = a_slow_run(4, *ends_s, stopped_s=30.5).result(SteadyStateRule())
    assert result.end_s == 30.0
    assert result.throughput == pytest.approx(1 / 3)
    assert result.completed == 14


def test_the_duration_that_would_be_useful_is_told():
    """Two answers 15 s apart with two in flight: five are needed, 75 s."""
    series = a_slow_run(2, 15.0, 30.0)
    assert not series.enough()
    result = series.result(SteadyStateRule())
    assert result.throughput == pytest.approx(1 / 15)
    assert result.confidence.throughput == 1.0
    assert "2 requests were answered" in str(result.too_few)
    assert "--max-duration 75s" in str(result.too_few)


def test_a_single_answer_is_a_figure():
    result = a_slow_run(1, 20.0).result(SteadyStateRule())
    assert result.throughput == pytest.approx(1 / 20)
    assert result.requests == 1
    assert not result.confidence.reached


def test_unanswered_requests_leave_the_good_ones():
    series = a_slow_run(2, 3.0, 6.0, 9.0, 12.0, 15.0)
    series.unanswered, series.waited_s = 1, 12.0
    result = series.result(SteadyStateRule())
    assert result.failures == 0
    assert result.unanswered == "1 request in flight at the end had no answer within 12 s"


def at_random(requests: int) -> Series:
    """A request every 10 ms, which takes 2 to 10 ms, 6 on average; none depends on another."""
    random = np.random.default_rng(7)
    series = Series(LoadPoint(1, 1), started_s=0.0)
    series.add(0, a_report([]))
    took = random.uniform(0.002, 0.010, requests)
    series.add(0, a_report([(i / 100, i / 100 + took[i]) for i in range(requests)]))
    return series


def test_a_percentile_has_an_upper_limit_once_it_has_its_requests():
    """Uniform between 2 and 10 ms: p50 is 6, p99 is 9.92 ms. 662 requests are needed for p99."""
    few, many = (at_random(n).result(SteadyStateRule()).latency for n in (300, 2000))
    assert few is not None
    assert many is not None
    assert few.p95_upper_ms is not None
    assert few.p99_upper_ms is None
    for percentile, truth_ms in ((50, 6.0), (90, 9.2), (95, 9.6), (99, 9.92)):
        surely_ms = many.upper(percentile)
        assert surely_ms is not None
        assert max(truth_ms, many.percentile(percentile)) < surely_ms < 1.1 * truth_ms


def test_a_tail_is_waited_for_as_long_as_it_will_have_its_requests_soon():
    """100 requests a second: p99 has its 662 in some seven seconds, with a cap of 2 s within 12."""
    tail, median = (SteadyStateRule(latency_percentile=p, max_duration_s=2.0) for p in (99, 50))
    series = at_random(250)
    assert not series.settled(tail)
    assert series.lacks_tail(tail, elapsed_s=2.5)
    assert not series.lacks_tail(median, elapsed_s=2.5)
    assert not series.lacks_tail(tail, elapsed_s=25.0), "at 10 a second it takes a minute"
    assert not at_random(2000).lacks_tail(tail, elapsed_s=11.0)
