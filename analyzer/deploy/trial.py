"""A layout on trial: started, driven, judged; and what models did to each other kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from analyzer.deploy import colocation
from analyzer.deploy import verify as verifying
from analyzer.deploy.running_layout import RunningServer, start
from analyzer.deploy.verify import Check, Seen, Verification
from analyzer.load.generator import PreparedRequest
from analyzer.load.inputs import make_requests
from analyzer.measure.profiling import Inputs
from analyzer.triton.launch import LaunchOptions
from placement.layout import Layout, PlacedDevice
from profiles.colocation import Colocation
from profiles.errors import NoAnswerError
from profiles.measurement import Measurement
from profiles.store import ProfileStore


@dataclass(frozen=True)
class TrialOptions:
    """How a layout is tried."""

    model_repository: Path
    duration_s: float = 30.0
    tolerance: float = 0.1
    ramp: bool = False
    urls: Mapping[str, str] = field(default_factory=dict)  # by device: Tritons that run already
    launch: LaunchOptions = field(default_factory=LaunchOptions)
    inputs: Inputs = field(default_factory=Inputs)
    store: Path | None = None  # where co-location measurements go


def run(
    layout: Layout,
    options: TrialOptions,
    say: Callable[[str], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Start the layout, drive it, judge it, and keep what was learnt.

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

    def requests(url: str, model: str, batch_size: int) -> list[PreparedRequest]:
        inputs = options.inputs
        return make_requests(
            url, model, batch_size, shapes=inputs.of(model), data=inputs.data_of(model)
        )

    def learn(server: RunningServer, device: PlacedDevice, seen: Seen) -> None:
        beside.extend(colocation.colocations(server, device, seen, profiled))

    with start(layout, options.model_repository, options.urls, options.launch, say) as started:
        groups, notes = started
        for note in notes:
            warn(note)
        say(f"Driving every model with its placed load for {options.duration_s:g} s")
        limits = {"duration_s": options.duration_s, "tolerance": options.tolerance}
        checks = verifying.verify(groups, requests, **limits, on_seen=learn)
        if options.store is not None and beside:
            with ProfileStore(options.store) as store:
                store.add_colocations(beside)
            say(f"{len(beside)} co-location measurements are in {options.store}")
        found = Verification(checks, tuple(notes))
        if options.ramp:
            say("Raising all loads together")
            found = replace(found, headroom=verifying.ramp(groups, requests, **limits))
    return found


@dataclass(frozen=True)
class Round:
    """A layout that was placed, and what its trial showed."""

    layout: Layout
    seen: Verification


def place_until_it_holds(
    place: Callable[[], Layout],
    try_out: Callable[[Layout], Verification],
    most: int,
    say: Callable[[str], None] = lambda _: None,
) -> Sequence[Round]:
    """Place, try, learn and place again; the last round's layout holds.

    Parameters
    ----------
    place
        Decides by what the store knows by now; raises NoAnswerError when nothing fits any more.
    try_out
        Tries a layout and keeps in the store what it showed.
    most
        Rounds.

    Raises
    ------
    NoAnswerError
        No layout held in so many rounds, or nothing can be learnt from a failure; it says why.
    """
    rounds: list[Round] = []
    while True:
        try:
            layout = place()
        except NoAnswerError as error:
            if not rounds:
                raise
            raise NoAnswerError(
                f"With the slowdown that was measured nothing fits any more: {error}\n"
                f"The last layout did not hold:\n{_reasons(rounds[-1].seen)}"
            ) from None
        if rounds and layout == rounds[-1].layout:
            raise NoAnswerError(
                "The layout does not hold, and what was measured changes nothing about it:\n"
                f"{_reasons(rounds[-1].seen)}\n"
                "Slowdown between models explains none of it. Profile anew (`profile --remeasure`),"
                " or lower what devices are filled with (--max-utilization, --max-memory)."
            )
        seen = try_out(layout)
        rounds.append(Round(layout, seen))
        if seen.holds:
            say(f"Round {len(rounds)}: the layout holds.")
            return rounds
        say(f"Round {len(rounds)}: the layout does not hold:\n{_reasons(seen)}")
        if len(rounds) >= most:
            raise NoAnswerError(
                f"No layout held in {most} rounds. The last one:\n{_reasons(seen)}\n"
                "More --rounds may help: the store keeps what was learnt."
            )


def broken(checks: Sequence[Check]) -> list[str]:
    """Why a layout does not hold."""
    return [check.reason or check.what for check in checks if check.holds is False]


def _reasons(seen: Verification) -> str:
    return "\n".join(f"  {reason}" for reason in broken(seen.checks))
