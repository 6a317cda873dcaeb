"""Dims that a model's directory tells of inputs that its configuration leaves open."""

from pathlib import Path

from analyzer.load.found_shapes import onnx_dims, read

# A ModelProto written by hand after onnx.proto3: ir_version 8, and a graph with one input IN of
# FP32 whose dims are N (open) and 5.
ONNX = bytes.fromhex("08083a175a150a02494e120f0a0d080112090a0312014e0a020805")
OPEN = 'max_batch_size: 8 input { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] }'


def a_model(folder: Path, config: str) -> Path:
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config)
    return folder


def test_an_onnx_file_tells_dims_without_the_batch(tmp_path: Path):
    model = a_model(tmp_path / "bert", OPEN)
    (model / "1" / "model.onnx").write_bytes(ONNX)
    assert onnx_dims(model / "1" / "model.onnx") == {"IN": (0, 5)}
    assert read(model) == ({"IN": (5,)}, "model.onnx")


def test_an_onnx_file_whose_own_dims_are_open_tells_nothing(tmp_path: Path):
    model = a_model(tmp_path / "bert", OPEN.replace("max_batch_size: 8", ""))
    (model / "1" / "model.onnx").write_bytes(ONNX)
    assert read(model) == ({}, "")


def test_a_file_that_is_no_onnx_tells_nothing(tmp_path: Path):
    model = a_model(tmp_path / "bert", OPEN)
    (model / "1" / "model.onnx").write_bytes(b"\xff" * 40)
    assert read(model) == ({}, "")
