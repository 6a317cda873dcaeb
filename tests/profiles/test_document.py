from dataclasses import dataclass
from pathlib import Path

import pytest

from profiles.document import converter, parse_json, parse_yaml, read_text, read_yaml, structure
from profiles.errors import InputError


@dataclass(frozen=True)
class Row:
    name: str
    count: int = 1


def test_a_yaml_document_is_plain_values():
    assert parse_yaml("a: [1, 2.5, x]", "f") == {"a": [1, 2.5, "x"]}


def test_a_fault_in_yaml_is_named_with_line_and_column():
    with pytest.raises(InputError, match=r"fleet\.yaml: line 2, column 4: is not YAML"):
        parse_yaml("a: 1\nb: ]", "fleet.yaml")


def test_a_key_given_twice_is_an_error_and_not_the_last_one():
    with pytest.raises(InputError, match=r"f: line 2, column 1: .*'a' is given twice"):
        parse_yaml("a: 1\na: 2", "f")


def test_merge_keys_and_anchors_still_work():
    text = "x: &x {a: 1}\ny: &y {b: 2}\nz: {<<: *x, a: 3}\nw: {<<: [*x, *y]}"
    document = parse_yaml(text, "f")
    assert document["z"] == {"a": 3}
    assert document["w"] == {"a": 1, "b": 2}


def test_yaml_makes_no_python_objects():
    with pytest.raises(InputError, match="is not YAML"):
        parse_yaml("!!python/object/apply:os.getcwd []", "f")


def test_a_fault_in_json_is_named_with_line_and_column():
    with pytest.raises(InputError, match=r"p\.json: line 2, column 1: is not JSON"):
        parse_json('{"a":\n}', "p.json")


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"gone\.yaml: No such file"):
        read_yaml(tmp_path / "gone.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.yaml: is not a text file in UTF-8"):
        read_text(tmp_path / "binary.yaml")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path):
    (tmp_path / "marked.yaml").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_yaml(tmp_path / "marked.yaml") == {"a": 1}


def test_each_field_at_fault_is_named():
    made = converter()
    with pytest.raises(InputError, match=r"f: .*count.*colour|f: .*colour.*count"):
        structure(made, {"name": "a", "count": "many", "colour": "red"}, Row, "f")
    assert structure(made, {"name": "a"}, Row, "f") == Row("a")


@dataclass(frozen=True)
class Strict:
    whole: int = 0
    number: float = 0.0
    truth: bool = False
    names: tuple[str, ...] = ()
    pairs: tuple[tuple[str, ...], ...] = ()
    limit: int | None = None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("whole", 2.7),
        ("whole", True),
        ("whole", float("nan")),
        ("whole", float("inf")),
        ("number", "fast"),
        ("number", None),
        ("truth", "no"),
        ("truth", 1),
        ("names", "bert"),
        ("names", {"bert": 1}),
        ("names", [["bert"]]),
        ("pairs", ["bert"]),
        ("limit", 0.5),
    ],
)
def test_a_value_is_taken_for_nothing_that_it_is_not(field: str, value: object):
    with pytest.raises(InputError, match=rf"f: .*{field}"):
        structure(converter(), {field: value}, Strict, "f")


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("whole", 2.0, 2),
        ("number", 3, 3.0),
        ("number", "1e3", 1000.0),
        ("names", ["bert", 5], ("bert", "5")),
        ("pairs", [["a", "b"], ["c"]], (("a", "b"), ("c",))),
        ("limit", None, None),
    ],
)
def test_a_value_that_fits_is_read(field: str, value: object, read: object):
    assert getattr(structure(converter(), {field: value}, Strict, "f"), field) == read


@pytest.mark.parametrize("key", ["1", "1.5", "no", "null", "2026-01-01", "0x10"])
def test_a_key_is_the_text_that_it_is(key: str):
    """YAML takes them for numbers, a truth, nothing and a date; a model may be called so."""
    assert parse_yaml(f"{key}: a", "file") == {key: "a"}


@pytest.mark.parametrize("text", ["? \n: a", '"": a', "{'': 1}"])
def test_an_empty_key_is_an_error_with_its_place(text: str):
    """In a layout it ended in a traceback."""
    with pytest.raises(InputError, match=r"file: line 1, column \d+: .*empty key"):
        parse_yaml(text, "file")
