"""Answers each request with as many responses as it asks for, 5 ms apart."""

import threading
import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            wanted = pb_utils.get_input_tensor_by_name(request, "COUNT").as_numpy().flatten()
            threading.Thread(target=self.answer, args=(sender, int(wanted[0]))).start()

    def answer(self, sender, wanted):
        for number in range(wanted):
            time.sleep(0.005)
            out = np.array([number], dtype=np.int32)
            sender.send(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", out)]))
        if wanted == 13:
            wrong = pb_utils.TritonError("thirteen is too many")
            sender.send(pb_utils.InferenceResponse(error=wrong))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
