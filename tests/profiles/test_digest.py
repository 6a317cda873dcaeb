"""A model's digest follows its files' names and contents, not their dates."""

import os
from pathlib import Path

from profiles.digest import WHOLE_FILE_BYTES, composed_digest, model_digest


def a_model(path: Path, content: bytes = b"weights") -> Path:
    (path / "1").mkdir(parents=True)
    (path / "1" / "model.onnx").write_bytes(content)
    return path


def test_a_copy_has_the_same_digest_whatever_its_dates(tmp_path: Path):
    a, b = a_model(tmp_path / "a"), a_model(tmp_path / "b")
    os.utime(b / "1" / "model.onnx", (0, 0))
    assert model_digest(a) == model_digest(b)


def test_other_content_has_another_digest(tmp_path: Path):
    a, b = a_model(tmp_path / "a"), a_model(tmp_path / "b", b"weightz")
    assert model_digest(a) != model_digest(b)


def test_a_file_added_changes_the_digest(tmp_path: Path):
    model = a_model(tmp_path / "a")
    before = model_digest(model)
    (model / "config.pbtxt").write_text("")
    assert model_digest(model) != before


def test_both_ends_of_a_large_file_count(tmp_path: Path):
    large = bytearray(WHOLE_FILE_BYTES * 2)
    digests = {model_digest(a_model(tmp_path / "zeros", bytes(large)))}
    large[0] = 1
    digests.add(model_digest(a_model(tmp_path / "start", bytes(large))))
    large[0], large[-1] = 0, 1
    digests.add(model_digest(a_model(tmp_path / "end", bytes(large))))
    assert len(digests) == 3


def test_a_composed_model_is_another_when_a_member_is():
    assert composed_digest("own", {}) == "own"
    digests = {composed_digest("own", {"step": member}) for member in ("a", "b")}
    assert len(digests | {"own"}) == 3
