"""Serializes requests for each protocol, by tritonclient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from analyzer.load.generator import PreparedRequest
from analyzer.load.model_inputs import ModelInputs
from analyzer.load.sequences import FIRST_ID, SequenceStep, varint
from analyzer.load.shared_memory import Place

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = Mapping[str, "NDArray[Any]"]  # of one request, by input name
Places = Mapping[int, Place]  # of tensors in shared memory, by the array's id
# Whether a request is the first, and whether it is the last, of a sequence.
Ends = tuple[bool, bool]


def for_http(
    described: ModelInputs, tensors: Tensors, ends: Ends | None, places: Places
) -> PreparedRequest:
    """A request over HTTP; part of a sequence where `ends` is given."""
    from tritonclient.http import InferenceServerClient, InferInput

    datatypes = {entry.name: entry.datatype for entry in described.inputs}
    inputs = []
    for name, array in tensors.items():
        inputs.append(InferInput(name, list(array.shape), datatypes[name]))
        place = places.get(id(array))
        if place is None:
            inputs[-1].set_data_from_numpy(array)
        else:
            inputs[-1].set_shared_memory(place.region, place.size_bytes, place.offset)
    starts, stops = ends or (False, False)
    body, json_size = InferenceServerClient.generate_request_body(
        inputs,
        sequence_id=0 if ends is None else str(FIRST_ID) if described.text_ids else FIRST_ID,
        sequence_start=starts,
        sequence_end=stops,
    )
    headers = [("Content-Type", "application/octet-stream")]
    if json_size is not None:  # binary tensors follow the JSON
        headers.append(("Inference-Header-Content-Length", str(json_size)))
    path = f"/v2/models/{described.model}/infer"
    step = _step(described, bytes(body), b"%d" % FIRST_ID, ends)
    return PreparedRequest(path, bytes(body), tuple(headers), step)


def for_grpc(
    described: ModelInputs, tensors: Tensors, ends: Ends | None, places: Places
) -> PreparedRequest:
    """A request over gRPC, on a stream if the model is decoupled; `ends` as for HTTP."""
    from tritonclient.grpc import service_pb2

    datatypes = {entry.name: entry.datatype for entry in described.inputs}
    message = service_pb2.ModelInferRequest(model_name=described.model)
    for name, array in tensors.items():
        entry = message.inputs.add(name=name, datatype=datatypes[name], shape=array.shape)
        place = places.get(id(array))
        if place is None:
            message.raw_input_contents.append(raw(array, datatypes[name]))
            continue
        entry.parameters["shared_memory_region"].string_param = place.region
        entry.parameters["shared_memory_byte_size"].int64_param = place.size_bytes
        entry.parameters["shared_memory_offset"].int64_param = place.offset
    if ends is not None:
        identity = message.parameters["sequence_id"]
        if described.text_ids:
            identity.string_param = str(FIRST_ID)
        else:
            identity.int64_param = FIRST_ID
        message.parameters["sequence_start"].bool_param = ends[0]
        message.parameters["sequence_end"].bool_param = ends[1]
    method = "ModelInfer"
    if described.decoupled:
        method = "ModelStreamInfer"
        # So that the final response comes even when it is empty.
        message.parameters["triton_enable_empty_final_response"].bool_param = True
    body = message.SerializeToString()
    digits = b"%d" % FIRST_ID
    step = _step(described, body, digits if described.text_ids else varint(FIRST_ID), ends)
    return PreparedRequest(f"/inference.GRPCInferenceService/{method}", body, sequence=step)


def _step(
    described: ModelInputs, body: bytes, identity: bytes, ends: Ends | None
) -> SequenceStep | None:
    """The offset of the sequence id in a request: after its name, before any data."""
    if ends is None or described.idle_limit_s is None:
        return None
    at = body.index(identity, body.index(b"sequence_id"))
    form: Literal["decimal", "varint"] = "decimal" if identity.isdigit() else "varint"
    return SequenceStep(*ends, at, form, described.idle_limit_s)


def for_perf_analyzer(described: ModelInputs, tensors: Tensors) -> list[PreparedRequest]:
    """An entry per inference; perf_analyzer makes batches of them."""
    import base64
    import json

    datatypes = {entry.name: entry.datatype for entry in described.inputs}
    batched = described.max_batch_size > 0
    size = len(next(iter(tensors.values()))) if batched else 1
    return [
        PreparedRequest(
            described.model,
            json.dumps(
                {
                    name: {
                        "content": {"b64": base64.b64encode(raw(one, datatypes[name])).decode()},
                        "shape": list(one.shape),
                    }
                    for name, array in tensors.items()
                    for one in [array[number] if batched else array]
                }
            ).encode(),
        )
        for number in range(size)
    ]


def raw(array: NDArray[Any], datatype: str) -> bytes:
    """A tensor as Triton takes it over the wire."""
    from tritonclient.utils import serialize_byte_tensor

    if datatype != "BYTES":
        return array.tobytes()
    return bytes(serialize_byte_tensor(array).item()) if array.size else b""
