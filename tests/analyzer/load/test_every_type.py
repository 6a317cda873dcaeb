"""Each data type, in each spelling and over each way, as a real model gets it.

The model refuses whatever is not exactly what it should be; see its docstring.
"""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzer.load import shared_memory, worker_pool
from analyzer.load.generator import PreparedRequest, Via
from analyzer.load.inputs import make_requests
from analyzer.load.steady_state import SteadyStateRule
from analyzer.triton.own_server import OwnServer
from profiles.measurement import LoadPoint

LARGEST: dict[str, tuple[Any, Any]] = {
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
TEXTS = ["\u00fc", "", "a\nb", "\x00"]


def packed(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def a_file(path: Path) -> Path:
    """Two streams of two steps: values, nested values, bytes, and one after the other again."""
    packed_texts = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in TEXTS)
    flat: dict[str, Any] = {"BYTES": {"content": TEXTS, "shape": [2, 2]}}
    nested: dict[str, Any] = {"BYTES": {"content": [TEXTS[:2], TEXTS[2:]], "shape": [2, 2]}}
    binary: dict[str, Any] = {"BYTES": {"content": packed(packed_texts), "shape": [2, 2]}}
    for name, (dtype, largest) in LARGEST.items():
        rows = [[1, 0], [largest, 1]]
        flat[name] = {"content": [1, 0, largest, 1], "shape": [2, 2]}
        nested[name] = {"content": rows, "shape": [2, 2]}
        binary[name] = {"content": packed(np.array(rows, dtype).tobytes()), "shape": [2, 2]}
    path.write_text(json.dumps({"data": [[flat, nested], [binary, flat]]}))
    return path


def refusals(triton: OwnServer, via: Via, requests: list[PreparedRequest], batch: int) -> object:
    with worker_pool.start(via) as generator:
        generator.aim(triton.http_url if via == "http" else triton.grpc_url, requests)
        result = generator.run(LoadPoint(batch, 2), SteadyStateRule(0.9, max_duration_s=1))
    assert result.requests > len(requests)
    return result.failure_texts


@pytest.mark.triton
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("via", ["http", "grpc"])
def test_every_type_arrives_as_the_file_has_it(
    triton: OwnServer, tmp_path: Path, via: Via, shared: bool
):
    with shared_memory.open_blocks() as blocks:
        requests = make_requests(
            triton.http_url,
            "every_type",
            2,
            data=a_file(tmp_path / "data.json"),
            via=via,
            blocks=blocks if shared else None,
        )
        assert refusals(triton, via, requests, 2) == ()


@pytest.mark.triton
@pytest.mark.parametrize("data", ["random", "zero"])
def test_made_data_is_valid_for_every_type(triton: OwnServer, data: str):
    shapes = dict.fromkeys([*LARGEST, "BYTES"], (3, 2))
    requests = make_requests(triton.http_url, "every_type", 3, data=data, shapes=shapes)
    assert refusals(triton, "http", requests, 3) == ()


@pytest.mark.triton
def test_the_model_does_refuse(triton: OwnServer):
    """Else the tests above would hold nothing."""
    shapes = dict.fromkeys([*LARGEST, "BYTES"], (1, 2))
    requests = make_requests(triton.http_url, "every_type", 1, shapes=shapes)
    with worker_pool.start("http") as generator:
        generator.aim(triton.http_url, requests)
        result = generator.run(LoadPoint(1, 1), SteadyStateRule(0.9, max_duration_s=1))
    assert result.requests == 0
    assert "BOOL came as" in result.failure_texts[0]
