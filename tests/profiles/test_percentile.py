"""Upper confidence limits of percentiles."""

from __future__ import annotations

import numpy as np
import pytest

from profiles.percentile import MANY, longer, requests_needed


@pytest.mark.parametrize(("percentile", "requests"), [(50, 11), (90, 64), (95, 130), (99, 662)])
def test_as_many_requests_are_needed_as_mlperf_asks_for(percentile: int, requests: int):
    assert requests_needed(percentile) == requests
    assert longer(requests - 1, percentile) is None
    assert longer(requests, percentile) == 1


@pytest.mark.parametrize("percentile", [50, 90, 99])
def test_the_limit_is_below_the_percentile_once_in_a_hundred_times_at_most(percentile: int):
    """Of uniform numbers the percentile is known; 4000 repetitions: at most 60 may miss it."""
    random = np.random.default_rng(percentile)
    above = longer(1500, percentile)
    assert above is not None
    limits = np.sort(random.random((4000, 1500)), axis=1)[:, 1500 - 1 - above]
    assert 5 < int((limits < percentile / 100).sum()) <= 60


def test_the_normal_distribution_joins_where_the_binomial_ends():
    assert abs((longer(MANY, 99) or 0) - (longer(MANY + 1, 99) or 0)) <= 2
