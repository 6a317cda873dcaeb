"""What is exported serves by itself: the originals are moved away, and a real Triton answers."""

import json
from pathlib import Path

import pytest
from command_line import run
from python_models import ECHO, add_model

from analyzer.triton.runtime import Binary

pytestmark = [pytest.mark.triton, pytest.mark.slow]

VOCAB = """
folder = self.args["model_repository"]
assert open(os.path.join(folder, "..", "vocab", "words.txt")).read() == "words"
config = json.loads(self.args["model_config"])
path = config["parameters"]["WORDS"]["string_value"].replace("$$TRITON_MODEL_DIRECTORY", folder)
assert open(path).read() == "words"
"""
SETTINGS = """
with open(os.path.join(self.args["model_repository"], "configs", "settings.json")) as file:
    assert json.load(file) == {"by": 1}
"""
WEIGHTS = """
weights = os.path.join(self.args["model_repository"], self.args["model_version"], "weights.bin")
assert open(weights).read() == "weights"
"""
CALLER = """
tensor = pb_utils.get_input_tensor_by_name(request, "IN")
call = pb_utils.InferenceRequest(
    model_name="settings", inputs=[tensor], requested_output_names=["OUT"]
)
answer = call.exec()
assert not answer.has_error(), answer.error().message()
return pb_utils.InferenceResponse(answer.output_tensors())
"""
STREAM = """
sender = request.get_response_sender()
for _ in range(3):
    sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.zeros(1, np.float32))]))
sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
WORDS = """
parameters { key: "WORDS" value { string_value: "$$TRITON_MODEL_DIRECTORY/../vocab/words.txt" } }
"""
SEQUENCE = """
sequence_batching { control_input {
  name: "START" control { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] }
} }
"""
GROUPS = """
instance_group [ { kind: KIND_CPU count: 1 }, { kind: KIND_CPU count: 1 host_policy: "near" } ]
"""
PIPELINE = """
platform: "ensemble"
input { name: "IN" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling { step {
  model_name: "vocabulary" model_version: -1
  input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "OUT" }
} }
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    add_model(models, "vocabulary", VOCAB + ECHO, WORDS)
    (models / "vocab").mkdir()
    (models / "vocab" / "words.txt").write_text("words")
    (add_model(models, "settings", SETTINGS + ECHO) / "configs").mkdir()
    (models / "settings" / "configs" / "settings.json").write_text('{"by": 1}')
    (models / "blobs").mkdir()
    (models / "blobs" / "a1b2").write_text("weights")
    weights = add_model(models, "linked", WEIGHTS + ECHO) / "1" / "weights.bin"
    weights.symlink_to("../../blobs/a1b2")
    add_model(models, "caller", CALLER)
    add_model(models, "stream", STREAM, "model_transaction_policy { decoupled: true }")
    add_model(models, "sequence", ECHO, SEQUENCE)
    add_model(models, "groups", ECHO, GROUPS)
    (models / "pipeline").mkdir()
    (models / "pipeline" / "config.pbtxt").write_text(PIPELINE)
    return models


def test_models_of_all_kinds_serve_from_the_export_alone(
    repository: Path, tmp_path: Path, embedded_triton: Binary
):
    """Profiled, placed, exported with copies; the originals are gone, and each answers."""
    load = ["--batch-sizes", "1", "--concurrency", "1", "--max-duration", "500ms", "--gpus", "none"]
    load += ["--with-models", "caller=settings", "--confidence-interval", "50%"]
    profiled = run("profile", "-m", repository, *load, cwd=tmp_path)
    assert profiled.returncode == 2, profiled.stderr  # `vocab` and `blobs` are no models
    assert "2 of 10 models were left out" in profiled.stderr
    host = json.loads(run("show", "--output-format", "json", cwd=tmp_path).stdout)
    (device,) = {m["device_type"] for m in host["measurements"]}
    placed = run(
        *("place", "--device", device, "--limits", "memory", "-o", "layout.yaml"), cwd=tmp_path
    )
    assert placed.returncode == 0, placed.stderr
    exported = run("export", "layout.yaml", "-m", repository, "--copy", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    repository.rename(tmp_path / "away")
    from analyzer.deploy.smoke_test import check_repositories

    (answered,) = check_repositories(tmp_path / "deploy" / "triton").values()
    assert answered.keys() == {
        "caller",
        "groups",
        "linked",
        "pipeline",
        "sequence",
        "settings",
        "stream",
        "vocabulary",
    }
