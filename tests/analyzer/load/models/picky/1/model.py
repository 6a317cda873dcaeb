"""Refuses whatever is not one of the two inferences of good.json, or `model placer` as random."""

import numpy as np
import triton_python_backend_utils as pb_utils

GOOD = {"hello": [1, 2, 3], "wörld": [4, 5, 6]}


def wrong(request):
    text = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy()
    ids = pb_utils.get_input_tensor_by_name(request, "IDS").as_numpy()
    mask = pb_utils.get_input_tensor_by_name(request, "MASK")
    for row, numbers in zip(text[:, 0], ids, strict=True):
        word = row.decode()
        if word == "model placer" and mask is None and set(numbers.tolist()) <= {0, 1}:
            continue
        if GOOD.get(word) != numbers.tolist():
            return f"{word} came with {numbers.tolist()}"
        if mask is None or mask.as_numpy().tolist() != [[True, False]] * len(text):
            return f"the mask of {word} is {mask}"
    return None


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            error = wrong(request)
            if error:
                refusal = pb_utils.TritonError(error)
                responses.append(pb_utils.InferenceResponse([], refusal))
                continue
            size = len(pb_utils.get_input_tensor_by_name(request, "IDS").as_numpy())
            out = pb_utils.Tensor("OUT", np.zeros((size, 1), dtype=np.int64))
            responses.append(pb_utils.InferenceResponse([out]))
        return responses
