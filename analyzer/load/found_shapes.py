"""Dims of open inputs that a model's directory tells: a warm-up sample, a CUDA graph, an ONNX file.

All of them leave out the batch, as `--shape` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from profiles import model_config
from profiles.errors import InputError
from profiles.model_config import ModelConfig

LARGEST_ONNX_BYTES = 512 << 20  # larger files keep their weights inside: reading them takes long

Shapes = Mapping[str, tuple[int, ...]]


def read(model: Path) -> tuple[Shapes, str]:
    """Dims by input as far as the model's directory tells them, and where they were found.

    Of several sources the first that has any counts; a directory that cannot be read tells none.
    """
    try:
        config = model_config.read(model / "config.pbtxt")
    except InputError:
        return {}, ""
    for shapes, source in _sources(model, config):
        fixed = {name: dims for name, dims in shapes.items() if dims and min(dims) > 0}
        if fixed:
            return fixed, source
    return {}, ""


def _sources(model: Path, config: ModelConfig) -> Iterator[tuple[Shapes, str]]:
    for sample in config.model_warmup:
        yield (
            {name: tuple(tensor.dims) for name, tensor in sample.inputs.items()},
            "its warm-up sample",
        )
    for spec in config.optimization.cuda.graph_spec:
        yield {name: tuple(shape.dim) for name, shape in spec.input.items()}, "its CUDA graph"
    for file in sorted(model.glob("*/model.onnx"), reverse=True):
        batched = 1 if config.max_batch_size > 0 else 0
        yield {name: dims[batched:] for name, dims in onnx_dims(file).items()}, file.name


@cache
def onnx_dims(file: Path) -> Shapes:
    """Dims of an ONNX file's inputs, 0 where open; empty where the file cannot be read so."""
    from google.protobuf.message import DecodeError

    try:
        if file.stat().st_size > LARGEST_ONNX_BYTES:
            return {}
        model = _onnx_model()()
        model.ParseFromString(file.read_bytes())
    except (OSError, DecodeError):
        return {}
    return {
        value.name: tuple(dim.value for dim in value.type.tensor.shape.dims)
        for value in model.graph.inputs
    }


@cache
def _onnx_model() -> Any:
    """The part of ONNX's `ModelProto` (onnx.proto3) that leads to the shapes of inputs."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    fields: dict[
        str, list[tuple[str, int, str | None, bool]]
    ] = {  # message: (field, number, its message or None for a scalar, repeated)
        "Model": [("graph", 7, "Graph", False)],
        "Graph": [("inputs", 11, "Value", True)],
        "Value": [("name", 1, None, False), ("type", 2, "Type", False)],
        "Type": [("tensor", 1, "Tensor", False)],
        "Tensor": [("shape", 2, "Shape", False)],
        "Shape": [("dims", 1, "Dim", True)],
        "Dim": [("value", 1, None, False)],
    }
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="model_placer_onnx.proto", package="model_placer_onnx", syntax="proto3"
    )
    for name, entries in fields.items():
        message = file.message_type.add(name=name)
        for field, number, of, repeated in entries:
            scalar = kinds.TYPE_STRING if field == "name" else kinds.TYPE_INT64
            added = message.field.add(
                name=field,
                number=number,
                type=scalar if of is None else kinds.TYPE_MESSAGE,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
            )
            if of is not None:
                added.type_name = f".model_placer_onnx.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("model_placer_onnx.Model")
    return message_factory.GetMessageClass(found)
