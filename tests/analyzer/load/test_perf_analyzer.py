"""perf_analyzer as the generator; what it prints is that of its release 2.60."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analyzer.load import perf_analyzer
from analyzer.load.inputs import make_requests
from analyzer.load.perf_analyzer import half_width, read_result
from analyzer.load.steady_state import SteadyStateRule
from analyzer.triton.own_server import OwnServer
from profiles.errors import InputError
from profiles.measurement import LoadPoint

OUTPUT = """
Request concurrency: 2
  Pass [1] throughput: 5355.87 infer/sec. p50 latency: 350 usec
  Pass [2] throughput: 7144.68 infer/sec. p50 latency: 447 usec
  Pass [3] throughput: 5297.2 infer/sec. p50 latency: 452 usec
  Client:
    Request count: 5422
    Throughput: 5941.6 infer/sec
    p50 latency: 428 usec
    Avg HTTP time: 662 usec (send 64 usec + response wait 598 usec + receive 0 usec)
"""
TABLE = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,"
    "Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,"
    "p90 latency,p95 latency,p99 latency,request/response,response wait\n"
    "2,5941.6,64,318,96,12,143,29,0,428,921,1725,5237,64,598\n"
)


def test_its_table_and_windows_are_read():
    """Two inferences to a request: 5,941.6 / 2 x 0.662 ms is 1.97 in flight, by Little's law."""
    result = read_result(OUTPUT, TABLE, SteadyStateRule(), 0.5, 1.0)
    assert result.throughput == 5941.6
    assert result.latency is not None
    assert result.latency.p95_ms == 1.725
    assert result.throughput / 2 * result.latency.mean_ms / 1000 == pytest.approx(1.97, abs=0.01)
    assert result.requests == 5422
    # Throughput of 5,356, 7,145 and 5,297: deviation 1,050, mean 5,933.
    assert result.confidence.throughput == pytest.approx(4.303 * 1050 / 3**0.5 / 5933, rel=0.01)
    assert not result.confidence.reached


def test_windows_that_are_equal_leave_no_doubt_and_fewer_than_three_leave_all():
    assert half_width([5.0, 5.0, 5.0]) == 0
    assert half_width([5.0, 5.0]) == float("inf")


def test_that_it_cannot_keep_the_rate_is_passed_on():
    words = "[WARNING] Perf Analyzer was not able to keep up with the desired request rate."
    result = read_result(OUTPUT + words, TABLE, SteadyStateRule(), 0.5, 1.0)
    assert "not able to keep up" in str(result.client_limited)


def test_where_it_is_not_there_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(InputError, match="--load-generator http"), perf_analyzer.start():
        pass


@pytest.mark.triton
@pytest.mark.docker
@pytest.mark.timeout(900)  # it may be the first that builds the images
def test_the_real_one_drives_a_real_model(
    triton: OwnServer, perf_analyzer_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(perf_analyzer_folder), prepend=os.pathsep)
    with perf_analyzer.start() as generator:
        requests = make_requests(
            triton.http_url, "add_one", 2, shapes={"IN": (16,)}, via="perf_analyzer"
        )
        generator.aim(triton.http_url, requests)
        good = generator.run(LoadPoint(2, 2), SteadyStateRule(0.9))
        refused = generator.run(LoadPoint(16, 1), SteadyStateRule(0.9))
    assert good.throughput > 100
    assert good.requests > 100
    assert refused.failures >= 1
    assert "batch-size must be <= 8" in refused.failure_texts[0]
