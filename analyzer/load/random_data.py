"""Random tensors, within the range that is given of an input, else one of its type and name.

Whole numbers are 0 or 1, which is valid as an index and as a mask, except where the name says that
they are lengths: the length of an input is that of the longest other one, an output's 16 to 128.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLOATS = {"FP16", "FP32", "FP64", "BF16"}
LENGTH = re.compile(r"(^|_)(len|lens|length|lengths)$", re.IGNORECASE)
OUTPUT = re.compile(r"(^|_)(output|request_output|max_new|max)(_|$)", re.IGNORECASE)
TOKENS = re.compile(r"(^|_)max_(new_)?tokens($|_)", re.IGNORECASE)
OUTPUT_LENGTHS = (16, 128)

Ranges = Mapping[str, tuple[float, float]]  # by input, least and greatest value


def filled(datatype: str, shape: Sequence[int], generator: Any, limits: Any) -> NDArray[Any]:
    """Random values within `limits`, or those of the type; zeros without a generator."""
    import numpy as np
    from tritonclient.utils import triton_to_np_dtype

    if datatype == "BYTES":
        return np.full(shape, b"model placer" if generator else b"", dtype=np.object_)
    dtype = triton_to_np_dtype(datatype)
    if generator is None:
        return np.zeros(shape, dtype=dtype)
    if datatype in FLOATS:
        low, high = limits or (0.0, 1.0)
        return np.asarray(generator.uniform(low, high, shape).astype(dtype))
    low, high = limits or (0, 1)
    if datatype == "BOOL":
        low, high = max(0, low), min(1, high)
    return np.asarray(generator.integers(int(low), int(high), shape, endpoint=True).astype(dtype))


def lengths(inputs: Mapping[str, tuple[str, Sequence[int]]]) -> dict[str, tuple[int, int]]:
    """Ranges of the whole-number inputs whose names say that they are lengths.

    `inputs` has, by name, data type and shape with the batch.
    """
    found = {}
    for name, (datatype, _) in inputs.items():
        if datatype in FLOATS or datatype in {"BOOL", "BYTES"}:
            continue
        if TOKENS.search(name) or (LENGTH.search(name) and OUTPUT.search(name)):
            found[name] = OUTPUT_LENGTHS
        elif LENGTH.search(name):
            others = [shape[-1] for other, (_, shape) in inputs.items() if other != name and shape]
            longest = max(1, *others, 1)
            found[name] = (longest, longest)
    return found
