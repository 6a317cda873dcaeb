"""`profile --parallel`: several GPUs at once, a model on each, each with a Triton of its own.

Each device type has a queue of models, those with most points first; a GPU that is done takes the
next of its type's queue. So every model is measured on every type, and what a GPU that fails has
not measured goes to the others of its type.
"""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from analyzer.devices.gpu import open_gpus
from analyzer.load.child import Child, end
from analyzer.measure import profile
from analyzer.measure.grid import Point
from analyzer.measure.loop import Progress
from analyzer.measure.options import Options
from analyzer.measure.plan import Plan, make_plan
from analyzer.measure.profile import Outcome
from profiles.counted import counted
from profiles.errors import InputError, SurroundingsError
from profiles.measurement import Measurement

MOST_TRIES = 2  # a model that brought down so many GPUs is not given to a third
END_S = 60.0  # a GPU's process and its Triton may take so long to end; then they are killed
INTERRUPT_END_S = 8.0  # the same when everything is to end at once


@dataclass(frozen=True)
class GpuName:
    """A GPU to measure on."""

    index: str
    uuid: str
    device_type: str

    def __str__(self) -> str:
        return f"GPU {self.index}"


@dataclass
class _Job:
    """What is left to measure of a model."""

    points: list[Point]
    tries: int = 0


@dataclass(eq=False)
class _Worker:
    """A GPU's process."""

    gpu: GpuName
    child: Child
    state: Literal["starting", "idle", "busy", "ending", "over"] = "starting"
    job: _Job | None = None
    known: list[Measurement] = field(default_factory=list)
    error: Exception | None = None  # why it takes no more jobs

    def fileno(self) -> int:
        """What `select` waits on for its next message."""
        return self.child.fileno()

    def tell(self, message: object) -> None:
        """Send it a message; `hear` reports when it has ended."""
        with suppress(BrokenPipeError):
            self.child.tell(message)

    def hear(self) -> tuple[str, Any]:
        """Its next message; `failed` when it has ended."""
        try:
            kind, value = self.child.hear()
        except (EOFError, OSError):
            reason = f"its process ended with status {self.child.process.wait()}"
            return "failed", SurroundingsError(reason)
        return kind, value


def run(
    options: Options,
    on_progress: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Measure what the store does not have yet, on all chosen GPUs at once.

    Raises
    ------
    InputError
        There are fewer than two GPUs; else as `profile.run`.
    SurroundingsError
        GPUs failed, and no other of their type was left; every point that ended is in the store.
    """
    gpus = choose_gpus(options)
    plan = make_plan(options, say)
    if not plan.models:
        return profile.run(options, on_progress, say)
    with _workers(options, plan, gpus) as workers:
        sweep = _Sweep(
            workers, options.search is not None or bool(options.part_load), on_progress, say
        )
        while awaited := [w for w in workers if w.state in {"starting", "busy", "ending"}]:
            for worker in select.select(awaited, [], [])[0]:
                sweep.handle(worker, *worker.hear())
        return replace(sweep.outcome(), left_out=plan.left_out)


def choose_gpus(options: Options) -> list[GpuName]:
    """The GPUs to measure on; raises InputError when there are not two, or a launch mode has one.

    Raises SurroundingsError when NVML does not work.
    """
    if options.launch.mode == "remote":
        raise InputError("--parallel starts a Triton per GPU: it cannot use --launch-mode remote.")
    if options.gpus == "none":
        raise InputError("--parallel needs GPUs: models on one CPU host would slow each other.")
    with open_gpus("all" if options.gpus == "auto" else options.gpus) as found:
        gpus = [GpuName(gpu.index, gpu.uuid, gpu.device_type.name) for gpu in found]
    if len(gpus) < 2:
        there = ", ".join(f"{gpu} ({gpu.device_type})" for gpu in gpus) or "none"
        raise InputError(
            f"--parallel needs at least two GPUs; available: {there}. Leave it out, or choose "
            "others with --gpus."
        )
    if 0 < len(options.launch.cpus) < len(gpus):
        raise InputError(f"--cpus names fewer CPUs than there are GPUs ({len(gpus)}).")
    return gpus


class _Sweep:
    """Assigns models to workers and handles their messages."""

    def __init__(
        self,
        workers: Sequence[_Worker],
        searching: bool,
        on_progress: Callable[[Progress], None],
        say: Callable[[str], None],
    ) -> None:
        self.workers = workers
        self.searching = searching  # the number of points is not known in advance
        self.on_progress = on_progress
        self.say = say
        self.lines: dict[str, list[_Job]] = {}  # what waits, by type of device
        self.total = self.done = 0
        self.started_s = time.monotonic()

    def handle(self, worker: _Worker, kind: str, value: Any) -> None:
        """Take a message of a worker's."""
        if kind == "said":
            self.say(f"{worker.gpu}: {value}")
        elif kind == "ready":
            worker.state = "idle"
            self._note_missing(worker.gpu, *value)
        elif kind == "measured":
            self._note_measured(worker, value)
        elif kind == "done":
            worker.state, worker.job = "idle", None
        elif kind == "known":
            worker.state, worker.known = "over", value
        elif kind == "failed":
            self._note_failure(worker, value)
        self._give()

    def _note_missing(self, gpu: GpuName, triton: str, missing: list[Point]) -> None:
        if gpu.device_type in self.lines:
            return
        by_model = itertools.groupby(missing, key=lambda point: point.variant.model)
        jobs = [_Job(list(points)) for _, points in by_model]
        self.lines[gpu.device_type] = sorted(jobs, key=lambda job: -len(job.points))
        self.total += len(missing)
        there = (
            "as many as it takes"
            if self.searching
            else f"{counted(len(missing), 'point')} to measure"
        )
        self.say(f"{counted(len(jobs), 'model')} on {gpu.device_type}, {triton}: {there}.")

    def _note_measured(self, worker: _Worker, measurement: Measurement) -> None:
        assert worker.job is not None
        self.done += 1
        total, left_s = None, None
        if not self.searching:
            made = (measurement.variant, measurement.load)
            worker.job.points = [p for p in worker.job.points if (p.variant, p.load) != made]
            mean_s = (time.monotonic() - self.started_s) / self.done
            total, left_s = self.total, mean_s * (self.total - self.done)
        self.on_progress(Progress(self.done, total, left_s, measurement, str(worker.gpu)))

    def _note_failure(self, worker: _Worker, error: Exception) -> None:
        worker.state, worker.error = "over", error
        self.say(f"{worker.gpu} failed: {error}")
        job, worker.job = worker.job, None
        if job is not None and job.points:
            job.tries += 1
            self.lines[worker.gpu.device_type].append(job)

    def _give(self) -> None:
        """Assign jobs to idle workers; once none is busy, have all end."""
        if any(worker.state == "starting" for worker in self.workers):
            return  # how many points there are is known when all have looked
        idle = [worker for worker in self.workers if worker.state == "idle"]
        for worker in idle:
            line = self.lines[worker.gpu.device_type]
            job = next((job for job in line if job.tries < MOST_TRIES), None)
            if job is not None:
                line.remove(job)
                worker.state, worker.job = "busy", job
                worker.tell(job.points)
        if not any(worker.state == "busy" for worker in self.workers):
            for worker in idle:
                worker.state = "ending"
                worker.tell(None)

    def outcome(self) -> Outcome:
        """Measurements of all points; raises SurroundingsError when some could not be measured."""
        known: dict[str, list[Measurement]] = {}
        undone = []
        for name in dict.fromkeys(worker.gpu.device_type for worker in self.workers):
            left = self.lines.get(name)
            if left is None or left:  # None: no GPU of the type even started
                models = sorted({p.variant.model for job in left or [] for p in job.points})
                undone.append(f"{', '.join(models) or 'every model'} on {name}")
        if undone:
            reasons = "; ".join(f"{w.gpu}: {w.error}" for w in self.workers if w.error)
            raise SurroundingsError(f"Could not measure all of {'; '.join(undone)}. {reasons}")
        for worker in self.workers:
            known.setdefault(worker.gpu.device_type, worker.known)
            known[worker.gpu.device_type] = known[worker.gpu.device_type] or worker.known
        return Outcome([m for each in known.values() for m in each], self.done)


@contextmanager
def _workers(options: Options, plan: Plan, gpus: Sequence[GpuName]) -> Iterator[list[_Worker]]:
    """A process for each GPU; they end with the `with` block, and with us."""
    workers: list[_Worker] = []
    limit_s = INTERRUPT_END_S
    try:
        for number, gpu in enumerate(gpus):
            workers.append(_Worker(gpu, Child("analyzer.measure.gpu_worker")))
            cpus = options.launch.cpus[number :: len(gpus)]
            launch = replace(options.launch, cpus=cpus)
            mine = replace(options, gpus=gpu.uuid, launch=launch, in_parallel=True)
            workers[-1].tell((mine, plan.points))
        yield workers
        limit_s = END_S
    finally:
        end([worker.child for worker in workers], limit_s)
