"""A model that "uses" a pretended GPU: memory while it is loaded and served, time while it serves.

Its parameters: `gpu` (number in the fleet; by default what CUDA_VISIBLE_DEVICES ends with),
`cold_bytes` (held once loaded), `hot_bytes` (held from the first request on), `utilization_percent`
and `memory_percent` (of the GPU's time while it is under load), `service_ms` (of a request).
Without enough memory it fails as frameworks do.
"""

import ctypes
import json
import os
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.given = {key: float(value["string_value"]) for key, value in parameters.items()}
        self.library = ctypes.CDLL(os.environ["PRETENDED_NVML_LIBRARY"])
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").rpartition("-")[2]
        self.gpu = int(self.given.get("gpu", visible or 0))
        self.served_ns = None
        self.hold("cold_bytes")

    def hold(self, name):
        amount = ctypes.c_uint64(int(self.given[name]))
        if not self.library.pretended_hold(self.gpu, os.getpid(), amount):
            raise MemoryError("CUDA error: out of memory")

    def execute(self, requests):
        responses = []
        for request in requests:
            try:
                if self.served_ns is None:
                    self.hold("hot_bytes")
            except MemoryError as error:
                failure = pb_utils.TritonError(str(error))
                responses.append(pb_utils.InferenceResponse(error=failure))
                continue
            time.sleep(self.given["service_ms"] / 1000)
            now_ns = time.time_ns()
            start_ns = self.served_ns or now_ns
            if now_ns - start_ns < 1e9:  # a longer pause was idle time
                # The share is of all time under load, the gaps between requests included.
                busy_ns = int((now_ns - start_ns) * self.given["utilization_percent"] / 100)
                moved = 100 * self.given["memory_percent"] / self.given["utilization_percent"]
                self.library.pretended_busy(
                    self.gpu,
                    ctypes.c_uint64(start_ns // 1000),
                    ctypes.c_uint64((start_ns + busy_ns) // 1000),
                    round(moved),
                )
            self.served_ns = now_ns
            tensor = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT", tensor)]))
        return responses
