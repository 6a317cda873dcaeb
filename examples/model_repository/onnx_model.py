"""Runs an ONNX model of an installed Python package with ONNX Runtime, on CPU.

Every `1/model.py` of this repository links to this file; what differs stands in `config.pbtxt`,
under `parameters`:

    package                 the Python package that ships the weights
    file                    the ONNX file inside that package
    intra_op_thread_count   threads that share one inference, 1 by default
    constant:NAME           an input that every inference gets, such as a sampling rate
    batch_axis:NAME         where the ONNX model has its batch dimension, when it is not first

Requests that Triton's batcher hands over together are run as one batch.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils


def weights(package: str, file: str) -> str:
    """The path of a package's file, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the Python package {package!r} is not installed in the server")
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise FileNotFoundError(f"the Python package {package!r} has no file {file!r}")
    return str(path)


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", "1"))
        options.inter_op_num_threads = 1
        # Threads that spin while they wait would steal the CPU of the other models.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            weights(parameters["package"], parameters["file"]),
            options,
            providers=["CPUExecutionProvider"],
        )
        self.constants = {}
        self.batch_axes = {}
        for key, value in parameters.items():
            if key.startswith("constant:"):
                self.constants[key.removeprefix("constant:")] = np.array(json.loads(value))
            elif key.startswith("batch_axis:"):
                self.batch_axes[key.removeprefix("batch_axis:")] = int(value)
        self.inputs = [entry["name"] for entry in config["input"]]
        self.outputs = [entry["name"] for entry in config["output"]]

    def execute(self, requests):
        feeds = [
            [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs]
            for request in requests
        ]
        responses = [None] * len(requests)
        for group in same_shape(feeds):
            try:
                results = self.run([feeds[index] for index in group])
            except Exception as error:  # one bad request must not take the others down
                for index in group:
                    failure = pb_utils.TritonError(str(error))
                    responses[index] = pb_utils.InferenceResponse(error=failure)
                continue
            for index, arrays in zip(group, results, strict=True):
                tensors = [
                    pb_utils.Tensor(name, array)
                    for name, array in zip(self.outputs, arrays, strict=True)
                ]
                responses[index] = pb_utils.InferenceResponse(tensors)
        return responses

    def run(self, feeds):
        """The outputs of each request, computed as one batch."""
        feed = dict(self.constants)
        for name, arrays in zip(self.inputs, zip(*feeds, strict=True), strict=True):
            batch = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            feed[name] = np.moveaxis(batch, 0, self.batch_axes.get(name, 0))
        outputs = [
            np.moveaxis(array, self.batch_axes.get(name, 0), 0)
            for name, array in zip(self.outputs, self.session.run(self.outputs, feed), strict=True)
        ]
        ends = np.cumsum([len(arrays[0]) for arrays in feeds])[:-1]
        parts = [np.split(array, ends) for array in outputs]
        # The stub copies a tensor's buffer as it lies in memory.
        return [
            [np.ascontiguousarray(part) for part in request] for request in zip(*parts, strict=True)
        ]


def same_shape(feeds):
    """Indices of the requests, grouped by the shapes of their inputs less the batch dimension."""
    groups = {}
    for index, arrays in enumerate(feeds):
        groups.setdefault(tuple(array.shape[1:] for array in arrays), []).append(index)
    return groups.values()
