"""`verify` as a whole: start a layout, drive it, judge it, store co-location measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from analyzer.deploy import colocation
from analyzer.deploy.drive import Seen
from analyzer.deploy.judge import Check, drive_and_judge
from analyzer.deploy.ramp import Headroom, ramp
from analyzer.deploy.run_layout import RunningServer, start
from analyzer.load.inputs import Inputs
from analyzer.triton.options import LaunchOptions
from placement.layout import Layout, PlacedDevice
from profiles.colocation import Colocation
from profiles.measurement import Measurement
from profiles.store import ProfileStore


@dataclass(frozen=True)
class VerifyOptions:
    """How a layout is verified."""

    model_repository: Path
    duration_s: float = 30.0
    tolerance: float = 0.1
    ramp: bool = False
    urls: Mapping[str, str] = field(default_factory=dict)  # by device: Tritons that run already
    launch: LaunchOptions = field(default_factory=LaunchOptions)
    inputs: Inputs = field(default_factory=Inputs)
    store: Path | None = None  # where co-location measurements go


@dataclass(frozen=True)
class Verification:
    """The result of verifying a layout."""

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    headroom: Headroom | None = None

    @property
    def holds(self) -> bool:
        """Whether every figure that is judged held."""
        return all(check.holds is not False for check in self.checks)


def verify(
    layout: Layout,
    options: VerifyOptions,
    say: Callable[[str], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Start the layout, drive it, judge it, and store co-location measurements.

    Raises
    ------
    InputError
        The layout and the repository do not fit, or it names no load.
    SurroundingsError
        A Triton does not start, refuses a model or stops answering.
    """
    profiled: list[Measurement] = []
    if options.store is not None:
        with ProfileStore(options.store) as store:  # before the work: it may be unwritable
            profiled = store.measurements()
    beside: list[Colocation] = []

    def learn(server: RunningServer, device: PlacedDevice, seen: Seen) -> None:
        beside.extend(colocation.colocations(server, device, seen, profiled))

    with start(layout, options.model_repository, options.urls, options.launch, say) as started:
        groups, notes = started
        for note in notes:
            warn(note)
        say(f"Driving every model with its placed load for {options.duration_s:g} s")
        limits = {"duration_s": options.duration_s, "tolerance": options.tolerance}
        checks = drive_and_judge(groups, options.inputs.requests, **limits, on_seen=learn)
        if options.store is not None and beside:
            with ProfileStore(options.store) as store:
                store.add_colocations(beside)
            say(f"Stored {len(beside)} co-location measurements in {options.store}")
        found = Verification(checks, tuple(notes))
        if options.ramp:
            say("Raising all loads together")
            found = replace(found, headroom=ramp(groups, options.inputs.requests, **limits))
    return found


def broken(checks: Sequence[Check]) -> list[str]:
    """Reasons of the checks that failed."""
    return [check.reason or check.what for check in checks if check.holds is False]
