"""What requests carry: random or zero tensors in the shapes that the model's metadata gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from analyzer.load.generator import PreparedRequest
from profiles.errors import InputError, SurroundingsError

ROUND = 4  # different requests, sent in turn


def make_requests(
    url: str,
    model: str,
    batch_size: int,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    data: Literal["random", "zero"] = "random",
    seed: int = 0,
) -> list[PreparedRequest]:
    """Requests for a loaded model, each the bytes that go over the wire.

    Raises
    ------
    InputError
        An input has an open dim that `shapes` does not give, or the batch is too large.
    SurroundingsError
        The server does not answer.
    """
    import numpy as np
    from tritonclient.http import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    try:
        client = InferenceServerClient(url)
        try:
            metadata: dict[str, Any] = client.get_model_metadata(model)
            config: dict[str, Any] = client.get_model_config(model)
        finally:
            client.close()
    except (InferenceServerException, OSError) as error:
        raise SurroundingsError(f"Triton says nothing of {model}: {error}") from None
    limit = config["max_batch_size"]
    if batch_size > max(limit, 1):
        raise InputError(
            f"{model}: a request of batch size {batch_size} is more than its max_batch_size "
            f"{limit}; --max-batch-sizes {batch_size} raises it"
        )
    optional = {entry["name"] for entry in config["input"] if entry.get("optional")}
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(ROUND if data == "random" else 1):
        tensors = [
            _tensor(
                entry, _shape(model, entry, batch_size, limit > 0, shapes or {}), data, generator
            )
            for entry in metadata["inputs"]
            if entry["name"] not in optional
        ]
        made.append(_prepared(model, tensors))
    return made


def _prepared(model: str, tensors: list[Any]) -> PreparedRequest:
    from tritonclient.http import InferenceServerClient

    body, json_size = InferenceServerClient.generate_request_body(tensors)
    headers = [("Content-Type", "application/octet-stream")]
    if json_size is not None:  # binary tensors follow the JSON
        headers.append(("Inference-Header-Content-Length", str(json_size)))
    return PreparedRequest(f"/v2/models/{model}/infer", bytes(body), tuple(headers))


def _shape(
    model: str,
    entry: Mapping[str, Any],
    batch_size: int,
    batched: bool,
    shapes: Mapping[str, tuple[int, ...]],
) -> list[int]:
    name = entry["name"]
    dims = [int(dim) for dim in entry["shape"]]
    own = dims[1:] if batched else dims
    given = shapes.get(name)
    if given is not None:
        if len(given) != len(own) or any(d not in (-1, g) for d, g in zip(own, given, strict=True)):
            raise InputError(f"{model}: --shape {name}:{','.join(map(str, given))} is not {own}")
        own = list(given)
    if -1 in own:
        raise InputError(
            f"{model}: input {name} has open dims {own}; --shape {name}:"
            + ",".join("8" if dim == -1 else str(dim) for dim in own)
            + " would fix them"
        )
    return [batch_size, *own] if batched else own


def _tensor(entry: Mapping[str, Any], shape: list[int], data: str, generator: Any) -> Any:
    import numpy as np
    from tritonclient.http import InferInput
    from tritonclient.utils import triton_to_np_dtype

    kind = entry["datatype"]
    tensor = InferInput(entry["name"], shape, kind)
    if kind == "BYTES":
        values = np.full(shape, b"" if data == "zero" else b"model placer", dtype=np.object_)
    else:
        dtype = np.float32 if kind == "BF16" else triton_to_np_dtype(kind)
        values = np.zeros(shape, dtype=dtype)
        if data == "random":
            if np.issubdtype(dtype, np.floating):
                values = generator.random(shape).astype(dtype)
            else:
                values = generator.integers(0, 2, shape).astype(dtype)
    tensor.set_data_from_numpy(values)
    return tensor
