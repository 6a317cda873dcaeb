"""The gRPC generator against a real Triton."""

from __future__ import annotations

import pytest

from analyzer.load import worker_pool
from analyzer.load.inputs import make_requests
from analyzer.load.steady_state import SteadyStateRule
from analyzer.triton import statistics
from analyzer.triton.own_server import OwnServer
from profiles.errors import SurroundingsError
from profiles.measurement import LoadPoint


@pytest.mark.triton
def test_the_server_counts_what_the_client_does(triton: OwnServer):
    requests = make_requests(triton.http_url, "add_one", 2, shapes={"IN": (16,)}, via="grpc")
    before = statistics.snapshot(triton.http_url, "add_one")
    with worker_pool.start("grpc") as generator:
        generator.aim(triton.grpc_url, requests)
        result = generator.run(LoadPoint(2, 4), SteadyStateRule(0.5, max_duration_s=1.0))
    after = statistics.snapshot(triton.http_url, "add_one", before, result.completed)
    served = statistics.difference(before, after)
    assert result.failures == 0
    assert served.requests == result.completed
    assert result.latency is not None
    assert result.throughput / 2 * result.latency.mean_ms / 1000 == pytest.approx(4, rel=0.05)
    assert served.server_time is not None
    assert 0 < served.server_time.compute_infer_ms < result.latency.mean_ms


def test_no_server_is_said(unused_address: str):
    with worker_pool.start("grpc") as generator:
        generator.aim(unused_address, [])
        with pytest.raises(SurroundingsError, match="no gRPC server"):
            generator.run(LoadPoint(1, 1), SteadyStateRule())
