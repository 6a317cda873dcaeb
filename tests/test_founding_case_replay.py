"""The founding case end to end: profiled through a real Triton on a pretended 16 GB GPU, placed.

Nine models hold the memory and use the share of GPU time that Table 2 gives (NVIDIA, "Maximizing
deep learning inference performance with NVIDIA Model Analyzer", 2020), at client batch size 2 and
concurrency 4; the server itself holds the 309 MB of Table 1. Rates are not the article's: every
request takes 8 ms, so that the replay takes seconds and not minutes.
"""

import csv
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import command_line
import psutil
import pytest
from pretended_nvml.fleet import Fleet
from pretended_nvml.repository import add_model

from analyzer.triton.runtime import Binary
from profiles.store import ProfileStore

pytestmark = pytest.mark.triton

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "examples" / "founding-case" / "profiles.csv"
SERVER_BYTES = 309_000_000


def rows() -> list[dict[str, str]]:
    lines = [line for line in TABLE.read_text().splitlines() if not line.startswith("#")]
    return [row for row in csv.DictReader(lines) if row["model"] != "(server)"]


def a_repository(path: Path) -> Path:
    for row in rows():
        hot_bytes = int(float(row["memory_mb"]) * 1e6) - SERVER_BYTES
        add_model(
            path,
            row["model"],
            cold_bytes=hot_bytes // 2,
            hot_bytes=hot_bytes,
            # The least that rounds to the table's whole percents: what is measured stays below.
            utilization_percent=float(row["utilization_percent"]) - 0.5,
            memory_percent=float(row["memory_utilization_percent"]) - 0.5,
        )
    return path


@contextmanager
def a_server_context(fleet: Fleet, gpu: int) -> Iterator[None]:
    """Whatever `tritonserver` we start holds its own memory on the GPU, as a CUDA context does."""
    done = threading.Event()

    def hold() -> None:
        while not done.wait(0.02):
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name() == "tritonserver":
                        fleet.hold(gpu, process.pid, SERVER_BYTES)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    library = Path(os.environ["PRETENDED_NVML_LIBRARY"])
    return command_line.run(*arguments, cwd=cwd, timeout_s=240, LD_LIBRARY_PATH=str(library.parent))


def test_nine_models_on_a_pretended_gpu_take_four_and_six(
    tmp_path: Path, embedded_triton: Binary, pretended_nvml: Fleet
):
    """The 6 needs one device at exactly 100 / 100: hippocampus (52 / 52) and brain (48 / 48)."""
    gpu = pretended_nvml.add_gpu("16 GB GPU", memory_bytes=16_000_000_000)
    repository = a_repository(tmp_path / "models")
    started = time.monotonic()
    with a_server_context(pretended_nvml, gpu):
        done = run(
            *("profile", "-m", repository, "--gpus", "0", "--max-duration", "2s"),
            *("--batch-sizes", "2", "--concurrency", "4", "--input-data", "zero"),
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stderr
    print(f"profiled in {time.monotonic() - started:.0f} s")

    with ProfileStore(tmp_path / "profiles.db") as store:
        measured = {m.model: m for m in store.measurements()}
        (baseline,) = store.baselines()
    assert baseline.memory_bytes == SERVER_BYTES
    for row in rows():
        m = measured[row["model"]]
        assert m.status == "ok", m.reason
        assert m.usage is not None
        needed = int(float(row["memory_mb"]) * 1e6) - SERVER_BYTES
        assert m.usage.memory_hot_bytes == needed
        assert m.usage.memory_cold_bytes == needed // 2
        # Less in a window in which the machine stood still for a moment, but not more.
        for measured_percent, field in (
            (m.usage.utilization_percent, "utilization_percent"),
            (m.usage.memory_utilization_percent, "memory_utilization_percent"),
        ):
            assert measured_percent is not None
            assert -4 <= measured_percent - float(row[field]) <= 1.5, (m.model, field)

    for limits, gpus in (("memory", 4), ("memory,utilization,memory_utilization", 6)):
        done = run("place", "--limits", limits, "--output-format", "json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert (answer["status"], len(answer["layout"]["devices"])) == ("optimal", gpus)
