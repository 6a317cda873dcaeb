"""Refuses what is no proper sequence: a start twice, a step without one, an id that lives."""

import numpy as np
import triton_python_backend_utils as pb_utils


def control(request, name):
    return pb_utils.get_input_tensor_by_name(request, name).as_numpy().flatten()[0]


class TritonPythonModel:
    def initialize(self, args):
        self.steps = {}  # taken by the sequences that live
        self.most = 0

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        if not control(request, "READY"):  # the slot of a sequence that rests
            out = np.zeros([1, 4], dtype=np.int64)
            return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)])
        identity, start, end = (int(control(request, name)) for name in ("ID", "START", "END"))
        wrong = None
        if start and identity in self.steps:
            wrong = f"sequence {identity} starts twice"
        elif not start and identity not in self.steps:
            wrong = f"sequence {identity} has not started"
        self.steps[identity] = 1 if start else self.steps.get(identity, 0) + 1
        self.most = max(self.most, len(self.steps))
        step = self.steps[identity]
        if end:
            del self.steps[identity]
        if wrong:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(wrong))
        out = np.array([[identity, step, len(self.steps), self.most]], dtype=np.int64)
        return pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)])
