"""A Python model of every data type, for `self_test`, which names it as Triton wants.

It transposes; numbers it adds to themselves, booleans it negates, texts it reverses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


def _answer(array: Any) -> Any:
    if array.dtype == np.bool_:
        return ~array.T
    if array.dtype == np.object_:
        return np.array([[text[::-1] for text in row] for row in array.T], dtype=np.object_)
    return array.T + array.T


class TritonPythonModel:
    """What Triton's Python backend calls."""

    def execute(self, requests: list[Any]) -> list[Any]:
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(f"{tensor.name()}_ANSWER", _answer(tensor.as_numpy()))
                    for tensor in request.inputs()
                ]
            )
            for request in requests
        ]
