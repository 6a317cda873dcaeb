"""What requests carry: random, zero or given tensors in the shapes that the metadata gives.

An optional input is sent when the user gives its data or its shape, else left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from analyzer.load import input_data
from analyzer.load.generator import PreparedRequest, Via
from analyzer.load.input_data import Given
from analyzer.load.sequences import FIRST_ID, SequenceStep, lengths, varint
from analyzer.load.shared_memory import Blocks, Place
from profiles import model_config
from profiles.errors import InputError, SurroundingsError
from profiles.model_config import ModelConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUND = 4  # different random requests, sent in turn
SEQUENCE_IDLE_US = 1_000_000  # Triton's own, where the model does not say
MOST_REQUESTS = 1024  # of given data: all are held in memory


@dataclass(frozen=True)
class ModelInput:
    """An input of a loaded model."""

    name: str
    datatype: str  # as Triton says it: FP32, BYTES, ...
    dims: tuple[int, ...]  # without the batch; -1 is open
    optional: bool = False


@dataclass(frozen=True)
class ModelInputs:
    """All that requests have to fit."""

    model: str
    max_batch_size: int  # 0: the model's dims include the batch, if it has one
    inputs: tuple[ModelInput, ...]
    decoupled: bool = False
    idle_limit_s: float | None = None  # of a stateful model's sequences


Tensors = Mapping[str, "NDArray[Any]"]  # of one request, by input name
Places = Mapping[int, Place]  # of tensors in shared memory, by the array's id
# Whether a request is the first, and whether it is the last, of a sequence.
Ends = tuple[bool, bool]


def make_requests(
    url: str,
    model: str,
    batch_size: int,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    data: str | Path = "random",
    seed: int = 0,
    via: Via = "http",
    sequence_length: int = 20,
    blocks: Blocks | None = None,
) -> list[PreparedRequest]:
    """Requests for a loaded model, each the bytes that go over the wire.

    Those of a stateful model are whole sequences, one after another. Those of a decoupled model
    are for gRPC streams, since HTTP does not carry its responses: they say so (`streams`).

    Parameters
    ----------
    url
        Triton's HTTP address, host:port.
    model
        Its name.
    batch_size
        Inferences in one request.
    shapes
        Dims of inputs that the model leaves open, without the batch; those of other models' inputs
        may be among them.
    data
        `random`, `zero`, or a file or directory that `input_data.read` takes.
    seed
        Of random data.
    via
        The generator's protocol; `url` is the HTTP address all the same.
    sequence_length
        Of a stateful model: requests in a sequence, give or take a fifth. Data that has sequences
        of its own is sent as it is.
    blocks
        Of shared memory, that the tensors are put into; by default the requests carry them.

    Raises
    ------
    InputError
        An input has an open dim that `shapes` does not give, the batch is too large, or the data
        does not fit.
    SurroundingsError
        The server does not answer.
    """
    described = describe(url, model)
    check_protocol(described, via)
    if via == "perf_analyzer":  # which makes sequences itself
        every = make_tensors(described, batch_size, shapes=shapes or {}, data=data, seed=seed)
        return [r for tensors in every for r in _for_perf_analyzer(described, tensors)]
    if described.decoupled:
        via = "grpc"
    prepare = {"http": _for_http, "grpc": _for_grpc}[via]
    if described.idle_limit_s is None:
        every = make_tensors(described, batch_size, shapes=shapes or {}, data=data, seed=seed)
        places = _placed(url, described, every, blocks)
        return [prepare(described, tensors, None, places) for tensors in every]
    if batch_size != 1:
        raise InputError(
            f"{model} is stateful: Triton takes its requests one inference each; --batch-sizes 1"
        )
    made: dict[tuple[int, Ends], PreparedRequest] = {}  # few tensors make many steps
    requests = []
    sequences = _sequences(described, shapes or {}, data, seed, sequence_length)
    places = _placed(url, described, [step for steps in sequences for step in steps], blocks)
    for sequence in sequences:
        for number, tensors in enumerate(sequence):
            ends = (number == 0, number == len(sequence) - 1)
            key = (id(tensors), ends)
            made[key] = made.get(key) or prepare(described, tensors, ends, places)
            requests.append(made[key])
    return requests


def _sequences(
    described: ModelInputs,
    shapes: Mapping[str, tuple[int, ...]],
    data: str | Path,
    seed: int,
    length: int,
) -> list[list[Tensors]]:
    """The tensors of each step of each sequence."""
    if data in {"random", "zero"}:
        pool, told = [make_tensors(described, 1, shapes=shapes, data=data, seed=seed)], False
    else:
        datatypes = {entry.name: entry.datatype for entry in described.inputs}
        groups, told = input_data.read_sequences(Path(data), datatypes)
        pool = [
            [_batched(described, [_single(described, shapes, one, Path(data))]) for one in group]
            for group in groups
        ]
    if told:
        return pool
    steps = itertools.cycle(pool[0])
    return [[next(steps) for _ in range(wanted)] for wanted in lengths(length)]


def describe(url: str, model: str) -> ModelInputs:
    """A loaded model's inputs; raises SurroundingsError when the server does not tell."""
    from tritonclient.http import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    try:
        client = InferenceServerClient(url)
        try:
            metadata: dict[str, Any] = client.get_model_metadata(model)
            config: dict[str, Any] = client.get_model_config(model)
            every = _with_steps(client, config)
        finally:
            client.close()
    except (InferenceServerException, OSError) as error:
        raise SurroundingsError(f"Triton says nothing of {model}: {error}") from None
    limit = int(config["max_batch_size"])
    optional = {entry["name"] for entry in config["input"] if entry.get("optional")}
    inputs = [
        ModelInput(
            entry["name"],
            entry["datatype"],
            tuple(int(dim) for dim in entry["shape"])[1 if limit > 0 else 0 :],
            entry["name"] in optional,
        )
        for entry in metadata["inputs"]
    ]
    batching = next((c["sequence_batching"] for c in every if "sequence_batching" in c), None)
    idle_us = int((batching or {}).get("max_sequence_idle_microseconds", 0)) or SEQUENCE_IDLE_US
    return ModelInputs(
        model,
        limit,
        tuple(inputs),
        decoupled=any(c.get("model_transaction_policy", {}).get("decoupled") for c in every),
        idle_limit_s=None if batching is None else idle_us / 1e6,
    )


def _with_steps(client: Any, config: dict[str, Any]) -> list[dict[str, Any]]:
    """The configuration of a model, and of those that it calls if it is an ensemble.

    An ensemble is stateful or decoupled as soon as one of these is.
    """
    steps = config.get("ensemble_scheduling", {}).get("step", [])
    found = [config]
    for name in dict.fromkeys(step["model_name"] for step in steps):
        found += _with_steps(client, client.get_model_config(name))
    return found


def describe_config(config: ModelConfig) -> ModelInputs | None:
    """A model's inputs by its configuration alone; None when the server is to complete that."""
    if not config.input:
        return None
    inputs = [
        ModelInput(
            entry.name,
            model_config.datatype(entry.data_type),
            tuple(entry.dims),
            entry.optional,
        )
        for entry in config.input
    ]
    decoupled = config.model_transaction_policy.decoupled
    return ModelInputs(config.name, config.max_batch_size, tuple(inputs), decoupled)


def check_protocol(described: ModelInputs, via: Via) -> None:
    """Raise InputError when requests for the model cannot go that way."""
    if described.decoupled and via == "perf_analyzer":
        raise InputError(
            f"{described.model} is decoupled: it may answer a request many times, which is "
            "measured over gRPC streams only; --load-generator grpc, or http, which switches to it"
        )


def make_tensors(
    described: ModelInputs,
    batch_size: int,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    data: str | Path = "random",
    seed: int = 0,
) -> list[Tensors]:
    """The tensors of each request; see `make_requests`."""
    model, limit = described.model, described.max_batch_size
    if batch_size > max(limit, 1):
        raise InputError(
            f"{model}: a request of batch size {batch_size} is more than its max_batch_size "
            f"{limit}; --max-batch-sizes {batch_size} raises it"
        )
    if data not in {"random", "zero"}:
        return _given_tensors(described, batch_size, shapes, Path(data))
    import numpy as np

    generator = np.random.default_rng(seed)
    batch = [batch_size] if limit > 0 else []
    wanted = [entry for entry in described.inputs if not entry.optional or entry.name in shapes]
    return [
        {
            entry.name: _filled(
                entry.datatype,
                [*batch, *_shape(model, entry, shapes.get(entry.name))],
                generator if data == "random" else None,
            )
            for entry in wanted
        }
        for _ in range(ROUND if data == "random" else 1)
    ]


def _given_tensors(
    described: ModelInputs, batch_size: int, shapes: Mapping[str, tuple[int, ...]], path: Path
) -> list[Tensors]:
    """Entries of the data in turn, so many to a request that all are used equally often."""
    datatypes = {entry.name: entry.datatype for entry in described.inputs}
    entries = input_data.read(path, datatypes)
    single = [_single(described, shapes, entry, path) for entry in entries]
    if described.max_batch_size == 0:
        return single[:MOST_REQUESTS]
    made: list[Tensors] = []
    start = 0
    while not made or (start % len(single) != 0 and len(made) < MOST_REQUESTS):
        chosen = [single[(start + i) % len(single)] for i in range(batch_size)]
        start += batch_size
        if any(_form(one) != _form(chosen[0]) for one in chosen):
            raise InputError(
                f"--input-data {path}: entries of different inputs or shapes cannot be one "
                f"request of batch size {batch_size}; --batch-sizes 1 sends them one by one"
            )
        made.append(_batched(described, chosen))
    return made


def _batched(described: ModelInputs, single: Sequence[Tensors]) -> Tensors:
    """Inferences as one request."""
    import numpy as np

    if described.max_batch_size == 0:
        return single[0]
    return {name: np.stack([one[name] for one in single]) for name in single[0]}


def _form(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in tensors.items()}


def _single(
    described: ModelInputs,
    shapes: Mapping[str, tuple[int, ...]],
    given: Mapping[str, Given],
    path: Path,
) -> Tensors:
    """One inference's tensors, without the batch."""
    tensors = {}
    for entry in described.inputs:
        tensor = given.get(entry.name)
        if tensor is not None:
            # A shape beside the data stands above --shape, as perf_analyzer has it.
            shape = _shape(described.model, entry, tensor.shape or shapes.get(entry.name))
            tensors[entry.name] = tensor.array(entry.datatype, shape)
        elif not entry.optional:
            raise InputError(f"--input-data {path}: {described.model}'s input {entry.name} lacks")
    return tensors


def _shape(model: str, entry: ModelInput, given: Sequence[int] | None) -> list[int]:
    name, own = entry.name, list(entry.dims)
    if given is not None:
        if len(given) != len(own) or any(d not in (-1, g) for d, g in zip(own, given, strict=True)):
            raise InputError(
                f"{model}: input {name} has dims {own}, which {list(given)} does not fit"
            )
        return list(given)
    if -1 in own:
        raise InputError(
            f"{model}: input {name} has open dims {own}; --shape {name}:"
            + ",".join("8" if dim == -1 else str(dim) for dim in own)
            + " would fix them"
        )
    return own


def _filled(datatype: str, shape: Sequence[int], generator: Any) -> NDArray[Any]:
    """A tensor of random values, or of zeros without a generator."""
    import numpy as np
    from tritonclient.utils import triton_to_np_dtype

    if datatype == "BYTES":
        return np.full(shape, b"model placer" if generator else b"", dtype=np.object_)
    dtype = triton_to_np_dtype(datatype)
    if generator is None:
        return np.zeros(shape, dtype=dtype)
    if datatype in {"FP16", "FP32", "FP64", "BF16"}:
        return np.asarray(generator.random(shape).astype(dtype))
    return np.asarray(generator.integers(0, 2, shape).astype(dtype))  # valid as index and as mask


def _placed(
    url: str, described: ModelInputs, requests: Sequence[Tensors], blocks: Blocks | None
) -> Places:
    """Where each tensor is, by its array's id; nothing when requests carry them."""
    if blocks is None:
        return {}
    datatypes = {entry.name: entry.datatype for entry in described.inputs}
    arrays = {
        id(array): (array, datatypes[name])
        for tensors in requests
        for name, array in tensors.items()
        if array.size  # Triton takes no empty place
    }
    places = blocks.place(url, [_raw(array, datatype) for array, datatype in arrays.values()])
    return dict(zip(arrays, places, strict=True))


def _for_http(
    described: ModelInputs, tensors: Tensors, ends: Ends | None, places: Places
) -> PreparedRequest:
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
        sequence_id=FIRST_ID if ends else 0,
        sequence_start=starts,
        sequence_end=stops,
    )
    headers = [("Content-Type", "application/octet-stream")]
    if json_size is not None:  # binary tensors follow the JSON
        headers.append(("Inference-Header-Content-Length", str(json_size)))
    path = f"/v2/models/{described.model}/infer"
    step = _step(described, bytes(body), b"%d" % FIRST_ID, ends)
    return PreparedRequest(path, bytes(body), tuple(headers), step)


def _for_grpc(
    described: ModelInputs, tensors: Tensors, ends: Ends | None, places: Places
) -> PreparedRequest:
    from tritonclient.grpc import service_pb2

    datatypes = {entry.name: entry.datatype for entry in described.inputs}
    message = service_pb2.ModelInferRequest(model_name=described.model)
    for name, array in tensors.items():
        entry = message.inputs.add(name=name, datatype=datatypes[name], shape=array.shape)
        place = places.get(id(array))
        if place is None:
            message.raw_input_contents.append(_raw(array, datatypes[name]))
            continue
        entry.parameters["shared_memory_region"].string_param = place.region
        entry.parameters["shared_memory_byte_size"].int64_param = place.size_bytes
        entry.parameters["shared_memory_offset"].int64_param = place.offset
    if ends is not None:
        message.parameters["sequence_id"].int64_param = FIRST_ID
        message.parameters["sequence_start"].bool_param = ends[0]
        message.parameters["sequence_end"].bool_param = ends[1]
    method = "ModelInfer"
    if described.decoupled:
        method = "ModelStreamInfer"
        # So that the end is told even where it comes with no response.
        message.parameters["triton_enable_empty_final_response"].bool_param = True
    body = message.SerializeToString()
    step = _step(described, body, varint(FIRST_ID), ends)
    return PreparedRequest(f"/inference.GRPCInferenceService/{method}", body, sequence=step)


def _step(
    described: ModelInputs, body: bytes, identity: bytes, ends: Ends | None
) -> SequenceStep | None:
    """Where the id stands in the bytes of a request: behind its name, before any data."""
    if ends is None or described.idle_limit_s is None:
        return None
    at = body.index(identity, body.index(b"sequence_id"))
    form: Literal["decimal", "varint"] = "decimal" if identity.isdigit() else "varint"
    return SequenceStep(*ends, at, form, described.idle_limit_s)


def _for_perf_analyzer(described: ModelInputs, tensors: Tensors) -> list[PreparedRequest]:
    """An entry per inference: perf_analyzer makes the batches of them."""
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
                        "content": {"b64": base64.b64encode(_raw(one, datatypes[name])).decode()},
                        "shape": list(one.shape),
                    }
                    for name, array in tensors.items()
                    for one in [array[number] if batched else array]
                }
            ).encode(),
        )
        for number in range(size)
    ]


def _raw(array: NDArray[Any], datatype: str) -> bytes:
    """A tensor as Triton takes it over the wire."""
    from tritonclient.utils import serialize_byte_tensor

    if datatype != "BYTES":
        return array.tobytes()
    return bytes(serialize_byte_tensor(array).item()) if array.size else b""
