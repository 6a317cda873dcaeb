"""The load generator on a model that does nothing, beside perf_analyzer where that can be had.

    python benchmarks/load_generator.py [--perf-analyzer COMMAND] [--seconds 3] [--rounds 3]

For each concurrency both drive the same server in turn. Throughput is what each says of itself;
the number of requests, for CPU time per request, is the server's own count. Our CPU time is that
of the worker and of the process that reads it. perf_analyzer wants glibc 2.38: on an older system
COMMAND may be `chroot DIR /perf_analyzer`, DIR being a newer one with the binary in it.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shlex
import statistics as middle
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from analyzer.load import worker_pool
from analyzer.load.generator import Generator
from analyzer.load.inputs import make_requests
from analyzer.load.steady_state import SteadyStateRule
from analyzer.load.worker_pool import spare_cpus
from analyzer.triton import install, local, statistics
from analyzer.triton.options import LaunchOptions
from profiles.measurement import LoadPoint

CONFIG = """
name: "nothing"
backend: "python"
input { name: "IN" data_type: TYPE_FP32 dims: [ 16 ] }
output { name: "OUT" data_type: TYPE_FP32 dims: [ 16 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
MODEL = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUT", pb_utils.get_input_tensor_by_name(r, "IN").as_numpy())]
            )
            for r in requests
        ]
"""
Figures = tuple[float, float]  # requests per second, CPU seconds per request


def counted(url: str, run: Callable[[], tuple[float, float]]) -> Figures:
    """What a run says of its throughput, and its CPU time by the server's count of requests."""
    before = statistics.snapshot(url, "nothing")
    throughput, cpu_s = run()
    served = statistics.difference(before, statistics.snapshot(url, "nothing"))
    return throughput, cpu_s / served.requests


def ours(url: str, generator: Generator, concurrency: int, seconds: float) -> Figures:
    def run() -> tuple[float, float]:
        deadline = time.monotonic() + seconds
        own_s = time.process_time()
        rule = SteadyStateRule(relative_half_width=0.0, max_duration_s=seconds)
        result = generator.run(
            LoadPoint(1, concurrency), rule, stop=lambda: time.monotonic() >= deadline
        )
        assert not result.failures
        if result.client_limited:
            print(f"  {concurrency}: {result.client_limited}")
        return result.throughput, result.client_cpu_s + time.process_time() - own_s

    return counted(url, run)


def peers(url: str, command: str, concurrency: int, seconds: float) -> Figures:
    def run() -> tuple[float, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [
                *shlex.split(command),
                *("-m", "nothing", "-u", url, "-i", "http"),
                *("--concurrency-range", str(concurrency)),
                # Three windows of a third of our time, and any three are accepted: it keeps nothing
                # of a point that it calls unstable.
                *("--measurement-interval", str(int(seconds * 1000 / 3)), "-s", "999"),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = re.search(r"Throughput: ([\d.]+) infer/sec", done.stdout)
        if said is None:
            raise SystemExit(f"perf_analyzer gave no throughput:\n{done.stdout}{done.stderr}")
        cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return float(said[1]), cpu_s

    return counted(url, run)


def median(figures: list[Figures]) -> Figures:
    return middle.median(f[0] for f in figures), middle.median(f[1] for f in figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--perf-analyzer", metavar="COMMAND", help="to run beside ours")
    parser.add_argument("--concurrency", default="1,4,16,64")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--server-cpus", default="", help="that Triton alone has, such as 0")
    arguments = parser.parse_args()
    cpus = tuple(int(cpu) for cpu in arguments.server_cpus.split(",") if cpu)

    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "nothing"
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(CONFIG)
        (model / "1" / "model.py").write_text(MODEL)
        with (
            local.launch(Path(directory), install.install(), LaunchOptions(cpus=cpus)) as server,
            worker_pool.start("http", spare_cpus(cpus)) as generator,
        ):
            if cpus:
                os.sched_setaffinity(0, spare_cpus(cpus))  # and so whatever is started from here
            server.load("nothing")
            url = server.http_url
            generator.aim(url, make_requests(url, "nothing", 1))
            print("concurrency | ours infer/s, µs CPU | perf_analyzer | throughput, CPU as ratios")
            for concurrency in map(int, arguments.concurrency.split(",")):
                mine, theirs = [], []
                for _ in range(arguments.rounds):
                    mine.append(ours(url, generator, concurrency, arguments.seconds))
                    if arguments.perf_analyzer:
                        theirs.append(
                            peers(url, arguments.perf_analyzer, concurrency, arguments.seconds)
                        )
                rate, cpu_s = median(mine)
                line = f"{concurrency:11} | {rate:8.0f} {cpu_s * 1e6:11.0f}"
                if theirs:
                    their_rate, their_cpu_s = median(theirs)
                    line += f" | {their_rate:8.0f} {their_cpu_s * 1e6:5.0f}"
                    line += f" | {rate / their_rate:.2f} {cpu_s / their_cpu_s:.2f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
