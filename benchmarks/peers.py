"""Our sweep beside perf_analyzer's and Model Analyzer's, on one server and one model.

    python benchmarks/peers.py --perf-analyzer "perf_analyzer" [--model-analyzer "model-analyzer"]

Starts the embedded Triton and measures the 3 x 3 points (batch sizes and concurrency 1, 2, 4), ours
and perf_analyzer's in turn and several rounds of each, so that a machine that changes its speed
changes both. Prints the ratio of throughput for each point, the median over the rounds, and the
ratio of the time for all. Beside it stands what a request took outside Triton's queue and model,
by the server's own count: what a client adds lowers its throughput at concurrency 1. With
`--server-cpus 0` Triton has that processor for itself, and all clients have the others. With
`--wait-ms 2,20` the models are such as only wait so long for each batch, as for a GPU: neither the
machine's speed nor a client's use of the processor changes what they take. The commands may have a
prefix, such as a chroot, as long as they reach this machine's loopback addresses.
"""

import argparse
import os
import re
import shlex
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from statistics import median

from analyzer.load import worker_pool
from analyzer.load.generator import Generator, LoadResult
from analyzer.load.inputs import make_requests
from analyzer.load.steady_state import SteadyStateRule
from analyzer.load.worker_pool import spare_cpus
from analyzer.triton import install, local, statistics
from analyzer.triton.options import LaunchOptions
from analyzer.triton.own_server import OwnServer
from profiles.measurement import LoadPoint

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"
CONFIG = """
name: "{name}"
backend: "python"
max_batch_size: 4
input {{ name: "IN" data_type: TYPE_FP32 dims: [ 16 ] }}
output {{ name: "OUT" data_type: TYPE_FP32 dims: [ 16 ] }}
instance_group {{ count: 1 kind: KIND_CPU }}
"""
MODEL = """
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        until_s = time.monotonic() + {milliseconds} / 1000
        tensors = [pb_utils.get_input_tensor_by_name(r, "IN").as_numpy() for r in requests]
        time.sleep(until_s - time.monotonic())
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", t)]) for t in tensors]
"""
Rate = float | None  # inferences per second; None without figures
LOADS = [LoadPoint(batch_size, c) for batch_size in (1, 2, 4) for c in (1, 2, 4)]


def ours(generator: Generator, url: str, model: str, load: LoadPoint) -> LoadResult:
    """Our measurement by our own rule."""
    generator.aim(url, make_requests(url, model, load.batch_size))
    result = generator.run(load, SteadyStateRule())
    assert not result.failures, result.failure_texts
    return result


def perf_analyzer(
    command: str, url: str, model: str, load: LoadPoint, window_ms: int
) -> float | None:
    """Inferences per second over three windows, however far these differ; None without figures.

    Left to itself it keeps nothing of what it calls unstable, after ten windows of waiting.
    """
    done = subprocess.run(
        [
            *(*shlex.split(command), "-m", model, "-u", url, "-i", "http"),
            *("-b", str(load.batch_size), "--concurrency-range", str(load.concurrency)),
            *("--measurement-interval", str(window_ms), "-s", "999"),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    found = re.search(r"throughput: ([\d.]+) infer/sec, latency", done.stdout)
    return float(found[1]) if found else None


def waiting(repository: Path, milliseconds: str) -> str:
    """Write a model that takes this long for each batch; its name."""
    name = f"wait_{milliseconds}_ms"
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(CONFIG.format(name=name))
    (repository / name / "1" / "model.py").write_text(MODEL.format(milliseconds=milliseconds))
    return name


def model_analyzer(command: str, server: OwnServer, repository: Path, model: str) -> float:
    """Seconds for the same points of one variant, on the same server."""
    with tempfile.TemporaryDirectory() as directory:
        started_s = time.monotonic()
        subprocess.run(
            [
                *(*shlex.split(command), "profile", "--triton-launch-mode", "remote"),
                *("--triton-http-endpoint", server.http_url),
                *("--triton-grpc-endpoint", server.grpc_url),
                *(
                    "--triton-metrics-url",
                    f"http://127.0.0.1:{server.runner.ports[2]}/metrics",
                    "--client-protocol",
                    "http",
                ),
                *("--model-repository", str(repository), "--profile-models", model),
                *("--run-config-search-disable", "--batch-sizes", "1,2,4"),
                # Its folders are beside ours: in a chroot there is a /tmp, but not what is in ours.
                *("--concurrency", "1,2,4", "--export-path", f"{directory}-export"),
                *("--output-model-repository-path", f"{directory}-out"),
                *("--checkpoint-directory", f"{directory}-checkpoints"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return time.monotonic() - started_s


def timed(url: str, model: str, run: Callable[[], Rate]) -> tuple[Rate, float, float]:
    """What a run says, its seconds, and the server's own milliseconds per request."""
    before, started_s = statistics.snapshot(url, model), time.monotonic()
    rate = run()
    seconds = time.monotonic() - started_s
    spent = statistics.difference(before, statistics.snapshot(url, model)).server_time
    assert spent is not None
    return rate, seconds, sum(astuple(spent))


def compare(
    server: OwnServer, generator: Generator, arguments: argparse.Namespace, model: str
) -> float:
    """Print the points of one model; the mean seconds that ours took for the nine."""
    url = server.http_url
    runs: dict[LoadPoint, list[tuple[float, ...]]] = defaultdict(list)
    ours_s = theirs_s = 0.0
    for _ in range(arguments.rounds):
        for load in LOADS:
            own, seconds, own_ms = timed(
                url, model, lambda load=load: ours(generator, url, model, load).throughput
            )
            ours_s += seconds
            if arguments.perf_analyzer is None:
                continue
            their, seconds, their_ms = timed(
                url,
                model,
                lambda load=load: perf_analyzer(
                    arguments.perf_analyzer, url, model, load, arguments.window_ms
                ),
            )
            theirs_s += seconds
            if own is None or their is None:
                print(f"{model} {load}: perf_analyzer gave no figures", flush=True)
                continue
            # A request's time outside the server: all that a client and its way there add.
            in_flight = 1000 * load.batch_size * (load.concurrency or 1)
            outside = in_flight / own - own_ms, in_flight / their - their_ms
            runs[load].append((own, their, own / their, own_ms / their_ms, *outside))
    for load, each in runs.items():
        own, their, ratio, server, *outside = map(median, zip(*each, strict=True))
        spread = " ".join(f"{run[2]:.3f}" for run in sorted(each, key=lambda run: run[2]))
        print(
            f"{model} {load!s:6} ours {own:7.1f}/s, theirs {their:7.1f}/s, ratio {ratio:.3f} (of "
            f"{spread}); ms outside the server {outside[0]:.2f} and {outside[1]:.2f}, in it ratio "
            f"{server:.3f}"
        )
    print(f"{model}: ours {ours_s / arguments.rounds:.1f} s for nine points", flush=True)
    if theirs_s:
        print(
            f"{model}: perf_analyzer {theirs_s / arguments.rounds:.1f} s, with windows of "
            f"{arguments.window_ms} ms, {theirs_s / ours_s:.1f} times ours",
            flush=True,
        )
    return ours_s / arguments.rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="ocr_orientation")
    parser.add_argument("--wait-ms", default="", help="such as 2,5,20: models that only wait")
    parser.add_argument("--perf-analyzer", metavar="COMMAND")
    parser.add_argument("--model-analyzer", metavar="COMMAND")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--window-ms", type=int, default=5000, help="of perf_analyzer, three of them"
    )
    parser.add_argument("--server-cpus", default="", help="that Triton alone has, such as 0")
    arguments = parser.parse_args()

    cpus = tuple(int(cpu) for cpu in arguments.server_cpus.split(",") if cpu)
    with ExitStack() as stack:
        repository, models = EXAMPLES, arguments.models.split(",")
        if arguments.wait_ms:
            repository = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            models = [waiting(repository, each) for each in arguments.wait_ms.split(",")]
        server = stack.enter_context(
            local.launch(repository, install.install(), LaunchOptions(cpus=cpus))
        )
        generator = stack.enter_context(worker_pool.start("http", spare_cpus(cpus)))
        if cpus:
            os.sched_setaffinity(0, spare_cpus(cpus))  # and so whatever is started from here
        for model in models:
            server.load(model)
            ours_s = compare(server, generator, arguments, model)
            server.unload(model)
            if arguments.model_analyzer:
                seconds = model_analyzer(arguments.model_analyzer, server, repository, model)
                print(f"{model}: Model Analyzer {seconds:.1f} s, {seconds / ours_s:.1f} times ours")


if __name__ == "__main__":
    main()
