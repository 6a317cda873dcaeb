"""Makes requests with random, zero or given tensors in the shapes of the model's metadata.

An optional input is sent when the user gives its data or its shape, else left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analyzer.load import found_shapes, input_data, random_data, serialize
from analyzer.load.generator import PreparedRequest, Via
from analyzer.load.input_data import Given
from analyzer.load.model_inputs import ModelInput, ModelInputs, describe
from analyzer.load.random_data import Ranges
from analyzer.load.sequences import lengths
from analyzer.load.serialize import Ends, Places, Tensors
from analyzer.load.shared_memory import Blocks
from profiles.errors import InputError

ROUND = 4  # different random requests, sent in turn
MOST_BYTES = 2**31 - 1  # of a request: what protobuf can carry
BYTES_OF = {  # by datatype; of others, of strings too, the size of a pointer
    **dict.fromkeys(("BOOL", "INT8", "UINT8"), 1),
    **dict.fromkeys(("INT16", "UINT16", "FP16", "BF16"), 2),
    **dict.fromkeys(("INT32", "UINT32", "FP32"), 4),
}
MOST_REQUESTS = 1024  # of given data: all are held in memory


@dataclass(frozen=True)
class Inputs:
    """Which tensors requests carry: shapes and data, for all models and by model."""

    shapes: Sequence[tuple[str | None, str, tuple[int, ...]]] = ()  # (model or None, input, dims)
    data: str = "random"  # or zero, or a file or directory that load.input_data reads
    shapes_by_model: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    data_by_model: Mapping[str, str] = field(default_factory=dict)  # in place of `data`
    open_dim: int | None = None  # in place of each open dim that nothing else tells
    repository: Path | None = None  # whose models' directories may tell dims
    ranges: Sequence[tuple[str | None, str, tuple[float, float]]] = ()  # of random data, as shapes
    ranges_by_model: Mapping[str, Ranges] = field(default_factory=dict)

    def of(self, model: str) -> dict[str, tuple[int, ...]]:
        """Dims by input of a model, as far as given or found in its directory."""
        shapes = {name: dims for owner, name, dims in self.shapes if owner in (None, model)}
        return {**self.found(model)[0], **shapes, **self.shapes_by_model.get(model, {})}

    def found(self, model: str) -> tuple[Mapping[str, tuple[int, ...]], str]:
        """Dims by input that the model's directory tells, and where it does."""
        return ({}, "") if self.repository is None else found_shapes.read(self.repository / model)

    def ranges_of(self, model: str) -> Ranges:
        """Ranges of random data by input of a model, as far as given."""
        ranges = {name: limits for owner, name, limits in self.ranges if owner in (None, model)}
        return {**ranges, **self.ranges_by_model.get(model, {})}

    def data_of(self, model: str) -> str:
        """`random`, `zero`, or the file or directory with the model's data."""
        return self.data_by_model.get(model, self.data)

    def files(self) -> list[Path]:
        """The files and directories that data is read from."""
        every = dict.fromkeys((self.data, *self.data_by_model.values()))
        return [Path(data) for data in every if data not in {"random", "zero"}]

    def requests(
        self,
        url: str,
        model: str,
        batch_size: int,
        *,
        via: Via = "http",
        sequence_length: int = 20,
        blocks: Blocks | None = None,
    ) -> list[PreparedRequest]:
        """Requests for a loaded model; see `make_requests`."""
        return make_requests(
            url,
            model,
            batch_size,
            shapes=self.of(model),
            open_dim=self.open_dim,
            ranges=self.ranges_of(model),
            data=self.data_of(model),
            via=via,
            sequence_length=sequence_length,
            blocks=blocks,
        )


def make_requests(
    url: str,
    model: str,
    batch_size: int,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    open_dim: int | None = None,
    data: str | Path = "random",
    seed: int = 0,
    ranges: Ranges | None = None,
    via: Via = "http",
    sequence_length: int = 20,
    blocks: Blocks | None = None,
) -> list[PreparedRequest]:
    """Requests for a loaded model, serialized.

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
        Sizes of variable dims by input, without the batch; inputs of other models are ignored.
    open_dim
        The size of each variable dim of an input that `shapes` does not have.
    data
        `random`, `zero`, or a file or directory that `input_data.read` takes.
    seed
        Of random data.
    ranges
        Of random data, by input: the least and the greatest value.
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
        An input has a variable dim that `shapes` does not set, the batch is too large, or the data
        does not fit.
    SurroundingsError
        The server does not answer.
    """
    described = describe(url, model)
    check_protocol(described, via)
    shapes = with_open_dims(described, shapes or {}, open_dim)
    if via == "perf_analyzer":  # which makes sequences itself
        every = make_tensors(
            described, batch_size, shapes=shapes, data=data, seed=seed, ranges=ranges
        )
        return [r for tensors in every for r in serialize.for_perf_analyzer(described, tensors)]
    if described.decoupled:
        via = "grpc"
    prepare = {"http": serialize.for_http, "grpc": serialize.for_grpc}[via]
    if described.idle_limit_s is None:
        every = make_tensors(
            described, batch_size, shapes=shapes, data=data, seed=seed, ranges=ranges
        )
        places = _placed(url, described, every, blocks)
        return [prepare(described, tensors, None, places) for tensors in every]
    if batch_size != 1:
        raise InputError(
            f"{model} is stateful and takes one inference per request: use --batch-sizes 1."
        )
    made: dict[tuple[int, Ends], PreparedRequest] = {}  # few tensors make many steps
    requests = []
    sequences = _sequences(described, shapes, data, seed, sequence_length, ranges)
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
    ranges: Ranges | None,
) -> list[list[Tensors]]:
    """The tensors of each step of each sequence."""
    if data in {"random", "zero"}:
        made = make_tensors(described, 1, shapes=shapes, data=data, seed=seed, ranges=ranges)
        pool, told = [made], False
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


def with_open_dims(
    described: ModelInputs, shapes: Mapping[str, tuple[int, ...]], open_dim: int | None
) -> Mapping[str, tuple[int, ...]]:
    """The shapes, and those of open inputs that they lack, with `open_dim` for every open dim."""
    if open_dim is None:
        return shapes
    lacking = {
        entry.name: tuple(open_dim if dim == -1 else dim for dim in entry.dims)
        for entry in described.inputs
        if -1 in entry.dims and not entry.optional
    }
    return {**lacking, **shapes}


def check_dims(described: ModelInputs, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise InputError where inputs have open dims; it has the options that set all of them."""
    open_ones = [
        entry
        for entry in described.inputs
        if -1 in entry.dims and not entry.optional and entry.name not in shapes
    ]
    if not open_ones:
        return
    which = ", ".join(f"input {e.name} has variable dims {list(e.dims)}" for e in open_ones)
    options = " ".join(_shape_option(described.model, e.name, e.dims) for e in open_ones)
    raise InputError(
        f"{described.model}: {which}; set them, e.g. {options}, or all such dims by "
        "--dynamic-shape 8"
    )


def _shape_option(model: str, name: str, dims: Sequence[int]) -> str:
    sizes = ",".join("8" if dim == -1 else str(dim) for dim in dims)
    return f"--shape {model}/{name}:{sizes}"


def check_protocol(described: ModelInputs, via: Via) -> None:
    """Raise InputError when requests for the model cannot go that way."""
    if described.decoupled and via == "perf_analyzer":
        raise InputError(
            f"{described.model} is decoupled and is measured over gRPC streams only: use "
            "--load-generator grpc, or http, which switches to gRPC for it."
        )


def make_tensors(
    described: ModelInputs,
    batch_size: int,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    data: str | Path = "random",
    seed: int = 0,
    ranges: Ranges | None = None,
) -> list[Tensors]:
    """The tensors of each request; see `make_requests`."""
    model, limit = described.model, described.max_batch_size
    if batch_size > max(limit, 1):
        raise InputError(
            f"{model}: batch size {batch_size} exceeds its max_batch_size {limit}; "
            f"--max-batch-sizes {batch_size} raises it."
        )
    if data not in {"random", "zero"}:
        return _given_tensors(described, batch_size, shapes, Path(data))
    check_dims(described, shapes)
    import numpy as np

    generator = np.random.default_rng(seed)
    batch = [batch_size] if limit > 0 else []
    wanted = {
        entry.name: (entry.datatype, [*batch, *_shape(model, entry, shapes.get(entry.name))])
        for entry in described.inputs
        if not entry.optional or entry.name in shapes
    }
    _check_size(model, wanted.values())
    limits = random_data.lengths(wanted) | dict(ranges or {})
    return [
        {
            name: random_data.filled(
                datatype, shape, generator if data == "random" else None, limits.get(name)
            )
            for name, (datatype, shape) in wanted.items()
        }
        for _ in range(ROUND if data == "random" else 1)
    ]


def _given_tensors(
    described: ModelInputs, batch_size: int, shapes: Mapping[str, tuple[int, ...]], path: Path
) -> list[Tensors]:
    """Batches of the data's entries, so that all are used equally often."""
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
                f"--input-data {path}: entries with different inputs or shapes cannot share a "
                f"request of batch size {batch_size}: use --batch-sizes 1."
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
            given_shape = tensor.shape
            if given_shape and described.max_batch_size and len(given_shape) > len(entry.dims):
                given_shape = given_shape[1:] if given_shape[0] == 1 else given_shape
            shape = _shape(described.model, entry, given_shape or shapes.get(entry.name))
            tensors[entry.name] = tensor.array(entry.datatype, shape)
        elif not entry.optional:
            raise InputError(
                f"--input-data {path}: input {entry.name} of {described.model} is missing."
            )
    return tensors


def _shape(model: str, entry: ModelInput, given: Sequence[int] | None) -> list[int]:
    name, own = entry.name, list(entry.dims)
    if any(dim < -1 for dim in own):
        raise InputError(
            f"{model}: input {name} has dims {own}: a dim is a size, or -1 where it is variable."
        )
    if given is not None:
        if len(given) != len(own) or any(d not in (-1, g) for d, g in zip(own, given, strict=True)):
            raise InputError(
                f"{model}: shape {list(given)} does not match dims {own} of input {name}."
            )
        return list(given)
    if -1 in own:
        raise InputError(
            f"{model}: input {name} has variable dims {own}; set them, e.g. "
            f"{_shape_option(model, name, own)}"
        )
    return own


def _check_size(model: str, tensors: Iterable[tuple[str, Sequence[int]]]) -> None:
    """Raise InputError for a request that is too large to be sent."""
    total = sum(math.prod(shape) * BYTES_OF.get(datatype, 8) for datatype, shape in tensors)
    if total > MOST_BYTES:
        raise InputError(
            f"{model}: a request of {total / 1e9:.3g} GB is more than the "
            f"{MOST_BYTES / 1e9:.3g} GB that can be sent: use smaller dims (--shape) or batches."
        )


def _placed(
    url: str, described: ModelInputs, requests: Sequence[Tensors], blocks: Blocks | None
) -> Places:
    """The place of each tensor in shared memory, by array id; empty when requests carry data."""
    if blocks is None:
        return {}
    datatypes = {entry.name: entry.datatype for entry in described.inputs}
    arrays = {
        id(array): (array, datatypes[name])
        for tensors in requests
        for name, array in tensors.items()
        if array.size  # Triton takes no empty place
    }
    places = blocks.place(
        url, [serialize.raw(array, datatype) for array, datatype in arrays.values()]
    )
    return dict(zip(arrays, places, strict=True))
