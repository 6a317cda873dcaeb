"""Sizes of the images and how long a container of each takes to start.

    python benchmarks/image.py model-placer:test model-placer-server:test

Prints a row per image: its size as the engine tells it, the part that it adds to its base, and the
least (and median) of nine starts of a container from `docker run` to its end: for `--version`,
which imports next to nothing, and for a placement of two models, which imports the solver.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 9
LOCKED = ("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--network=none")
MODELS = """\
model,device_type,throughput,memory_mb,utilization_percent
bert,Tesla T4,100,2000,40
resnet,Tesla T4,300,1500,30
"""


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def seconds(image: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    took = []
    for _ in range(RUNS):
        start_s = time.monotonic()
        docker("run", *LOCKED, *options, image, *arguments)
        took.append(time.monotonic() - start_s)
    return f"{min(took):.2f} ({statistics.median(took):.2f})"


def main() -> None:
    print("image, MB, added MB, s to --version, s to place")
    for image in sys.argv[1:] or ["model-placer:test", "model-placer-server:test"]:
        size = int(docker("image", "inspect", "--format={{.Size}}", image)) / 1e6
        history = docker("history", "--format={{json .}}", "--human=false", image).splitlines()
        copied = [row for row in map(json.loads, history) if "COPY" in row["CreatedBy"]]
        added = int(copied[0]["Size"]) / 1e6
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            path.chmod(0o777)
            (path / "profiles.csv").write_text(MODELS, encoding="utf-8")
            volume = (f"--volume={folder}:/work",)
            docker("run", *LOCKED, *volume, image, "import", "profiles.csv")
            version_s = seconds(image, "--version")
            place_s = seconds(image, "place", options=volume)
        print(f"{image}, {size:.0f}, {added:.0f}, {version_s}, {place_s}")


if __name__ == "__main__":
    main()
