"""The five example models on the embedded Triton give what ONNX Runtime gives on the same data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analyzer.triton import http_api, local
from analyzer.triton.own_server import OwnServer
from analyzer.triton.runtime import Binary
from profiles.repository import read_repository

pytestmark = pytest.mark.triton

EXAMPLES = Path(__file__).parents[2] / "examples" / "model_repository"
MODELS = ("file_type", "ocr_detection", "ocr_orientation", "ocr_recognition", "voice_activity")
# Runs in the server's environment, without Triton.
DIRECTLY = """
import importlib.util, json, sys
from pathlib import Path
import numpy, onnxruntime
package, file, inputs, outputs, target = json.loads(sys.argv[1])
path = Path(importlib.util.find_spec(package).submodule_search_locations[0]) / file
session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
feed = dict(numpy.load(inputs))
numpy.savez(target, **dict(zip(outputs, session.run(outputs, feed))))
print(json.dumps([[i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]]))
"""


@pytest.fixture(scope="module")
def server(embedded_triton: Binary) -> Iterator[OwnServer]:
    with local.launch(EXAMPLES, embedded_triton) as running:
        yield running


def test_the_repository_holds_five_models() -> None:
    assert tuple(read_repository(EXAMPLES)) == MODELS


def some_data(datatype: str, shape: list[int]) -> np.ndarray:
    random = np.random.default_rng(7)
    if datatype == "INT32":
        return random.integers(0, 257, shape, dtype=np.int32)
    return random.random(shape, dtype=np.float32)


@pytest.mark.parametrize("model", MODELS)
def test_outputs_equal_those_of_onnx_runtime(
    model: str, server: OwnServer, embedded_triton: Binary, tmp_path: Path
) -> None:
    """A batch of three through Triton against the ONNX file run directly.

    With NumPy 2 in the server's environment the model would be ready and its outputs empty.
    """
    import tritonclient.http as triton

    server.load(model)
    described = http_api.metadata(server.http_url, model)
    parameters = {
        key: value.string_value
        for key, value in http_api.config(server.http_url, model).parameters.items()
    }
    assert [entry["shape"][0] for entry in described["inputs"]] == [-1] * len(described["inputs"])
    data = {
        entry["name"]: some_data(entry["datatype"], [3, *entry["shape"][1:]])
        for entry in described["inputs"]
    }
    inputs = []
    for name, array in data.items():
        datatype = "INT32" if array.dtype == np.int32 else "FP32"
        inputs.append(triton.InferInput(name, list(array.shape), datatype))
        inputs[-1].set_data_from_numpy(array)
    with triton.InferenceServerClient(server.http_url) as client:
        answer = client.infer(model, inputs)
        alone = client.infer(model, [one_of(entry, data) for entry in inputs])

    feed = dict(data)
    if model == "voice_activity":  # the ONNX model has the batch second, and the rate as an input
        feed["state"] = np.moveaxis(data["state"], 0, 1)
        feed["sr"] = np.array(16000)
    names = [entry["name"] for entry in described["outputs"]]
    np.savez(tmp_path / "in.npz", **feed)  # type: ignore[arg-type]
    job = [parameters["package"], parameters["file"], str(tmp_path / "in.npz"), names]
    python = Path(dict(embedded_triton.environment)["PATH"].partition(":")[0]) / "python"
    done = subprocess.run(
        [str(python), "-c", DIRECTLY, json.dumps([*job, str(tmp_path / "out.npz")])],
        capture_output=True,
        text=True,
        check=True,
    )
    onnx_inputs, onnx_outputs = json.loads(done.stdout)
    assert set(onnx_inputs) == set(feed), "the names are the ONNX model's own"
    assert set(onnx_outputs) == set(names)
    expected = dict(np.load(tmp_path / "out.npz"))
    if model == "voice_activity":
        expected["stateN"] = np.moveaxis(expected["stateN"], 1, 0)
    for entry in described["outputs"]:
        got = answer.as_numpy(entry["name"])
        assert got.shape == (3, *entry["shape"][1:])
        np.testing.assert_allclose(got, expected[entry["name"]], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(alone.as_numpy(entry["name"])[0], got[1], rtol=1e-3, atol=1e-5)


def one_of(batch: object, data: dict[str, np.ndarray]) -> object:
    """The second item of the batch as a request of its own."""
    import tritonclient.http as triton

    name, datatype = batch.name(), batch.datatype()  # type: ignore[attr-defined]
    single = triton.InferInput(name, [1, *data[name].shape[1:]], datatype)
    single.set_data_from_numpy(data[name][1:2])
    return single


def test_intra_op_threads_are_set_by_a_parameter(server: OwnServer) -> None:
    """ONNX Runtime starts one thread less than it may use, since the caller's works too."""
    import psutil

    def threads(count: int) -> int:
        config = read_repository(EXAMPLES)["ocr_orientation"].config
        config.parameters["intra_op_thread_count"].string_value = str(count)
        server.unload("ocr_orientation")
        before = {child.pid for child in psutil.Process(server.pids()[0]).children()}
        server.load("ocr_orientation", config)
        (stub,) = [
            child
            for child in psutil.Process(server.pids()[0]).children()
            if child.pid not in before
        ]
        return stub.num_threads()

    assert threads(3) == threads(1) + 2
