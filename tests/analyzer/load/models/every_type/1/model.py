"""Refuses a request unless each input is one of those that its tests send.

They are [[1, 0], [n, 1]] with n the largest number that the type holds exactly, all zeros, or what
random data may be: 0 and 1 for whole numbers, from 0 to 1 for others.
"""

import numpy as np
import triton_python_backend_utils as pb_utils

TYPES = {
    "BOOL": (np.bool_, True),
    "INT8": (np.int8, 127),
    "INT16": (np.int16, 32767),
    "INT32": (np.int32, 2**31 - 1),
    "INT64": (np.int64, 2**63 - 1),
    "UINT8": (np.uint8, 255),
    "UINT16": (np.uint16, 65535),
    "UINT32": (np.uint32, 2**32 - 1),
    "UINT64": (np.uint64, 2**64 - 1),
    "FP16": (np.float16, 65504.0),
    "FP32": (np.float32, 16777215.0),
    "FP64": (np.float64, 2.0**53 - 1),
}


def wrong(request):
    for name, (dtype, largest) in TYPES.items():
        array = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
        if array.dtype != dtype:
            return f"{name} came as {array.dtype}"
        given = all(row.tolist() == [[1, 0], [largest, 1]] for row in array)
        random = array.shape[1:] == (3, 2) and bool(np.all((array >= 0) & (array <= 1)))
        if not given and not random:
            return f"{name} came as {array.tolist()}"
    texts = pb_utils.get_input_tensor_by_name(request, "BYTES").as_numpy()
    for row in texts:
        rows = row.tolist()
        given = rows == [["\u00fc".encode(), b""], [b"a\nb", b"\x00"]]
        if not given and rows not in ([[b"model placer"] * 2] * 3, [[b""] * 2] * 3):
            return f"BYTES came as {rows}"
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
            size = len(pb_utils.get_input_tensor_by_name(request, "BOOL").as_numpy())
            out = pb_utils.Tensor("OUT", np.zeros((size, 1), dtype=np.int32))
            responses.append(pb_utils.InferenceResponse([out]))
        return responses
