"""Whatever is in a file: it is read, or refused with a word, in time, and never a traceback.

`MODEL_PLACER_CASES=10000 pytest --timeout=0 tests/fuzz` tries 10,000 new inputs of each reader.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from command_line import ROOT
from fuzz.damage import damaged_json, damaged_text, damaged_yaml
from hypothesis import example, given
from hypothesis import strategies as st
from some_rows import a_colocation, a_measurement

from analyzer.deploy import verification_file
from analyzer.deploy.judge import Check
from analyzer.deploy.verify import Verification
from analyzer.load import input_data
from analyzer.triton import http_api
from placement.layout import Layout, PlacedDevice, Resident
from placement.layout import layout as layouts
from placement.problem.demands import load_demands
from placement.problem.fleet_file import load_fleet
from placement.problem.problem_file import load_problem
from profiles import model_config
from profiles.errors import ModelPlacerError
from profiles.import_files import Told, read_files
from profiles.measurement import LoadPoint
from profiles.salvage import salvage
from profiles.store import ProfileStore
from profiles.variant import DynamicBatching, Variant

SECONDS = 5.0  # of one input, on a busy machine; most take a millisecond
INTEROP = ROOT / "tests" / "interop"

VARIANT = Variant("bert", 8, 2, "KIND_GPU", DynamicBatching((4, 8), 100), (("threads", "2"),))
LAYOUT = layouts.dumps(
    Layout(
        (
            PlacedDevice(
                "gpu-1",
                "Tesla T4",
                (Resident("bert", "o", 0.5, 20.0, {"memory": 2e9}, 5.0, VARIANT, LoadPoint(8, 4)),),
                {"memory": 2e9},
                {"memory": 16e9},
                "host-1",
            ),
        ),
        units={"memory": "bytes"},
    )
)
FLEET = """
- {device: Tesla T4, count: 4, price: 0.5, host: h1}
- {device: Mine, memory: 16GB, count: 2, utilization: 90%}
- {device: NVIDIA A100-SXM4-40GB, count: 1, mig: all-3g}
"""
DEMANDS = """
models:
  bert: {rate: 100, latency_ms: 20, percentile: 99, min_replicas: 2, weight: 2}
  gpt: {count: 3}
rules: {apart: [[bert, gpt]], pin: {bert: [gpu-1]}}
"""
PROBLEM = """
types: [{name: T4, capacity: {memory: 16}}]
pools: [{name: gpu, device_type: T4, count: 3, price: 1.5}]
resources: [{name: memory}]
models:
  - name: bert
    options: [{name: o, device_type: T4, needs: {memory: 4}, throughput: 10, latency_ms: 5}]
objective: min-hardware
"""
CONFIG = """
name: "bert" backend: "python" max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 3, -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } }
instance_group { count: 2 kind: KIND_CPU rate_limiter { resources { name: "R" count: 1 } } }
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
parameters { key: "threads" value { string_value: "2" } }
"""
TABLE = "\n".join((ROOT / "examples/founding-case/profiles.csv").read_text().splitlines()[4:8])
TABLE_YAML = """
- {model: bert, device_type: T4, throughput: 100, memory_mb: 900, latency_p99_ms: 8}
- {model: (server), device_type: T4, throughput: 0, memory_mb: 300}
"""
INPUT_DATA = """
{"data": [{"x": {"content": [1, 2, 3], "shape": [3]}, "y": {"b64": "AAAA"}}, {"x": [1, 2, 3]}]}
"""
TYPES = {"x": "FP32", "y": "UINT8"}


@dataclass(frozen=True)
class Reader:
    """What reads a file, and what it is given."""

    read: Callable[[Path], object]
    texts: st.SearchStrategy[str]
    suffix: str


def _told(path: Path) -> object:
    return read_files([path], Told(device_type="T4", model="m"))


def _layout(path: Path) -> object:
    layout = layouts.load(path)
    assert layouts.loads(layouts.dumps(layout)) == layout  # what was taken means something
    return layout


def _a_verification() -> str:
    checks = (Check("gpu-1", "bert", "throughput", 10.0, 9.5, "infer/s", True),)
    made = verification_file.VerificationRecord("l", 5.0, 0.1, Verification(checks), "2026-11-27")
    with tempfile.TemporaryDirectory() as folder:
        verification_file.save(made, Path(folder) / "v.yaml")
        return (Path(folder) / "v.yaml").read_text()


INTEROP_CSV = [path.read_text() for path in sorted(INTEROP.glob("*.csv"))]
INTEROP_JSON = [path.read_text()[:3000] for path in sorted(INTEROP.glob("*.json"))]
READERS = {
    "layout": Reader(_layout, damaged_yaml([LAYOUT]), ".yaml"),
    "fleet": Reader(load_fleet, damaged_yaml([FLEET]), ".yaml"),
    "demands": Reader(load_demands, damaged_yaml([DEMANDS]), ".yaml"),
    "problem": Reader(load_problem, damaged_yaml([PROBLEM]), ".yaml"),
    "verification": Reader(verification_file.load, damaged_yaml([_a_verification()]), ".yaml"),
    "config.pbtxt": Reader(
        lambda path: model_config.parse(path.read_text(), "config.pbtxt"),
        damaged_text([CONFIG]),
        ".pbtxt",
    ),
    "table in CSV": Reader(_told, damaged_text([TABLE]), ".csv"),
    "table in YAML": Reader(_told, damaged_yaml([TABLE_YAML]), ".yaml"),
    "other tools' CSV": Reader(_told, damaged_text(INTEROP_CSV), ".csv"),
    "other tools' JSON": Reader(_told, damaged_text(INTEROP_JSON), ".json"),
    "a checkpoint": Reader(
        _told, damaged_json([(INTEROP / "checkpoint-0.ckpt").read_text()]), ".ckpt"
    ),
    "input data": Reader(
        lambda path: [
            tensor.array(TYPES[name], tensor.shape or [3])
            for entry in input_data.read(path, TYPES)
            for name, tensor in entry.items()
        ],
        damaged_json([INPUT_DATA]),
        ".json",
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_is_read_or_refused_with_a_word(name: str, tmp_path_factory: pytest.TempPathFactory):
    reader = READERS[name]
    path = tmp_path_factory.mktemp("fuzz") / f"file{reader.suffix}"

    @given(reader.texts)
    def tried(text: str) -> None:
        path.write_text(text, encoding="utf-8", errors="replace")
        with refused_with_a_word():
            reader.read(path)

    tried()


@contextmanager
def refused_with_a_word() -> Iterator[None]:
    """An error of ours may end the block, with something said, and nothing else may."""
    start_s = time.thread_time()
    said = "nothing: it was read"
    try:
        yield
    except ModelPlacerError as error:
        said = str(error)
    assert said.strip()
    assert time.thread_time() - start_s < SECONDS


@given(st.data())
def test_a_store_with_damaged_bytes_is_read_or_refused(data: st.DataObject):
    """Bytes of a real store are overwritten, cut off or doubled; salvaging is tried as well."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.db"
        with ProfileStore(path) as store:
            for concurrency in range(1, 9):
                store.add(a_measurement(concurrency=concurrency))
            store.add_colocations([a_colocation()])
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            start = data.draw(st.integers(0, len(content) - 1))
            length = data.draw(st.sampled_from([1, 4, 100, 4096]))
            what = data.draw(st.sampled_from(["zero", "noise", "cut", "move"]))
            if what == "cut":
                del content[start : start + length]
            elif what == "move":
                content[start : start + length] = content[:length]
            else:
                content[start : start + length] = (b"\0" if what == "zero" else b"\xa5") * length
            content = content or bytearray(b"x")
        path.write_bytes(content)
        with refused_with_a_word(), ProfileStore(path, read_only=True) as store:
            store.measurements()
            store.baselines()
            store.colocations()
        with refused_with_a_word():
            salvage(path, Path(folder) / "saved.db")


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    """An HTTP server that answers every request with `server.answer`, whatever that is."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(self.server.answer)  # type: ignore[attr-defined]

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    made = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


METADATA = {"name": "m", "versions": ["1"], "inputs": [{"name": "x", "datatype": "FP32"}]}
BODIES = [json.dumps(body) for body in (METADATA, {"error": "no"}, [], [{"name": "m"}], 3, None)]
HEADS = [
    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "",
    "SSH-2.0-OpenSSH_9\r\n",
]


@given(head=st.sampled_from(HEADS), body=damaged_text(BODIES), wrong=damaged_text(HEADS))
@example(head="", body="", wrong="")
def test_a_server_that_answers_anything_is_an_error_with_a_word(
    server: HTTPServer, head: str, body: str, wrong: str
):
    url = f"127.0.0.1:{server.server_port}"
    for start in (head, wrong):
        text = start.replace("{}", str(len(body.encode(errors="replace")))) + body
        server.answer = text.encode(errors="replace")  # type: ignore[attr-defined]
        for ask in (
            http_api.server_metadata,
            http_api.states,
            lambda url: http_api.metadata(url, "m"),
            lambda url: http_api.statistics(url, "m"),
            lambda url: http_api.config(url, "m"),
            http_api.has_model_control,
        ):
            with refused_with_a_word():
                ask(url)


def test_the_damage_reaches_the_store():
    """A test that cannot fail tests nothing: sqlite itself complains of such bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.db"
        path.write_bytes(b"SQLite format 3\0" + b"\xa5" * 4080)
        with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.DatabaseError):
            connection.execute("SELECT * FROM sqlite_master")
