"""How long a variant takes to load, from the disk and from the page cache, and to unload."""

import ctypes
import mmap
import os
import subprocess
from pathlib import Path

import pytest
from python_models import add_model

from analyzer.load.steady_state import SteadyStateRule
from analyzer.measure import page_cache, profile
from analyzer.measure.grid import Sweep
from analyzer.measure.options import Options
from analyzer.report.tables import measurements_table
from analyzer.triton.runtime import Binary

PAGES = 256


def cached_pages(path: Path) -> int:
    """Pages of the file in the page cache, by mincore(2)."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        seen = (ctypes.c_ubyte * PAGES)()
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        size = ctypes.c_size_t(len(mapped))
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(start), size, seen) == 0
        return sum(byte & 1 for byte in seen)


def test_dropped_files_are_on_the_disk_alone(tmp_path: Path):
    file = tmp_path / "model" / "weights"
    file.parent.mkdir()
    with file.open("wb") as out:
        out.write(os.urandom(PAGES * mmap.PAGESIZE))
        out.flush()
        os.fsync(out.fileno())
    if cached_pages(file) < PAGES:
        pytest.skip("this file system keeps no pages of what was written")
    page_cache.drop([tmp_path / "model"])
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
    ).stdout.strip()
    if kind in {"tmpfs", "ramfs"}:
        pytest.skip("the temporary directory is in memory")
    assert cached_pages(file) < PAGES / 4


@pytest.mark.triton
def test_both_ways_of_loading_and_the_unload_are_timed(tmp_path: Path, embedded_triton: Binary):
    """The model's code takes half a second to be imported, however warm its file is."""
    code = add_model(tmp_path / "models", "slow_start") / "1" / "model.py"
    code.write_text(f"import time\ntime.sleep(0.5)\n{code.read_text()}")
    options = Options(
        tmp_path / "models",
        tmp_path / "profiles.db",
        sweep=Sweep((1,), (1,)),
        gpus="none",
        rule=SteadyStateRule(relative_half_width=0.5, max_duration_s=0.5),
        load_times=True,
    )
    (m,) = profile.run(options, lambda _: None).measurements
    assert m.extra["load_cold_s"] > 0.5
    assert m.extra["load_s"] > 0.5
    assert m.extra["unload_s"] > 0
    assert "from page cache s" in measurements_table([m])
