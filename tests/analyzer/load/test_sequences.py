"""Sequences: whole, with ids of their own, on a real model that refuses anything else."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc.service_pb2 import ModelInferRequest
from tritonclient.http import InferenceServerClient, InferInput

from analyzer.load import worker_pool
from analyzer.load.inputs import make_requests
from analyzer.load.model_inputs import ModelInputs
from analyzer.load.sequences import FIRST_ID, LAST_ID, SequenceStep, lengths, varint
from analyzer.load.serialize import for_grpc, for_http
from analyzer.load.steady_state import SteadyStateRule
from analyzer.load.worker.request import Request
from analyzer.load.worker.sequences import MOST_WORKERS, Sequences
from analyzer.triton import local
from analyzer.triton.own_server import OwnServer
from analyzer.triton.runtime import Binary
from profiles.errors import InputError
from profiles.measurement import LoadPoint

MODELS = Path(__file__).parents[1] / "swept_models"
QUICK = SteadyStateRule(relative_half_width=0.3, max_duration_s=1.0)


def a_script(length: int, idle_limit_s: float = 1.0) -> list[Request]:
    """Requests whose bytes are the id and what they are."""
    steps = [
        SequenceStep(i == 0, i == length - 1, 0, "decimal", idle_limit_s) for i in range(length)
    ]
    return [Request("", b"%d %d%d" % (FIRST_ID, step.starts, step.ends), step) for step in steps]


def test_ids_have_ten_digits_and_five_bytes():
    for identity in (FIRST_ID, LAST_ID):
        assert len(b"%d" % identity) == 10
        assert len(varint(identity)) == 5


def test_an_id_is_written_in_place_and_nothing_else_moves():
    step = SequenceStep(True, False, 4, "decimal")
    assert step.stamped(b"id: 1000000000, data", 1234567890) == b"id: 1234567890, data"


def test_a_connection_carries_one_sequence_after_another():
    sequences = Sequences(a_script(3) + a_script(1), worker=0)
    sent = [sequences.next("a").body.split() for _ in range(5)]
    assert [what for _, what in sent] == [b"10", b"00", b"01", b"11", b"10"]
    first, second, third = sent[0][0], sent[3][0], sent[4][0]
    assert {identity for identity, _ in sent[:3]} == {first}
    assert len({first, second, third}) == 3


def test_no_two_live_sequences_share_an_id_whatever_the_worker():
    """64 workers with 20 connections each: whatever their random starts."""
    workers = [Sequences(a_script(2), worker) for worker in range(MOST_WORKERS)]
    ids = {w.next(connection).body.split()[0] for w in workers for connection in range(20)}
    assert len(ids) == 20 * MOST_WORKERS
    assert all(FIRST_ID <= int(identity) <= LAST_ID for identity in ids)


def test_a_sequence_that_is_cut_short_gets_its_end_and_a_broken_one_none():
    sequences = Sequences(a_script(5), worker=0)
    begun = sequences.next("a").body.split()[0]
    end = sequences.last("a")
    assert end is not None
    assert end.body.split() == [begun, b"01"]
    assert sequences.last("a") is None
    sequences.next("a")
    sequences.forget("a")
    assert sequences.last("a") is None


def test_a_sequence_that_rested_too_long_is_not_gone_on_with():
    sequences = Sequences(a_script(5, idle_limit_s=0.0), worker=0)
    begun = sequences.next("a").body.split()[0]
    sequences.rest("a")
    identity, what = sequences.next("a").body.split()
    assert identity != begun
    assert what == b"10"


def test_lengths_differ_about_their_mean():
    assert sum(lengths(20)) == 100
    assert len(set(lengths(20))) == 5
    assert set(lengths(1)) == {1}


@pytest.fixture(scope="module")
def triton(embedded_triton: Binary) -> Iterator[OwnServer]:
    with local.launch(MODELS, embedded_triton) as running:
        running.load("counter")
        running.load("oldest_counter")
        yield running


def most_and_left(url: str, model: str) -> tuple[int, int]:
    """How many sequences lived at once at most, and how many still do, as the model saw it."""
    tensor = InferInput("IN", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.zeros([1, 4], dtype=np.float32))
    with InferenceServerClient(url) as client:
        answer = client.infer(
            model, [tensor], sequence_id=7, sequence_start=True, sequence_end=True
        )
        _, _, left, most = answer.as_numpy("OUT")[0]
    return int(most), int(left)


@pytest.mark.triton
@pytest.mark.parametrize("model", ["counter", "oldest_counter"])
@pytest.mark.parametrize("via", ["http", "grpc"])
def test_a_stateful_model_sees_whole_sequences_as_many_as_the_concurrency(
    triton: OwnServer, model: str, via: str
):
    """From two workers at once; the model refuses a start too many, or a step without one."""
    url = triton.http_url if via == "http" else triton.grpc_url
    requests = make_requests(triton.http_url, model, 1, via=via, sequence_length=5)
    with worker_pool.start(via, most_workers=2, busy_share=0.0) as generator:
        generator.aim(url, requests)
        result = generator.run(LoadPoint(1, 4, sequence_length=5), QUICK)
    assert (result.failures, result.failure_texts) == (0, ())
    assert result.requests > 50
    assert most_and_left(triton.http_url, model) == (4, 0)


@pytest.mark.triton
def test_at_a_rate_sequences_are_whole_too(triton: OwnServer):
    requests = make_requests(triton.http_url, "counter", 1, sequence_length=3)
    with worker_pool.start("http") as generator:
        generator.aim(triton.http_url, requests)
        result = generator.run(LoadPoint(1, None, 100.0, "poisson", 3), QUICK)
    assert (result.failures, result.failure_texts) == (0, ())
    assert most_and_left(triton.http_url, "counter")[1] == 0


@pytest.mark.triton
def test_given_sequences_are_sent_as_they_are_and_single_inferences(
    triton: OwnServer, tmp_path: Path
):
    step = '{"IN": [1, 2, 3, 4]}'
    data = tmp_path / "data.json"
    data.write_text(f'{{"data": [[{step}, {step}], [{step}]]}}')
    requests = make_requests(triton.http_url, "counter", 1, data=data)
    ends = [(r.sequence.starts, r.sequence.ends) for r in requests if r.sequence is not None]
    assert ends == [(True, False), (False, True), (True, True)]
    data.write_text(f'{{"data": [{step}, {step}]}}')
    assert len(make_requests(triton.http_url, "counter", 1, data=data, sequence_length=10)) == 50
    with pytest.raises(InputError, match="one inference per request"):
        make_requests(triton.http_url, "counter", 4)


def test_a_model_that_wants_text_for_an_id_gets_it():
    """In either protocol the id is ten digits of text, written in place."""
    described = ModelInputs("m", 1, (), idle_limit_s=1.0, text_ids=True)
    http = for_http(described, {}, (True, False), {})
    grpc = for_grpc(described, {}, (True, False), {})
    assert http.sequence is not None
    assert grpc.sequence is not None
    body = http.sequence.stamped(http.body, 1234567890)
    assert json.loads(body)["parameters"]["sequence_id"] == "1234567890"
    message = ModelInferRequest.FromString(grpc.sequence.stamped(grpc.body, 1234567890))
    assert message.parameters["sequence_id"].string_param == "1234567890"
