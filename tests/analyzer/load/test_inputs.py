"""What requests carry: shapes, types and real data, checked by a real model at the end."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzer.load import worker_pool
from analyzer.load.generator import Via
from analyzer.load.inputs import make_requests, make_tensors
from analyzer.load.model_inputs import ModelInput, ModelInputs, describe, describe_config
from analyzer.load.steady_state import SteadyStateRule
from analyzer.triton.own_server import OwnServer
from profiles import model_config
from profiles.errors import InputError, SurroundingsError
from profiles.measurement import LoadPoint


def a_model(*inputs: ModelInput, max_batch_size: int = 8) -> ModelInputs:
    return ModelInputs("bert", max_batch_size, inputs)


IDS = ModelInput("IDS", "INT64", (-1,))
IMAGE = ModelInput("IMAGE", "FP32", (3, 2))


def tensors(described: ModelInputs, batch_size: int = 1, **more: Any) -> list[dict[str, Any]]:
    return make_tensors(described, batch_size, **({"shapes": {}} | more))


def a_file(path: Path, *entries: object) -> Path:
    path.write_text(json.dumps({"data": entries}))
    return path


def test_the_batch_comes_first_where_the_model_batches():
    assert tensors(a_model(IMAGE), 4)[0]["IMAGE"].shape == (4, 3, 2)
    assert tensors(a_model(IMAGE, max_batch_size=0))[0]["IMAGE"].shape == (3, 2)


def test_an_open_dim_needs_a_shape_and_the_message_says_which():
    with pytest.raises(InputError, match="--shape bert/IDS:8"):
        tensors(a_model(IDS))
    assert tensors(a_model(IDS), 2, shapes={"IDS": (5,)})[0]["IDS"].shape == (2, 5)


@pytest.mark.parametrize("dims", [(4, 2), (3,), (3, 2, 1)])
def test_a_shape_that_the_model_does_not_take_is_refused(dims: tuple[int, ...]):
    with pytest.raises(InputError, match="does not match dims"):
        tensors(a_model(IMAGE), shapes={"IMAGE": dims})


def test_a_shape_of_another_models_input_is_left_out():
    """`--shape` without a model is for whichever model has the input."""
    assert set(tensors(a_model(IMAGE), shapes={"IDS": (3,)})[0]) == {"IMAGE"}


def test_a_configuration_tells_what_the_server_would():
    text = """
        name: "bert" max_batch_size: 8
        input { name: "IDS" data_type: TYPE_INT64 dims: [ -1 ] }
        input { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] optional: true }
    """
    assert describe_config(model_config.parse(text, "here")) == a_model(
        IDS, ModelInput("TEXT", "BYTES", (1,), optional=True)
    )
    assert describe_config(model_config.parse('name: "bert"', "here")) is None


@pytest.mark.triton
def test_a_real_server_says_what_the_configuration_does(triton: OwnServer):
    for model in ("picky", "every_type"):
        config = model_config.read(Path(__file__).parent / "models" / model / "config.pbtxt")
        assert describe(triton.http_url, model) == describe_config(config)


def test_a_batch_beyond_the_limit_is_refused():
    with pytest.raises(InputError, match="max_batch_size 8"):
        tensors(a_model(IMAGE), 9)


def test_an_optional_input_is_sent_only_when_asked_for():
    described = a_model(IMAGE, ModelInput("MASK", "BOOL", (2,), optional=True))
    assert set(tensors(described)[0]) == {"IMAGE"}
    assert set(tensors(described, shapes={"MASK": (2,)})[0]) == {"IMAGE", "MASK"}


@pytest.mark.parametrize(
    "datatype",
    [
        "BOOL",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "FP16",
        "FP32",
        "FP64",
        "BF16",
        "BYTES",
    ],
)
def test_every_data_type_can_be_made_and_goes_into_a_request(datatype: str):
    from tritonclient.http import InferInput

    for data in ("zero", "random"):
        array = tensors(a_model(ModelInput("X", datatype, (2,))), 3, data=data)[0]["X"]
        InferInput("X", list(array.shape), datatype).set_data_from_numpy(array)
        assert array.shape == (3, 2)


def test_the_seed_decides_the_random_data():
    first, again, other = (
        tensors(a_model(IMAGE), seed=seed)[0]["IMAGE"].tolist() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_entries_are_taken_in_turn_and_equally_often(tmp_path: Path):
    """Three entries in batches of two: requests 01, 20, 12, then the same again."""
    entries = [{"IMAGE": [float(n)] * 6} for n in range(3)]
    made = tensors(a_model(IMAGE), 2, data=a_file(tmp_path / "data.json", *entries))
    assert [tuple(request["IMAGE"][:, 0, 0]) for request in made] == [(0, 1), (2, 0), (1, 2)]


def test_all_spellings_of_a_tensor_mean_the_same(tmp_path: Path):
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    packed = {"b64": base64.b64encode(np.array(values, np.float32).tobytes()).decode()}
    file = a_file(
        tmp_path / "data.json",
        {"IMAGE": values},
        {"IMAGE": {"content": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}},
        {"IMAGE": {"content": values, "shape": [3, 2]}},
        [{"IMAGE": packed}, {"IMAGE": {"content": packed, "shape": [3, 2]}}],
    )
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "IMAGE").write_bytes(np.array(values, np.float32).tobytes())
    every = tensors(a_model(IMAGE), data=file) + tensors(a_model(IMAGE), data=directory)
    assert len(every) == 6
    assert {tuple(request["IMAGE"].ravel()) for request in every} == {tuple(values)}


def test_the_datas_own_shape_fixes_an_open_dim(tmp_path: Path):
    file = a_file(tmp_path / "data.json", {"IDS": {"content": [1, 2, 3], "shape": [3]}})
    assert tensors(a_model(IDS), data=file)[0]["IDS"].shape == (1, 3)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "is not JSON"),
        ("[]", 'the list "data" is missing or empty'),
        ('{"data": []}', 'the list "data" is missing or empty'),
        ('{"data": [1]}', "entry 0 is not an object"),
        ('{"data": [{"IMGAE": [1]}]}', "unknown input 'IMGAE'"),
        ('{"data": [{}]}', "input IMAGE of .* is missing"),
        ('{"data": [{"IMAGE": [1, 2]}]}', r"not a FP32 tensor of shape \[3, 2\]"),
        ('{"data": [{"IMAGE": ["a","b","c","d","e","f"]}]}', "not a FP32 tensor"),
        ('{"data": [{"IMAGE": {"b64": "%%"}}]}', "not base64"),
        ('{"data": [{"IMAGE": {"b64": "AAAA"}}]}', "not a FP32 tensor"),
        ('{"data": [{"IMAGE": {"content": [1], "shape": "3"}}]}', "not a list of integers"),
        ('{"data": [{"IMAGE": null}]}', "neither a list of values"),
    ],
)
def test_wrong_data_is_said_with_file_and_place(tmp_path: Path, document: str, words: str):
    file = tmp_path / "data.json"
    file.write_text(document)
    with pytest.raises(InputError, match=words) as caught:
        tensors(a_model(IMAGE), data=file)
    assert str(file) in str(caught.value)


def test_strings_that_end_too_early_are_said(tmp_path: Path):
    """Each element is its length in four bytes and its text: here 9 are announced, 1 is there."""
    broken = base64.b64encode(b"\x09\x00\x00\x00x").decode()
    file = a_file(tmp_path / "data.json", {"TEXT": {"b64": broken}})
    with pytest.raises(InputError, match="BYTES"):
        tensors(a_model(ModelInput("TEXT", "BYTES", (2,))), data=file)


IMAGE_BYTES = b"\xff\xd8\xff\xe0 an image"


def test_base64_may_have_line_breaks_and_lack_its_padding(tmp_path: Path):
    """As `base64` and many tools write it; 24 bytes are 32 characters, 20 are 27 and one `=`."""
    values = np.arange(5, dtype=np.float32)
    text = base64.encodebytes(values.tobytes()).decode().rstrip("\n=")
    text = f"{text[:9]}\n{text[9:]}\n"
    described = a_model(ModelInput("X", "FP32", (5,)))
    (made,) = tensors(described, data=a_file(tmp_path / "data.json", {"X": {"b64": text}}))
    assert made["X"].tolist() == [values.tolist()]


def test_an_image_is_the_one_element_of_a_string_input(tmp_path: Path):
    """In base64 as it is, and as a file of its own; what is written as Triton has it stays so."""
    described = a_model(ModelInput("PICTURE", "BYTES", (1,)))
    serialized = len(IMAGE_BYTES).to_bytes(4, "little") + IMAGE_BYTES
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PICTURE.jpg").write_bytes(IMAGE_BYTES)
    made = tensors(described, data=tmp_path / "data")
    for content in (IMAGE_BYTES, serialized):
        packed = {"b64": base64.b64encode(content).decode()}
        made += tensors(described, data=a_file(tmp_path / "data.json", {"PICTURE": packed}))
    assert [request["PICTURE"].tolist() for request in made] == [[[IMAGE_BYTES]]] * 3


def test_a_numpy_file_has_its_own_type_and_shape(tmp_path: Path):
    """Doubles become FP32, a batch of one is taken off, and the shape fills the open dim."""
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "X.npy", np.arange(6.0).reshape(1, 2, 3))
    described = a_model(ModelInput("X", "FP32", (-1, 3)))
    (made,) = tensors(described, data=folder)
    assert made["X"].shape == (1, 2, 3)
    assert made["X"].dtype == np.float32
    assert made["X"].flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    np.save(folder / "X.npy", np.arange(6.0).reshape(2, 3) + 0.5)
    with pytest.raises(InputError, match=r"X\.npy is not a INT64 tensor"):
        tensors(a_model(ModelInput("X", "INT64", (2, 3))), data=folder)
    (folder / "X.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(InputError, match="not a NumPy array"):
        tensors(described, data=folder)


def test_random_data_keeps_to_its_range():
    ids, image = ModelInput("IDS", "INT32", (200,)), ModelInput("IMAGE", "FP32", (200,))
    ranges = {"IDS": (64, 66), "IMAGE": (-1.0, 1.0)}
    (made, *_) = tensors(a_model(ids, image), ranges=ranges)
    assert set(made["IDS"].flatten().tolist()) == {64, 65, 66}
    assert -1 <= made["IMAGE"].min() < -0.5
    assert 0.5 < made["IMAGE"].max() <= 1


def test_lengths_are_lengths_without_a_word():
    """The tokens are 12, so is their length; outputs are 16 to 128 tokens; a mask stays one."""
    described = a_model(
        ModelInput("input_ids", "INT32", (12,)),
        ModelInput("input_lengths", "INT32", (1,)),
        ModelInput("request_output_len", "UINT32", (1,)),
        ModelInput("length_mask", "INT32", (12,)),
    )
    for made in tensors(described):
        assert made["input_lengths"].tolist() == [[12]]
        assert 16 <= int(made["request_output_len"][0, 0]) <= 128
        assert made["length_mask"].max() <= 1
    (made, *_) = tensors(described, ranges={"input_lengths": (3, 3)})
    assert made["input_lengths"].tolist() == [[3]]


def test_entries_of_different_shapes_cannot_share_a_batch(tmp_path: Path):
    file = a_file(
        tmp_path / "data.json",
        {"IDS": {"content": [1, 2], "shape": [2]}},
        {"IDS": {"content": [1, 2, 3], "shape": [3]}},
    )
    assert len(tensors(a_model(IDS), 1, data=file)) == 2
    with pytest.raises(InputError, match="different inputs or shapes"):
        tensors(a_model(IDS), 2, data=file)


def test_a_missing_file_is_said():
    with pytest.raises(InputError, match="No such file"):
        tensors(a_model(IMAGE), data=Path("/nonexistent/data.json"))


def test_no_server_is_said():
    with pytest.raises(SurroundingsError, match="bert"):
        make_requests("127.0.0.1:1", "bert", 1)


@pytest.mark.triton
@pytest.mark.parametrize("via", ["http", "grpc"])
def test_a_real_model_gets_what_the_file_says(triton: OwnServer, tmp_path: Path, via: Via):
    """The model refuses a request that mixes entries up or loses the optional mask."""
    mask = {"b64": base64.b64encode(b"\x01\x00").decode()}
    file = a_file(
        tmp_path / "good.json",
        {"TEXT": ["hello"], "IDS": {"content": [1, 2, 3], "shape": [3]}, "MASK": mask},
        {"TEXT": ["wörld"], "IDS": {"content": [4, 5, 6], "shape": [3]}, "MASK": [True, False]},
    )
    with worker_pool.start(via) as generator:
        for batch_size, data in ((1, file), (2, file), (3, "random")):
            shapes = {"IDS": (4,)} if data == "random" else None
            requests = make_requests(
                triton.http_url, "picky", batch_size, shapes=shapes, data=data, via=via
            )
            generator.aim(triton.http_url if via == "http" else triton.grpc_url, requests)
            result = generator.run(LoadPoint(batch_size, 2), SteadyStateRule(0.5, max_duration_s=1))
            assert result.failure_texts == ()
            assert result.requests > 10


@pytest.mark.triton
@pytest.mark.parametrize("via", ["http", "grpc"])
def test_what_a_real_model_refuses_is_quoted(triton: OwnServer, tmp_path: Path, via: Via):
    file = a_file(
        tmp_path / "bad.json", {"TEXT": ["hello"], "IDS": {"content": [7, 8], "shape": [2]}}
    )
    with worker_pool.start(via) as generator:
        requests = make_requests(triton.http_url, "picky", 1, data=file, via=via)
        generator.aim(triton.http_url if via == "http" else triton.grpc_url, requests)
        result = generator.run(LoadPoint(1, 1), SteadyStateRule())
    assert result.requests == 0
    assert "hello came with [7, 8]" in result.failure_texts[0]
