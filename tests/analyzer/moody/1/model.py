"""Gives back what it gets; from two inferences in a request on it fails as its `mood` says."""

import json
import os
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.mood = parameters.get("mood", {}).get("string_value", "well")
        if self.mood == "never loads":
            time.sleep(3600)

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        array = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
        time.sleep(0.002)
        if len(array) > 1 and self.mood != "well":
            if self.mood == "exits":
                os._exit(1)
            if self.mood == "hangs":
                time.sleep(3600)
            words = {"runs out": "CUDA out of memory. Tried to allocate 2 GiB", "refuses": "No!"}
            return pb_utils.InferenceResponse([], pb_utils.TritonError(words[self.mood]))
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)])
