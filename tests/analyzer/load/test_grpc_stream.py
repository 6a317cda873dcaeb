"""A real decoupled model answers as often as it is asked to, 5 ms apart."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.load import worker_pool
from analyzer.load.generator import LoadResult
from analyzer.load.inputs import make_requests
from analyzer.load.steady_state import SteadyStateRule
from analyzer.triton import local, statistics
from analyzer.triton.own_server import OwnServer
from analyzer.triton.runtime import Binary
from profiles.errors import InputError
from profiles.measurement import LoadPoint

pytestmark = pytest.mark.triton

MODELS = Path(__file__).parents[1] / "swept_models"
QUICK = SteadyStateRule(relative_half_width=0.3, max_duration_s=1.0)


@pytest.fixture(scope="module")
def triton(embedded_triton: Binary) -> Iterator[OwnServer]:
    with local.launch(MODELS, embedded_triton) as running:
        running.load("streamer")
        yield running


def driven(
    triton: OwnServer, folder: Path, counts: list[int], load: LoadPoint, workers: int = 1
) -> LoadResult:
    data = folder / "data.json"
    entries = ", ".join(f'{{"COUNT": [{count}]}}' for count in counts)
    data.write_text(f'{{"data": [{entries}]}}')
    requests = make_requests(triton.http_url, "streamer", 1, data=data)
    with worker_pool.start("grpc", most_workers=workers, busy_share=0.0) as generator:
        generator.aim(triton.grpc_url, requests)
        return generator.run(load, QUICK)


def test_responses_are_counted_and_the_first_is_timed_apart_from_the_last(
    triton: OwnServer, tmp_path: Path
):
    """Three responses to each request: the first after 5 ms at least, the last after 15."""
    before = statistics.snapshot(triton.http_url, "streamer")
    result = driven(triton, tmp_path, [3], LoadPoint(1, 2))
    assert result.failures == 0
    assert result.responses == 3 * result.requests
    assert result.latency is not None
    assert result.first_response is not None
    assert result.first_response.p50_ms > 5
    assert result.latency.p50_ms > result.first_response.p50_ms + 10
    after = statistics.snapshot(triton.http_url, "streamer", before, result.completed)
    assert after.successes - before.successes == result.completed


def test_requests_without_a_response_end_too(triton: OwnServer, tmp_path: Path):
    """None and two by turns, from two workers, at a rate: one to a request in the mean."""
    result = driven(triton, tmp_path, [0, 2], LoadPoint(1, None, 100.0), workers=2)
    assert result.failures == 0
    assert result.responses == pytest.approx(result.requests, abs=4)


def test_an_error_in_the_stream_is_a_failure_in_the_models_words(triton: OwnServer, tmp_path: Path):
    result = driven(triton, tmp_path, [13], LoadPoint(1, 1))
    assert result.failures > 0
    assert result.failure_texts == ("thirteen is too many",)


def test_perf_analyzer_cannot_and_the_remedy_is_told(triton: OwnServer):
    with pytest.raises(InputError, match="--load-generator grpc"):
        make_requests(triton.http_url, "streamer", 1, via="perf_analyzer")


def test_when_a_run_has_ended_the_model_can_be_unloaded(triton: OwnServer):
    """An open stream would keep it for as long as the generator lives: more than five seconds."""
    with worker_pool.start("grpc") as generator:
        generator.aim(triton.grpc_url, make_requests(triton.http_url, "streamer", 1))
        assert generator.run(LoadPoint(1, 2), QUICK).failures == 0
        started_s = time.monotonic()
        triton.unload("streamer", timeout_s=30.0)
        assert time.monotonic() - started_s < 4
        triton.load("streamer")
        assert generator.run(LoadPoint(1, 2), QUICK).failures == 0
