"""Stateful models of every kind are driven as Triton wants them."""

from dataclasses import replace
from pathlib import Path

import pytest
from python_models import ECHO, add_model

from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import profile
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from analyzer.triton.runtime import Binary

pytestmark = pytest.mark.triton

# Four responses to a request: after each but the last Triton schedules it again.
ITERATIVE = """
self.left = getattr(self, "left", {})
left = self.left.pop(request.correlation_id(), 4) - 1
time.sleep(0.002)
out = pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros((1, 1), np.float32))])
sender = request.get_response_sender()
if left == 0:
    sender.send(out, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
else:
    self.left[request.correlation_id()] = left
    request.set_release_flags(pb_utils.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE)
    sender.send(out)
"""
# A model that insists on its control inputs.
STRICT = """
controls = {n: pb_utils.get_input_tensor_by_name(request, n).as_numpy() for n in CONTROLS}
self.seen = getattr(self, "seen", {})
identity = int(controls["CORRID"].flatten()[0])
if controls["READY"].any():  # else Triton fills a slot that no sequence has
    self.seen[identity] = 0 if controls["START"].any() else self.seen[identity] + 1
    if controls["END"].any():
        del self.seen[identity]
"""
CONTROLS = """
control_input { name: "START" control { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } }
control_input { name: "END" control { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } }
control_input { name: "READY" control { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } }
control_input { name: "CORRID" control { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } }
"""


@pytest.fixture
def options(tmp_path: Path, embedded_triton: Binary) -> Options:
    return Options(
        tmp_path / "models",
        tmp_path / "profiles.db",
        sweep=Sweep((1, 2), (2,), sequence_length=5),
        gpus="none",
        rule=SteadyStateRule(relative_half_width=0.5, max_duration_s=1.0),
    )


def test_an_iterative_models_request_is_a_sequence_of_its_own(options: Options):
    config = """
        max_batch_size: 4
        sequence_batching { iterative_sequence: true }
        model_transaction_policy { decoupled: true }
    """
    add_model(options.model_repository, "iterative", ITERATIVE, config)
    (m,) = profile.run(options, lambda _: None).measurements
    assert (m.status, m.failures) == ("ok", 0), m.reason
    assert m.load.sequence_length is None
    assert m.responses == 4 * m.requests


@pytest.mark.parametrize("via", ["http", "grpc"])
def test_control_inputs_reach_the_model(options: Options, via: str):
    answer = f"CONTROLS = ('START', 'END', 'READY', 'CORRID')\n{STRICT}{ECHO}"
    config = f"max_batch_size: 4 sequence_batching {{ {CONTROLS} }}"
    add_model(options.model_repository, "strict", answer, config)
    chosen = replace(options, load_generator=via)  # type: ignore[arg-type]
    (m,) = profile.run(chosen, lambda _: None).measurements
    assert (m.status, m.failures) == ("ok", 0), m.reason
    assert m.load.sequence_length == 5
