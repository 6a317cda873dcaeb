"""Checks Model Placer on a real GPU, part by part; without one, itself on a pretended GPU.

    python benchmarks/gpu.py [--part memory,utilization] [--output DIRECTORY]

Needs an NVIDIA GPU with its driver, PyTorch in this Python, and a Triton (`model-placer server
install`, or one on PATH) whose Python has the same version as this one. Each part runs in a process
of its own within its time; what it finds is written line by line to results.jsonl and results.txt
in DIRECTORY, so that a run that is cut tells what it has. Without a GPU, or with --pretended, NVML
is the tests' library: that checks this script, and says nothing of GPUs.

Exit status: 0 when all that is judged passed, 1 otherwise, 3 when something is missing here.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent), str(ROOT)]

from gpu_parts.here import Here  # noqa: E402
from gpu_parts.record import TEXT, Record, rows  # noqa: E402

PARTS = {  # and the seconds that each may take on a real GPU, 6 minutes together
    "surroundings": 15,
    "memory": 70,
    "utilization": 30,
    "sweep": 35,
    "colocation": 65,
    "layout": 110,
    "limits": 35,
}
PRETENDED = 3  # times as long without a GPU: the networks run on a CPU that others use, too
GRACE_S = 10  # to end its servers, once its time is over
MISSING_TORCH = (
    "PyTorch is not in {python}: `{python} -m pip install torch` (built for CUDA), or call this "
    "script with a Python that has it; --pretended checks the script alone."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", default=",".join(PARTS), help="parts to run, with commas between")
    parser.add_argument("--output", type=Path, help="where results go  [default: gpu-check/TIME]")
    parser.add_argument("--pretended", action="store_true", help="even where there is a GPU")
    parser.add_argument("--times", type=float, default=1.0, help="so many times each part's time")
    parser.add_argument("--run-part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run_part:
        return _run_part(given.run_part, given.output, pretended=given.pretended)
    chosen = given.part.split(",")
    for part in chosen:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}; parts: {', '.join(PARTS)}")
    pretended = given.pretended or not _has_gpu()
    packages = _packages()
    if not pretended and not packages:
        print(MISSING_TORCH.format(python=sys.executable), file=sys.stderr)
        return 3
    from analyzer.triton import runtime
    from profiles.errors import SurroundingsError

    try:
        triton = runtime.find()
    except SurroundingsError as error:
        print(error, file=sys.stderr)
        return 3
    output = given.output or Path("gpu-check") / time.strftime("%Y%m%d-%H%M%S")
    output.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    if pretended:
        environment |= _pretend(output)
    record = Record(output, "run", pretended)
    if pretended:
        record.note("No real GPU is read: NVML is pretended, which checks this script alone.")
    record.note("Triton", origin=triton.origin)
    record.note("PyTorch", packages=packages or "none; the models only wait")
    for part in chosen:
        limit_s = PARTS[part] * given.times * (PRETENDED if pretended else 1)
        _guarded(part, limit_s, output, environment, record)
    judged = [row for row in rows(output) if "passed" in row]
    failed = [row for row in judged if not row["passed"]]
    where = "a pretended GPU" if pretended else "this GPU"
    record.note(f"{len(judged) - len(failed)} of {len(judged)} passed on {where}")
    print(f"Results: {output / TEXT}")
    return 1 if failed else 0


def _guarded(
    part: str, limit_s: float, output: Path, environment: dict[str, str], record: Record
) -> None:
    """Run a part in a process of its own, and end it when its time is over."""
    command = [sys.executable, __file__, "--run-part", part, "--output", str(output)]
    command += ["--pretended"] if record.pretended else []
    start_s = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        record.must(f"{part} within {limit_s:g} s", passed=False)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    finally:
        process.kill()
        process.wait()
    seconds = time.monotonic() - start_s
    record.must(f"{part} ended", passed=process.returncode == 0, seconds=seconds)


def _run_part(part: str, output: Path, *, pretended: bool) -> int:
    import signal

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds: servers are ended
    folder = output / part
    folder.mkdir()
    here = Here(pretended, _packages(), folder)
    importlib.import_module(f"gpu_parts.{part}").run(here, Record(output, part, pretended))
    return 0


def _has_gpu() -> bool:
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return False
    pynvml.nvmlShutdown()
    return bool(count)


def _packages() -> str:
    """The directory that PyTorch is in; empty without it."""
    found = importlib.util.find_spec("torch")
    return str(Path(found.origin).parents[1]) if found and found.origin else ""


def _pretend(output: Path) -> dict[str, str]:
    """Build the pretended NVML with one GPU; returns what processes need to see it."""
    sys.path.insert(0, str(ROOT / "tests"))
    from platformdirs import user_cache_path
    from pretended_nvml import fleet

    known = os.environ.get("PRETENDED_NVML_LIBRARY")  # as within the tests
    library = Path(known) if known else fleet.build(user_cache_path("model-placer"))
    environment = {
        "PRETENDED_NVML_STATE": str((output / "fleet").resolve()),
        "PRETENDED_NVML_LIBRARY": str(library),
        "LD_LIBRARY_PATH": f"{library.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}",
    }
    code = (
        "import ctypes, os, sys; sys.path.insert(0, sys.argv[1]); "
        "from pretended_nvml import fleet; "
        "made = fleet.Fleet(ctypes.CDLL(os.environ['PRETENDED_NVML_LIBRARY'])); made.reset(); "
        "made.add_gpu('Pretended GPU', memory_bytes=80_000_000_000, flags=fleet.GPM, "
        "idle_w=60, busy_w=700)"
    )
    command = [sys.executable, "-c", code, str(ROOT / "tests")]
    subprocess.run(command, check=True, env={**os.environ, **environment})
    return environment


if __name__ == "__main__":
    sys.exit(main())
