"""How well layouts hold: prediction against measurement, before and after calibration.

    python benchmarks/verify.py DIRECTORY [--minutes 5]

Profiles the example models on a CPU host of one core (Triton pinned to it, the load generator to
the others), places them on two to four such hosts, and runs every layout as Tritons under load, a
host at a time: one core is needed for the Triton, one for its callers. Then `profile --pairs`
measures models side by side, models are measured at part load, and all is placed and run again.
The last of the first layouts is run twice, which tells the machine's own noise. Everything is kept
in DIRECTORY; a run that is stopped, or ends with --minutes, is resumed by the same command.

Layouts, on 2, 3 and 4 hosts:
  least hardware   demands that fill so many hosts to 95 %, by what each model was measured to need
  most throughput  as much of every model as fits (--fairness max-min, so that none is left out)
  memory alone     all models in full, packed by memory; two or three are kept apart
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"
FILL = 0.95
APART = (["file_type", "ocr_detection"], ["file_type", "ocr_detection", "ocr_recognition"])


class Bench:
    """The steps, each done once in a directory."""

    def __init__(
        self, directory: Path, minutes: float, duration: str, hosts: tuple[int, ...]
    ) -> None:
        self.directory, self.duration, self.hosts = directory, duration, hosts
        self.store = directory / "profiles.db"
        self.end_s = time.monotonic() + 60 * minutes
        directory.mkdir(parents=True, exist_ok=True)

    def model_placer(self, *arguments: object) -> tuple[int, Any]:
        """Exit code and document of a command; ends the benchmark when its time is over."""
        if time.monotonic() > self.end_s:
            sys.exit("Time is over: the same command goes on from here.")
        done = subprocess.run(
            [sys.executable, "-c", "from analyzer.cli import main; main()"]
            + [str(argument) for argument in arguments]
            + ["--output-format", "json"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode > 1 or not done.stdout:
            sys.exit(f"model-placer {arguments[0]} failed with {done.returncode}")
        return done.returncode, json.loads(done.stdout)

    def once(self, name: str, *arguments: object) -> Any:
        """A command's document, from an earlier run if there was one."""
        file = self.directory / f"{name}.json"
        if not file.exists():
            _, document = self.model_placer(*arguments)
            file.write_text(json.dumps(document))
        return json.loads(file.read_text())

    def profile(self) -> list[dict[str, Any]]:
        core = min(os.sched_getaffinity(0))
        common = ("profile", "-m", EXAMPLES, "--store", self.store, "--gpus", "none")
        return self.once(
            "profile",
            *common,
            *("--cpus", core, "--batch-sizes", "1", "--concurrency", "1,2"),
            *("--max-duration", "4s"),
        )

    def pairs(self) -> None:
        core = min(os.sched_getaffinity(0))
        common = ("profile", "-m", EXAMPLES, "--store", self.store, "--gpus", "none")
        self.once("pairs", *common, "--cpus", core, "--pairs", "--max-duration", self.duration)

    def part_load(self) -> None:
        core = min(os.sched_getaffinity(0))
        common = ("profile", "-m", EXAMPLES, "--store", self.store, "--gpus", "none")
        self.once(
            "part-load",
            *common,
            *("--cpus", core, "--batch-sizes", "1", "--concurrency", "1,2"),
            *("--max-duration", "8s", "--part-load", "20,50,80,95"),
        )

    def layouts(self, profiled: list[dict[str, Any]], when: str) -> Iterator[tuple[str, Path]]:
        """Each layout's title and file, placed with what the store knows by now."""
        kind = profiled[0]["device_type"]
        for hosts in self.hosts:
            demand = self.directory / f"demand-{hosts}.json"
            demand.write_text(json.dumps({"models": rates(profiled, hosts)}))
            yield self.place(f"least hardware {hosts}", when, kind, "--demand", demand)
        for hosts in self.hosts:
            goal = ("--objective", "max-throughput", "--fairness", "max-min", "--count", hosts)
            yield self.place(f"most throughput {hosts}", when, kind, *goal)
        for group in (group for group in APART if len(group) in self.hosts):
            demand = self.directory / f"apart-{len(group)}.json"
            demand.write_text(json.dumps({"rules": {"apart": [group]}}))
            limits = ("--limits", "memory", "--demand", demand)
            yield self.place(f"memory alone {len(group)}", when, kind, *limits)

    def place(self, title: str, when: str, kind: str, *arguments: object) -> tuple[str, Path]:
        file = self.directory / f"{title.replace(' ', '-')}-{when}.yaml"
        if not file.exists():
            knowing = "--slowdown" if when == "after" else "--no-slowdown"
            common = ("--store", self.store, "--device", kind, "--time-limit", "5s", knowing)
            self.model_placer("place", *common, "-o", file, *arguments)
        return title, file


def rates(profiled: list[dict[str, Any]], hosts: int) -> dict[str, dict[str, float]]:
    """The same part of each model's best throughput, so that all fill so many hosts to FILL."""
    best: dict[str, dict[str, Any]] = {}
    for m in profiled:
        name, each = m["variant"]["model"], m["throughput"] / m["usage"]["utilization_percent"]
        if name not in best or each > best[name]["each"]:
            best[name] = {"each": each, **m}
    whole = sum(m["usage"]["utilization_percent"] for m in best.values()) / 100
    part = FILL * hosts / whole
    return {name: {"rate": round(part * m["throughput"], 2)} for name, m in best.items()}


def utilization_errors(seen: dict[str, Any]) -> list[float]:
    """By host, measured utilization against the forecast."""
    checks = [c for c in seen["checks"] if c["what"] == "utilization"]
    return [c["measured"] / c["predicted"] - 1 for c in checks if c["predicted"] and c["measured"]]


def print_noise(first: dict[str, Any], again: dict[str, Any]) -> None:
    """How far two runs of one layout differ: what no prediction can be better than."""
    pairs = [
        (a["what"], abs(b["measured"] / a["measured"] - 1))
        for a, b in zip(first["checks"], again["checks"], strict=True)
        if a["measured"] and b["measured"]
    ]
    for what in ("throughput", "utilization"):
        off = [difference for name, difference in pairs if name == what]
        if off:
            print(f"control: two runs of one layout differ in {what} by {max(off):.1%} at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--duration", default="5s", help="of each host's load")
    parser.add_argument("--hosts", default="2,3,4")
    arguments = parser.parse_args()
    hosts = tuple(int(word) for word in arguments.hosts.split(","))
    bench = Bench(arguments.directory, arguments.minutes, arguments.duration, hosts)
    profiled = bench.profile()
    errors: dict[str, list[float]] = {}
    used: dict[str, list[float]] = {}
    held: dict[str, list[bool]] = {}
    print(
        "| layout | hosts | replicas | median error | largest error | hold | use | layout holds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for when in ("before", "after"):
        for title, layout in bench.layouts(profiled, when):
            run = ("verify", layout, "-m", EXAMPLES, "--duration", arguments.duration)
            seen = bench.once(layout.stem, *run)
            checks = [c for c in seen["checks"] if c["what"] == "throughput"]
            checks = [c for c in checks if c["holds"] is not None]  # enough requests to tell
            off = [abs(c["measured"] / c["predicted"] - 1) for c in checks]
            errors.setdefault(when, []).extend(off)
            use = utilization_errors(seen)
            used.setdefault(when, []).extend(use)
            held.setdefault(when, []).append(seen["holds"])
            hosts = len({c["device"] for c in checks})
            print(
                f"| {title}, {when} | {hosts} | {len(off)} | {median(off):.1%} | {max(off):.1%} | "
                f"{sum(c['holds'] for c in checks)} | {', '.join(f'{e:+.0%}' for e in use)} | "
                f"{'yes' if seen['holds'] else 'no'} |",
                flush=True,
            )
        if when == "before":
            print_noise(seen, bench.once("control", *run))
            bench.pairs()
            bench.part_load()
    for when, off in errors.items():
        use = [abs(e) for e in used[when]]
        print(
            f"{when} calibration: {sum(held[when])} of {len(held[when])} layouts hold; median "
            f"error of {len(off)} throughputs {median(off):.1%}; of utilization on {len(use)} "
            f"hosts {median(use):.1%}, at most {max(use):.1%}"
        )
    told = bench.model_placer("show", "--store", bench.store, "--colocation")[1]
    print(
        f"pairs: {told['unseen_runs']} runs predicted by the others with a median error of "
        f"{told['median_error_of_unseen_runs']:.1%}, without a slowdown "
        f"{told['median_error_without_slowdown']:.1%}"
    )


if __name__ == "__main__":
    main()
