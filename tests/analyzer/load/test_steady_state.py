"""The rule's statistics on series whose truth is known."""

import numpy as np
import pytest

from analyzer.load.confidence import (
    confidence,
    few_half_widths,
    percentile_half_width,
    throughput_half_width,
)
from analyzer.load.steady_state import SteadyStateRule, drift, warm_up

RNG = np.random.default_rng(2026)


def test_a_slow_start_is_cut_off():
    """The first 50 requests take 3 times as long; at least these go, and not half of the rest."""
    latencies = np.concatenate([np.full(50, 30.0), RNG.normal(10, 1, 450)])
    cut = warm_up(latencies, in_flight=1)
    assert cut is not None
    assert 50 <= cut <= 150


def test_a_steady_series_keeps_nearly_everything():
    cut = warm_up(RNG.normal(10, 1, 500), in_flight=4)
    assert cut is not None
    assert cut <= 100


def test_a_series_that_still_falls_has_not_settled():
    assert warm_up(np.linspace(100, 10, 400), in_flight=1) is None


def test_too_few_requests_have_not_settled():
    assert warm_up(np.full(10, 10.0), in_flight=1) is None


@pytest.mark.parametrize("true_rate", [20.0, 500.0])
def test_the_throughput_interval_covers_the_truth_about_95_times_of_100(true_rate: float):
    """Poisson completions, 400 of them, 300 repetitions: between 90 % and 99 % must cover."""
    covered = 0
    for _ in range(300):
        ends = np.cumsum(RNG.exponential(1 / true_rate, 401))
        rate = 400 / (ends[-1] - ends[0])
        covered += abs(rate - true_rate) / rate <= throughput_half_width(ends, 1)
    assert 270 <= covered <= 297


def test_the_percentile_interval_covers_the_truth_about_95_times_of_100():
    """The p90 of an exponential of mean 1 is ln 10."""
    covered = 0
    for _ in range(300):
        series = RNG.exponential(1.0, 500)
        estimate = np.percentile(series, 90)
        half_width = percentile_half_width(series, 90) * estimate
        covered += abs(estimate - np.log(10)) <= half_width
    assert 265 <= covered <= 300


def test_autocorrelation_widens_the_interval():
    noise = RNG.normal(0, 1, 2000)
    correlated = np.empty(2000)
    level = 0.0
    for i, step in enumerate(noise):
        level = 0.9 * level + step
        correlated[i] = 20 + level
    independent = RNG.permutation(correlated)
    assert percentile_half_width(correlated, 50) > 2 * percentile_half_width(independent, 50)


def test_a_tail_percentile_of_few_requests_is_unknown():
    assert percentile_half_width(RNG.normal(10, 1, 30), 99) == np.inf


def test_reached_means_both_intervals_are_narrow():
    ends = np.cumsum(np.full(1001, 0.01))
    rule = SteadyStateRule(relative_half_width=0.05, latency_percentile=95)
    assert confidence(ends, RNG.normal(10, 0.5, 1000), 1, rule).reached
    assert not confidence(ends, RNG.exponential(10, 1000)[:60], 1, rule).reached


def test_a_rise_of_a_third_is_drift_and_noise_is_not():
    rising = np.linspace(10, 14, 1000) + RNG.normal(0, 1, 1000)
    found = drift(rising)
    assert found is not None
    assert "rose" in found
    assert drift(RNG.normal(10, 1, 1000)) is None


def test_the_interval_of_few_requests_covers_the_truth_about_95_times_of_100():
    """Eight groups of two, a normal 3 s ± 10 % apart: the truth is two in 3 s."""
    covered = 0
    for _ in range(500):
        ends = np.cumsum(np.append(1.0, RNG.normal(3.0, 0.3, 8))).repeat(2)[1:]
        latencies = np.diff(ends[::2]).repeat(2)
        rate = 16 / (ends[-1] - ends[0])
        covered += abs(rate - 2 / 3) / rate <= few_half_widths(ends, latencies)[0]
    assert 0.92 <= covered / 500 <= 0.98
