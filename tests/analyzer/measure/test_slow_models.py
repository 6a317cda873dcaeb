"""Models that take seconds for a request are measured with what can be known of them."""

from dataclasses import replace
from pathlib import Path

import pytest
from python_models import ECHO, add_model

from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from analyzer.measure.watchdog import Patience
from analyzer.triton.runtime import Binary

pytestmark = [pytest.mark.triton, pytest.mark.slow]

STREAM = """
sender = request.get_response_sender()
def stream():
    for _ in range(6):
        time.sleep(0.5)
        out = pb_utils.Tensor("OUT", np.zeros(1, np.float32))
        sender.send(pb_utils.InferenceResponse([out]))
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
threading.Thread(target=stream).start()
"""


@pytest.fixture
def options(tmp_path: Path, embedded_triton: Binary) -> Options:
    return Options(
        tmp_path / "models",
        tmp_path / "profiles.db",
        sweep=Sweep((1,), (4,)),
        gpus="none",
        rule=SteadyStateRule(max_duration_s=1.0),
    )


def test_what_is_in_flight_at_the_end_is_waited_for_by_the_latency_seen(options: Options):
    """A request takes 3 s, so four at a time take 12 s each: more than the cap, and more than
    the 10 s that are waited for whatever the latency. A third of a request per second."""
    add_model(options.model_repository, "slow", "time.sleep(3)\n" + ECHO)
    (m,) = profile.run(options, lambda _: None).measurements
    assert (m.status, m.failures) == ("ok", 0)
    assert m.throughput == pytest.approx(1 / 3, rel=0.05)
    assert m.latency is not None
    assert m.latency.p50_ms == pytest.approx(12_000, rel=0.05)
    assert m.requests >= 3
    assert m.confidence is not None
    assert 0 < m.confidence.throughput < 0.2
    assert not any("count" in warning for warning in m.warnings)


def test_a_stream_that_lasts_longer_than_the_answer_timeout_is_no_hang(options: Options):
    """Six responses half a second apart, two seconds of patience: responses are answers, too."""
    decoupled = "model_transaction_policy { decoupled: true }"
    add_model(options.model_repository, "stream", STREAM, decoupled)
    options = replace(options, sweep=Sweep((1,), (2,)), patience=Patience(model_s=2.0))
    (m,) = profile.run(options, lambda _: None).measurements
    assert m.status == "ok", m.reason
    assert m.first_response is not None
    assert m.between_responses is not None
    assert m.first_response.p50_ms == pytest.approx(500, rel=0.1)
    assert m.between_responses.p50_ms == pytest.approx(500, rel=0.1)
    assert m.responses_per_s == pytest.approx(4, rel=0.15)
