"""What is left of a sweep that is interrupted, or killed, at a random moment.

    python benchmarks/interrupts.py --runs 24 [--docker IMAGE] [--seed 1]

Each run goes on with one sweep of the example models and gets SIGINT, SIGTERM, SIGHUP or SIGKILL
between 1 and 10 s after its start (before, Python itself is starting); a sweep that is done is
begun anew with another store. Told per signal: how long the command took to end, with what status;
how many processes, containers and shared-memory blocks were there five seconds later; how many
points were told and are not in the store, which must be sound. At last, what is left after a run
that nobody interrupted.
"""

from __future__ import annotations

import argparse
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

import psutil

from analyzer.triton.container import OWNER_PID
from analyzer.triton.docker import connect

EXAMPLES = Path(__file__).parents[1] / "examples" / "model_repository"
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATUS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
GONE_S = 5.0


class Ending(NamedTuple):
    """What came of a run."""

    number: signal.Signals
    took_s: float
    as_promised: bool  # its exit status
    left: list[str]  # of its processes, containers and shared memory
    told: int  # points
    lost: int  # of these, not in the store
    pid: int


def main() -> None:
    """Interrupt run after run, then tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--docker", metavar="IMAGE", help="launch mode docker, with this image")
    given = parser.parse_args()
    random = Random(given.seed)
    endings: list[Ending] = []
    with tempfile.TemporaryDirectory(prefix="interrupts-") as name:
        number = 0
        while len(endings) < given.runs:
            store, signal_ = Path(name) / f"{number}.db", SIGNALS[len(endings) % len(SIGNALS)]
            ending = interrupt(store, given.docker, signal_, random.uniform(1, 10))
            if ending is None:
                number += 1  # the sweep was done: another
                continue
            endings.append(ending)
            print(
                f"{ending.number.name}: {ending.took_s:.1f} s, {ending.told} points",
                file=sys.stderr,
            )
        interrupt(Path(name) / "last.db", given.docker, SIGNALS[0], 600)
    tell(endings, [name for ending in endings for name in left_by(ending.pid, [])])


def interrupt(
    store: Path, image: str | None, number: signal.Signals, after_s: float
) -> Ending | None:
    """Run the sweep and send it a signal; None when it was done before."""
    before = rows(store)
    docker = ["--launch-mode", "docker", "--triton-image", image] if image else []
    with subprocess.Popen(
        [
            *(sys.executable, "-c", "from analyzer.cli import main; main()", "profile"),
            *("-m", str(EXAMPLES), "--store", str(store), "--gpus", "none", *docker),
            *("--models", "ocr_orientation,file_type", "--max-duration", "1s"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=after_s)
            return None
        children = psutil.Process(process.pid).children(recursive=True)
        sent_s = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    took_s = time.monotonic() - sent_s
    psutil.wait_procs(children, timeout=GONE_S)
    told = len(re.findall(r"^\[\d+/\d+\]", said, re.MULTILINE))
    return Ending(
        number,
        took_s,
        process.returncode == STATUS[number] and "Traceback" not in said,
        left_by(process.pid, children),
        told,
        max(0, told - (rows(store) - before)),
        process.pid,
    )


def left_by(pid: int, children: list[psutil.Process]) -> list[str]:
    """Processes, shared memory and containers of a run."""
    left = [child.name() for child in children if child.is_running()]
    left += [path.name for path in Path("/dev/shm").glob(f"model-placer-{pid}-*")]
    try:
        with closing(connect()) as engine:
            label = f"{OWNER_PID}={pid}"
            found = engine.containers.list(all=True, ignore_removed=True, filters={"label": label})
            left += [str(container.name) for container in found]
    except OSError:
        pass  # no engine here, and so no containers
    return left


def rows(store: Path) -> int:
    """How many points a store has; ends the benchmark when it is broken."""
    if not store.exists():
        return 0
    with closing(sqlite3.connect(store)) as connection:
        if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            sys.exit(f"{store} is broken")
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if ("measurements",) not in tables:
            return 0
        return int(connection.execute("SELECT count(*) FROM measurements").fetchone()[0])


def tell(endings: list[Ending], still_left: list[str]) -> None:
    """A row for each signal."""
    print("| signal | runs | longest end | status as promised | left after 5 s | points lost |")
    print("|---|---|---|---|---|---|")
    by_signal: dict[signal.Signals, list[Ending]] = defaultdict(list)
    for ending in endings:
        by_signal[ending.number].append(ending)
    for number, some in by_signal.items():
        kept = sum(ending.told for ending in some)
        print(
            f"| {number.name} | {len(some)} | {max(e.took_s for e in some):.1f} s "
            f"| {sum(e.as_promised for e in some)} of {len(some)} "
            f"| {sum(len(e.left) for e in some)} | {sum(e.lost for e in some)} of {kept} |"
        )
    print(f"\nLeft after the last run: {', '.join(still_left) or 'nothing'}.")


if __name__ == "__main__":
    main()
