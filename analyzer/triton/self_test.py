"""Asks a Triton for what is known: a Python model's answers for every data type."""

from __future__ import annotations

import http.client
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.triton import local
from analyzer.triton.runtime import Binary
from profiles.errors import SurroundingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = "self_test"
CODE = Path(__file__).with_name("self_test_model.py")  # only Triton can import it
NUMBERS, THEIR_ANSWER = [[1, 2, 3], [4, 5, 60]], [[2, 8], [4, 10], [6, 120]]
# What is sent and what comes back, by data type; see self_test_model.py.
KNOWN: dict[str, tuple[list[list[Any]], list[list[Any]]]] = {
    **dict.fromkeys(
        ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
        (NUMBERS, THEIR_ANSWER),
    ),
    **dict.fromkeys(("FP16", "FP32", "FP64"), ([[0.5, -1, 2]], [[1.0], [-2.0], [4.0]])),
    "BOOL": ([[True, False, True]], [[False], [True], [False]]),
    "BYTES": ([[b"ab", b""], [b"\x00c", b"xyz"]], [[b"ba", b"c\x00"], [b"", b"zyx"]]),
}


def check(binary: Binary) -> None:
    """Start the Triton, ask the model once and stop it: a second or two.

    Raises
    ------
    SurroundingsError
        An answer is wrong, or there is none; the text says which or ends with Triton's words.
    """
    with tempfile.TemporaryDirectory(prefix="model-placer-") as directory:
        repository = Path(directory)
        (repository / MODEL / "1").mkdir(parents=True)
        shutil.copy2(CODE, repository / MODEL / "1" / "model.py")
        (repository / MODEL / "config.pbtxt").write_text(_config(), encoding="utf-8")
        with local.launch(repository, binary) as server:
            server.load(MODEL)
            wrong = _wrong_answers(server.http_url)
    if wrong:
        raise SurroundingsError("The server's answers are wrong: " + "; ".join(wrong))


def _config() -> str:
    tensors = [
        f'{kind} {{ name: "{datatype}{suffix}" dims: [ -1, -1 ] '
        f"data_type: TYPE_{'STRING' if datatype == 'BYTES' else datatype} }}"
        for datatype in KNOWN
        for kind, suffix in (("input", ""), ("output", "_ANSWER"))
    ]
    return "\n".join(['backend: "python"', "instance_group { kind: KIND_CPU }", *tensors, ""])


def _wrong_answers(url: str) -> list[str]:
    """What came back and should not have; raises SurroundingsError when nothing comes back."""
    from tritonclient.http import InferenceServerClient, InferInput, InferResult

    inputs = []
    for datatype, (sent, _) in KNOWN.items():
        array = _array(datatype, sent)
        inputs.append(InferInput(datatype, list(array.shape), datatype))
        inputs[-1].set_data_from_numpy(array)
    body, json_size = InferenceServerClient.generate_request_body(inputs)
    connection = http.client.HTTPConnection(url, timeout=30)
    try:
        headers = {"Inference-Header-Content-Length": str(json_size), "Connection": "close"}
        connection.request("POST", f"/v2/models/{MODEL}/infer", bytes(body), headers)
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise SurroundingsError(f"The server does not respond: {error}") from None
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise SurroundingsError(
            f"The server returned an error: {content.decode(errors='replace').strip()}"
        )
    size = response.getheader("Inference-Header-Content-Length")
    result = InferResult.from_response_body(content, header_length=int(size) if size else None)
    wrong = []
    for datatype, (sent, expected) in KNOWN.items():
        try:
            answer = result.as_numpy(f"{datatype}_ANSWER")
        except ValueError:  # fewer bytes than the shape tells
            answer = None
        came = None if answer is None else answer.tolist()
        if came != expected:
            wrong.append(f"{datatype} {sent} gave {came}, not {expected}")
    return wrong


def _array(datatype: str, values: list[list[Any]]) -> NDArray[Any]:
    import numpy as np
    from tritonclient.utils import triton_to_np_dtype

    return np.array(values, dtype=triton_to_np_dtype(datatype))
