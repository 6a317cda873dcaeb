"""Model repositories, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiles.errors import InputError
from profiles.repository import (
    composed_of,
    model_names,
    read_model,
    read_repository,
    select,
)


def a_model(repository: Path, name: str, config: str | None = "", version: str = "1") -> Path:
    directory = repository / name
    (directory / version).mkdir(parents=True)
    (directory / version / "model.onnx").touch()
    if config is not None:
        (directory / "config.pbtxt").write_text(config)
    return directory


def test_models_are_listed_in_alphabetical_order_with_their_versions(tmp_path: Path) -> None:
    a_model(tmp_path, "resnet", 'name: "resnet"')
    a_model(tmp_path, "bert", version="2")
    a_model(tmp_path, "bert", version="10")
    found = read_repository(tmp_path)
    assert list(found) == ["bert", "resnet"]
    assert found["bert"].versions == (2, 10)


def test_files_and_hidden_directories_are_no_models(tmp_path: Path) -> None:
    a_model(tmp_path, "bert")
    (tmp_path / "README.md").touch()
    (tmp_path / ".git").mkdir()
    assert model_names(tmp_path) == ("bert",)


def test_a_model_without_a_configuration_is_left_to_the_server(tmp_path: Path) -> None:
    a_model(tmp_path, "bert", config=None)
    assert read_model(tmp_path, "bert").config is None


def test_an_ensemble_needs_no_version_directory(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "config.pbtxt").write_text("ensemble_scheduling { }")
    assert read_model(tmp_path, "both").versions == ()


def test_a_missing_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        model_names(tmp_path / "nowhere")


def test_a_file_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not a directory"):
        model_names(tmp_path / "file")


def test_an_empty_repository_is_told_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is empty: it needs .*my_model/1/model\.onnx"):
        model_names(tmp_path)


def test_a_model_without_version_directory_is_named(tmp_path: Path) -> None:
    """Triton ignores a version directory that starts with zero, so `01` is none."""
    a_model(tmp_path, "bert", version="01")
    with pytest.raises(InputError, match=r"Model bert .* no version directory: .*bert/1"):
        read_repository(tmp_path)


def test_a_name_that_is_not_the_directorys_is_refused(tmp_path: Path) -> None:
    a_model(tmp_path, "bert", 'name: "bort"')
    with pytest.raises(InputError, match="name is 'bort', but its directory is 'bert'"):
        read_repository(tmp_path)


def test_an_unknown_model_gets_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'resent'\. Did you mean 'resnet'"):
        select(("bert", "resnet"), ["bert", "resent"])


def test_a_name_that_is_near_nothing_gets_all_names() -> None:
    with pytest.raises(InputError, match="Known models: bert, resnet"):
        select(("bert", "resnet"), ["yolo"])


def test_selected_models_keep_their_order_and_come_once() -> None:
    assert select(("a", "b"), ["b", "a", "b"]) == ("b", "a")


def an_ensemble(repository: Path, name: str, *steps: str) -> None:
    calls = "".join(f'step {{ model_name: "{step}" }} ' for step in steps)
    a_model(repository, name, f"ensemble_scheduling {{ {calls} }}")


def test_members_come_in_the_order_of_loading_each_once(tmp_path: Path) -> None:
    """Of an ensemble of an ensemble, whose last step calls one more model from its code."""
    an_ensemble(tmp_path, "outer", "inner", "logic")
    an_ensemble(tmp_path, "inner", "first", "first")
    for name in ("first", "logic", "called"):
        a_model(tmp_path, name)
    found = composed_of(tmp_path, read_model(tmp_path, "outer"), {"logic": ["called", "first"]})
    assert list(found) == ["first", "inner", "called", "logic"]
    assert composed_of(tmp_path, read_model(tmp_path, "first")) == {}


def test_a_step_that_is_not_there_is_named_with_its_ensemble(tmp_path: Path) -> None:
    an_ensemble(tmp_path, "outer", "frist")
    a_model(tmp_path, "first")
    with pytest.raises(InputError, match=r"outer is composed .* Did you mean 'first'"):
        composed_of(tmp_path, read_model(tmp_path, "outer"))


def test_a_model_that_calls_itself_is_refused(tmp_path: Path) -> None:
    an_ensemble(tmp_path, "a", "b")
    an_ensemble(tmp_path, "b", "a")
    with pytest.raises(InputError, match="a calls b calls a"):
        composed_of(tmp_path, read_model(tmp_path, "a"))


def test_version_zero_is_one_and_a_number_that_triton_cannot_hold_is_named(tmp_path: Path) -> None:
    a_model(tmp_path, "bert", version="0")
    assert read_model(tmp_path, "bert").versions == (0,)
    a_model(tmp_path, "dated", version="20261127063000000000")
    with pytest.raises(InputError, match="20261127063000000000: a version is at most"):
        read_model(tmp_path, "dated")
