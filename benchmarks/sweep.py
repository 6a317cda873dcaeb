"""The time of a 3 x 3 sweep of one model: batch sizes 1, 2, 4 under concurrency 1, 2, 4.

    python benchmarks/sweep.py [--model ocr_orientation] [--peer COMMAND]

Runs `model-placer profile` into a fresh store, server start included. A peer, such as a
model-analyzer command for the same sweep, is timed beside it, and the ratio printed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"


def timed(command: list[str] | str) -> tuple[float, str]:
    started_s = time.monotonic()
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, shell=isinstance(command, str)
    )
    return time.monotonic() - started_s, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-repository", type=Path, default=EXAMPLES)
    parser.add_argument("--model", default="ocr_orientation")
    parser.add_argument("--confidence-interval", default="5%")
    parser.add_argument("--peer", help="a shell command to time beside it")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        command = [
            *(sys.executable, "-c", "from analyzer.cli import main; main()", "profile"),
            *("-m", str(arguments.model_repository), "--models", arguments.model),
            *("--confidence-interval", arguments.confidence_interval),
            *("--store", f"{directory}/profiles.db", "--output-format", "json", "-q"),
        ]
        seconds, output = timed(command)
    points = json.loads(output)
    settled = sum(point["confidence"]["reached"] for point in points)
    print(f"{arguments.model}: {len(points)} points in {seconds:.1f} s, {settled} settled")
    worst = max(
        abs(
            point["throughput"]
            / point["load"]["batch_size"]
            * point["latency"]["mean_ms"]
            / 1000
            / point["load"]["concurrency"]
            - 1
        )
        for point in points
    )
    print(f"throughput x latency is the concurrency within {worst:.1%} on each")
    if arguments.peer:
        peer_seconds, _ = timed(arguments.peer)
        print(f"peer: {peer_seconds:.1f} s, {peer_seconds / seconds:.1f} times as long")


if __name__ == "__main__":
    main()
