"""Whatever a file of another tool holds, it is read or refused in words; nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from profiles.errors import InputError
from profiles.import_files import Told, read_files

INTEROP = Path(__file__).parents[1] / "interop"
TOLD = Told(device_type="cpu", model="bert")
JUNK: tuple[Any, ...] = (None, 5, -1.5, "x", [], {}, [[]], {"a": {}}, 1e308, True)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, of lists the first two."""
    yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list):
        for number, value in enumerate(document[:2]):
            yield from places(value, (*path, number))


def replaced(document: Any, path: tuple[Any, ...], junk: Any) -> Any:
    """A copy of the document with junk at the place."""
    if not path:
        return junk
    head, *rest = path
    copy = document.copy()
    copy[head] = replaced(document[head], tuple(rest), junk)
    return copy


def read(path: Path, told: Told = TOLD) -> None:
    with suppress(InputError):
        read_files([path], told)


def small_checkpoint() -> Any:
    """The real one, with one measurement of one model."""
    document = json.loads((INTEROP / "checkpoint-0.ckpt").read_text())
    results = document["ResultManager.results"]["_results"]
    name, variants = next(iter(results.items()))
    variant, (configs, measured) = next(iter(variants.items()))
    key, point = next(iter(measured.items()))
    gpu = {"GPU-1": [["gpu_used_memory", {"_value": 900.0}]]}
    point = {**point, "_gpu_data": gpu}
    document["ResultManager.results"]["_results"] = {name: {variant: [configs, {key: point}]}}
    document["ResultManager.server_only_data"] = {"GPU-1": [["gpu_used_memory", {"_value": 9.0}]]}
    return document


def small_export() -> Any:
    document = json.loads((INTEROP / "export-rate.json").read_text())
    document["experiments"] = document["experiments"][:1]
    document["experiments"][0]["requests"] = document["experiments"][0]["requests"][:3]
    return document


@pytest.mark.parametrize(
    ("name", "document"),
    [("a.ckpt", small_checkpoint()), ("export.json", small_export())],
    ids=["checkpoint", "export"],
)
def test_junk_anywhere_in_a_document(tmp_path: Path, name: str, document: Any):
    path = tmp_path / name
    for number, place in enumerate(places(document)):
        for junk in JUNK[number % 5 :: 5]:
            path.write_text(json.dumps(replaced(document, place, junk)))
            read(path)


@pytest.mark.parametrize("name", ["metrics-model-inference.csv", "pa.csv", "pa-rate.csv"])
def test_junk_in_any_cell_of_a_table(tmp_path: Path, name: str):
    lines = (INTEROP / name).read_text().splitlines()[:3]
    path = tmp_path / name
    for row, line in enumerate(lines):
        for column in range(len(line.split(","))):
            for junk in ("", "x", "-1", "nan", "inf", '"', "[4]", "a:b;", "1e400", "\x00", "é"):
                cells = line.split(",")
                cells[column] = junk
                changed = [*lines[:row], ",".join(cells), *lines[row + 1 :]]
                path.write_text("\n".join(changed))
                read(path)


@pytest.mark.parametrize("junk", JUNK, ids=str)
def test_junk_in_a_map_of_columns(tmp_path: Path, junk: Any):
    (tmp_path / "t.csv").write_text("a,b\nbert,3\n")
    for document in (junk, {"model": junk}, {"throughput": {"column": junk, "unit": junk}}):
        (tmp_path / "map.yaml").write_text(json.dumps(document))
        read(tmp_path / "t.csv", Told(device_type="cpu", columns=tmp_path / "map.yaml"))
