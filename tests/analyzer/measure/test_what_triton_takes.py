"""What Triton's loader takes, and what `profile` does: compared on the embedded Triton.

Each case is one configuration or directory of a model that echoes. Where both differ, it is written
down here why.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from python_models import add_model

from analyzer.measure.options import Options
from analyzer.measure.plan import make_plan
from analyzer.triton import local
from analyzer.triton.runtime import Binary
from profiles.errors import LoadError

pytestmark = [pytest.mark.triton, pytest.mark.slow]

COMPLETING = """
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [4]})
        config.add_output({"name": "OUT", "data_type": "TYPE_FP32", "dims": [4]})
        config.set_max_batch_size(0)
        return config
"""

# What is done to the configuration's bytes.
TEXTS: dict[str, Callable[[bytes], bytes]] = {
    "bom": lambda b: b"\xef\xbb\xbf" + b,
    "utf16": lambda b: b.decode().encode("utf-16"),
    "latin_comment": lambda b: b"# Gr\xfc\xdfe\n" + b,
    "crlf_and_tabs": lambda b: b.replace(b"\n", b"\r\n").replace(b" ", b"\t"),
    "nul": lambda b: b + b"\0",
    "slash_comment": lambda b: b"// comment\n" + b,
    "spellings": lambda b: (
        b.replace(b'backend: "python"', b"backend: 'pyt' \"hon\";")
        .replace(b"{ kind: KIND_CPU }", b"< kind: 2 >")
        .replace(b"TYPE_FP32", b"11")
        + b"max_batch_size: 0x4"
    ),
    "name_twice": lambda b: b + b'name: "name_twice"',
    "float_for_integer": lambda b: b + b"max_batch_size: 4.0",
    "unknown_field": lambda b: b + b"no_such_field: 1",
    "without_name": lambda b: b.replace(b'name: "without_name" ', b""),
    "other_name": lambda b: b.replace(b'"other_name"', b'"another"'),
    "dims_below": lambda b: b.replace(b"dims: [ 4 ]", b"dims: [ -2 ]"),
    "optional_input": lambda b: (
        b + b'input { name: "X" data_type: TYPE_FP32 dims: [ 2 ] optional: true }'
    ),
    "empty": lambda _: b"",
    "backend_alone": lambda _: b'backend: "python"',
}
# "1.0" and "+1" are left out: Triton waits for ever for what it takes to be version 1.
VERSIONS = {"leading_zero": "01", "zero": "0", "arabic": "\u0661"}
MARKS = {"-hash#plus+name.", "per%20cent"}


def a_repository(path: Path) -> Path:
    for name, change in TEXTS.items():
        file = add_model(path, name) / "config.pbtxt"
        file.write_bytes(change(file.read_bytes()))
    for name, version in VERSIONS.items():
        model = add_model(path, name)
        (model / "1").rename(model / version)
    for name in MARKS:
        add_model(path, name)
    for name in ("empty", "backend_alone", "without_file"):
        code = (path / name if name in TEXTS else add_model(path, name)) / "1" / "model.py"
        text = code.read_text()
        start = "class TritonPythonModel:\n"
        code.write_text(text.replace(start, start + COMPLETING))
    (path / "without_file" / "config.pbtxt").unlink()
    main = add_model(path, "named_file", config='default_model_filename: "main.py"') / "1"
    (main / "model.py").rename(main / "main.py")
    linked = add_model(path, "linked_version")
    (linked / "1").rename(linked / "real")
    (linked / "1").symlink_to("real")
    return path


def test_what_triton_loads_is_measured_and_what_it_refuses_is_left_out(
    tmp_path: Path, embedded_triton: Binary
):
    repository = a_repository(tmp_path / "models")
    plan = make_plan(Options(repository, tmp_path / "unused.db"))
    names = sorted(path.name for path in repository.iterdir())
    takes = {}
    with local.launch(repository, embedded_triton) as server:
        for name in names:
            try:
                server.load(name, timeout_s=30)
                server.unload(name)
                takes[name] = True
            except LoadError:
                takes[name] = False
    assert {name: name in plan.models for name in names} == takes
