"""NVIDIA's perf_analyzer as the load generator, where its binary is installed.

It measures three windows and keeps nothing of a point that it calls unstable, so it is told that
any three windows agree (`--stability-percentage`), and how far they do is judged here: Student's t
with two degrees of freedom over the windows. Its pip wrapper always exits with 0, so what counts
is whether it wrote its table; and lives on without it when killed alone, so its group is killed.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from analyzer.load.generator import LoadResult, PreparedRequest, Via
from analyzer.load.steady_state import SteadyStateRule
from profiles.errors import InputError, SurroundingsError
from profiles.measurement import Confidence, Latency, LoadPoint

T_95_OF_3 = 4.302653  # two-sided 95 % of Student's t with 2 degrees of freedom: three windows
FIRST_WINDOW_S = 0.5
STRETCH = 1.2  # its windows are longer than requested by this factor
ANY = "999"  # percent: any three windows agree
POLL_S = 0.05
PASS = re.compile(r"Pass \[\d+\] throughput: ([\d.]+) infer/sec\. p\d+ latency: ([\d.]+) usec")


class PerfAnalyzer:
    """Runs the binary with growing windows until the rule is met."""

    protocol: Via = "perf_analyzer"

    def __init__(self, binary: str, directory: Path, cpus: Sequence[int]) -> None:
        self._binary = binary
        self._cpus = cpus
        self._data = directory / "data.json"
        self._table = directory / "table.csv"
        self._url = ""
        self._model = ""

    @property
    def last_answer_s(self) -> float:
        return 0.0  # it reports at its end only

    def aim(self, url: str, requests: Sequence[PreparedRequest]) -> None:
        self._url, self._model = url, requests[0].path
        self._data.write_bytes(b'{"data":[' + b",".join(r.body for r in requests) + b"]}")

    def run(
        self, load: LoadPoint, rule: SteadyStateRule, stop: Callable[[], bool] | None = None
    ) -> LoadResult:
        """Drive the load until the rule is met, its cap is reached, or `stop` says so.

        Raises
        ------
        SurroundingsError
            perf_analyzer gave no figures; it is quoted.
        """
        started_s = time.monotonic()
        window_s = max(FIRST_WINDOW_S, rule.min_duration_s / 3 / STRETCH)
        while True:
            self._table.unlink(missing_ok=True)
            output, cpu_s = self._execute(load, rule, window_s, stop)
            if not self._table.exists():
                return _without_figures(output, rule, cpu_s, stop)
            result = read_result(output, self._table.read_text(), rule, window_s, cpu_s)
            window_s *= 2
            left_s = started_s + rule.max_duration_s - time.monotonic()
            over = 3 * STRETCH * window_s > left_s or (stop is not None and stop())
            if result.confidence.reached or over:
                return result

    def _execute(
        self,
        load: LoadPoint,
        rule: SteadyStateRule,
        window_s: float,
        stop: Callable[[], bool] | None,
    ) -> tuple[str, float]:
        """Its output, and the CPU time it used in seconds."""
        import psutil

        command = [
            *(self._binary, "-m", self._model, "-u", self._url, "-i", "http", "-v"),
            *("-b", str(load.batch_size), "--input-data", str(self._data)),
            *("--measurement-interval", str(round(window_s * 1000))),
            *("--percentile", str(rule.latency_percentile), "--stability-percentage", ANY),
            *("-f", str(self._table), "--verbose-csv"),
        ]
        if load.concurrency is not None:
            command += ["--concurrency-range", str(load.concurrency)]
        else:
            command += ["--request-rate-range", f"{load.request_rate:g}"]
            command += ["--request-distribution", load.arrivals]
        if load.sequence_length is not None:
            command += ["--sequence-length", str(load.sequence_length)]
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            cpu_s = 0.0
            try:
                watched = psutil.Process(process.pid)
                if self._cpus:
                    watched.cpu_affinity(list(self._cpus))  # before it starts its threads
                while process.poll() is None:
                    times = watched.cpu_times()
                    cpu_s = times.user + times.system
                    if stop is not None and stop():
                        break
                    time.sleep(POLL_S)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.seek(0)
            return output.read(), cpu_s


def read_result(
    output: str, table: str, rule: SteadyStateRule, window_s: float, cpu_s: float
) -> LoadResult:
    """The figures of its table, with confidence intervals from the windows that it printed."""
    row = next(csv.DictReader(table.splitlines()))
    throughput = float(row["Inferences/Second"])
    p50, p90, p95, p99 = (float(row[f"p{p} latency"]) / 1000 for p in (50, 90, 95, 99))
    # Asked for a percentile, it leaves the mean out; sending and waiting make it up.
    mean = (float(row["request/response"]) + float(row["response wait"])) / 1000
    counted = re.search(r"Request count: (\d+)", output)
    behind = re.search(r"not able to keep up.*", output)
    windows = [(float(rate), float(usec)) for rate, usec in PASS.findall(output)][-3:]
    rate, latency = (half_width([window[i] for window in windows]) for i in (0, 1))
    end_s = time.monotonic()
    start_s = end_s - 3 * STRETCH * window_s
    return LoadResult(
        throughput=throughput,
        latency=Latency(mean, p50, p90, p95, p99, p99),  # it does not tell the maximum
        confidence=Confidence(
            min(rate, 1.0),
            min(latency, 1.0),
            rule.latency_percentile,
            windows=len(windows),
            reached=max(rate, latency) <= rule.relative_half_width,
        ),
        requests=int(counted[1]) if counted else 0,
        failures=0,  # it ends without figures at the first
        failure_texts=(),
        start_s=start_s,
        end_s=end_s,
        client_cpu_s=cpu_s,
        client_limited=f"perf_analyzer was {behind[0]}" if behind else None,
    )


def half_width(values: Sequence[float]) -> float:
    """Relative half-width of the 95 % interval of three windows' mean; infinite if unknown."""
    if len(values) != 3:
        return math.inf
    return T_95_OF_3 * statistics.stdev(values) / math.sqrt(3) / statistics.fmean(values)


def _without_figures(
    output: str, rule: SteadyStateRule, cpu_s: float, stop: Callable[[], bool] | None
) -> LoadResult:
    words = [line.strip() for line in output.splitlines() if "rror" in line]
    refused = [word for word in words if "had error" in word]
    if not refused and not (stop is not None and stop()):
        said = "; ".join(words) or output.strip()[-300:] or "no output; is the package empty?"
        raise SurroundingsError(f"perf_analyzer gave no results: {said}")
    now = time.monotonic()
    texts = tuple(dict.fromkeys(word.partition("had error: ")[2] for word in refused))[:3]
    nothing = Confidence(1.0, 1.0, rule.latency_percentile, reached=False)
    return LoadResult(0.0, None, nothing, 0, len(refused), texts, now, now, cpu_s)


def find() -> str | None:
    """The program: in the Python package that is installed beside ours, else on PATH."""
    package = importlib.util.find_spec("perf_analyzer")
    for folder in (package.submodule_search_locations or ()) if package else ():
        program = Path(folder, "bin", "perf_analyzer")
        if program.is_file():
            return str(program)
    return shutil.which("perf_analyzer")


@contextmanager
def start(cpus: Sequence[int] = ()) -> Iterator[PerfAnalyzer]:
    """A generator that runs perf_analyzer, on `cpus` alone where these are given.

    Raises InputError when it is not there.
    """
    binary = find()
    if binary is None:
        raise InputError(
            "perf_analyzer is not installed: `pip install perf-analyzer` (needs glibc 2.38), "
            "or use --load-generator http, which is built in."
        )
    with tempfile.TemporaryDirectory(prefix="model-placer-") as directory:
        yield PerfAnalyzer(binary, Path(directory), cpus)
