"""Our sweep beside perf_analyzer's and Model Analyzer's, on one server and one model.

    python benchmarks/peers.py --perf-analyzer "perf_analyzer" [--model-analyzer "model-analyzer"]

Starts the embedded Triton and measures the 3 x 3 points (batch sizes and concurrency 1, 2, 4), ours
and perf_analyzer's in turn, so that a machine that changes its speed changes both. Prints the ratio
of throughput for each point and of the time for all. The commands may have a prefix, such as a
chroot, as long as they reach this machine's loopback addresses.
"""

import argparse
import re
import shlex
import subprocess
import tempfile
import time
from pathlib import Path

from analyzer.load import http
from analyzer.load.inputs import make_requests
from analyzer.server import local
from analyzer.steady_state import SteadyStateRule
from profiles.measurement import LoadPoint

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"
LOADS = [LoadPoint(batch_size, c) for batch_size in (1, 2, 4) for c in (1, 2, 4)]


def perf_analyzer(command: str, url: str, model: str, load: LoadPoint) -> float | None:
    """Inferences per second by perf_analyzer's own rule; None when it never found it stable."""
    done = subprocess.run(
        [
            *(*shlex.split(command), "-m", model, "-u", url, "-i", "http"),
            *("-b", str(load.batch_size), "--concurrency-range", str(load.concurrency)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"throughput: ([\d.]+) infer/sec", done.stdout)
    return float(found[1]) if found else None


def model_analyzer(command: str, server: local.LocalServer, model: str) -> float:
    """Seconds for the same points of one variant, on the same server."""
    with tempfile.TemporaryDirectory() as directory:
        started_s = time.monotonic()
        subprocess.run(
            [
                *(*shlex.split(command), "profile", "--triton-launch-mode", "remote"),
                *("--triton-http-endpoint", server.http_url),
                *("--triton-grpc-endpoint", server.grpc_url),
                *("--triton-metrics-url", server.metrics_url, "--client-protocol", "http"),
                *("--model-repository", str(EXAMPLES), "--profile-models", model),
                *("--run-config-search-disable", "--batch-sizes", "1,2,4"),
                *("--concurrency", "1,2,4", "--export-path", f"{directory}/export"),
                *("--output-model-repository-path", f"{directory}/out"),
                *("--checkpoint-directory", f"{directory}/checkpoints"),
            ],
            check=True,
        )
        return time.monotonic() - started_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ocr_orientation")
    parser.add_argument("--perf-analyzer", default="perf_analyzer", metavar="COMMAND")
    parser.add_argument("--model-analyzer", metavar="COMMAND")
    arguments = parser.parse_args()

    ours_s = theirs_s = 0.0
    ratios = []
    with local.launch(EXAMPLES) as server, http.start() as generator:
        server.load(arguments.model)
        print("load     ours infer/s   ±%  perf_analyzer  ratio")
        for load in LOADS:
            started_s = time.monotonic()
            requests = make_requests(server.http_url, arguments.model, load.batch_size)
            generator.aim(server.http_url, requests)
            result = generator.run(load, SteadyStateRule())
            ours_s += time.monotonic() - started_s
            started_s = time.monotonic()
            theirs = perf_analyzer(arguments.perf_analyzer, server.http_url, arguments.model, load)
            theirs_s += time.monotonic() - started_s
            own = f"{load!s:8} {result.throughput:12.1f} {result.confidence.throughput * 100:4.1f} "
            if theirs is None:
                print(f"{own} did not settle", flush=True)
                continue
            ratios.append(result.throughput / theirs)
            print(f"{own}{theirs:14.1f}  {ratios[-1]:.3f}", flush=True)
        if arguments.model_analyzer:
            server.unload(arguments.model)
            seconds = model_analyzer(arguments.model_analyzer, server, arguments.model)
            print(f"Model Analyzer: {seconds:.1f} s, {seconds / ours_s:.1f} times ours")
    print(
        f"ours: {ours_s:.1f} s, perf_analyzer: {theirs_s:.1f} s, {theirs_s / ours_s:.1f} times ours"
    )
    print(f"throughput: ratio {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    main()
