"""`place --verify`: repeats placing and verifying until a layout holds.

Two things are learnt of a layout that does not: how much its models slow each other, which the
store keeps, and how much more of a device than planned they use together. Where that breaks the
limit on utilization, the next round plans for as much less of it as was used too much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analyzer.deploy.verify import Verification, broken
from placement.layout import Layout
from profiles.errors import NoAnswerError


@dataclass(frozen=True)
class Round:
    """A layout and its verification."""

    layout: Layout
    seen: Verification


def place_until_it_holds(
    place: Callable[[float], Layout],
    try_out: Callable[[Layout], Verification],
    most: int,
    say: Callable[[str], None] = lambda _: None,
) -> Sequence[Round]:
    """Place, verify and place again with the new measurements, until a layout holds.

    Parameters
    ----------
    place
        Solves with the measurements that the store has, for the part of the limit on utilization
        that it is given; raises NoAnswerError when nothing fits.
    try_out
        Verifies a layout and stores co-location measurements.
    most
        Rounds.

    Raises
    ------
    NoAnswerError
        No layout held in so many rounds, or a failure changes nothing; the text says why.
    """
    rounds: list[Round] = []
    part = 1.0
    while True:
        try:
            layout = place(part)
        except NoAnswerError as error:
            if not rounds:
                raise
            raise NoAnswerError(
                f"Nothing fits with the measured slowdown: {error}\n"
                f"The last layout did not hold:\n{_reasons(rounds[-1].seen)}"
            ) from None
        if rounds and layout == rounds[-1].layout:
            raise NoAnswerError(
                "The layout does not hold, and the new measurements do not change it:\n"
                f"{_reasons(rounds[-1].seen)}\n"
                "Slowdown between models does not explain it. Profile again (`profile "
                "--remeasure`), or lower the limits of devices (--max-utilization, --max-memory)."
            )
        seen = try_out(layout)
        rounds.append(Round(layout, seen))
        if seen.holds:
            say(f"Round {len(rounds)}: the layout holds.")
            return rounds
        say(f"Round {len(rounds)}: the layout does not hold:\n{_reasons(seen)}")
        part *= _left(layout, seen)
        if part < 1:
            say(f"Planned for from now on: {part:.0%} of the limit on utilization.")
        if len(rounds) >= most:
            raise NoAnswerError(
                f"No layout held in {most} rounds. The last one:\n{_reasons(seen)}\n"
                "More --rounds may help: the store keeps the measurements."
            )


def _left(layout: Layout, seen: Verification) -> float:
    """The part of the limit on utilization that the next layout may plan for, 1 where it held."""
    limits = {device.name: device.capacity.get("utilization") for device in layout.devices}
    left = [
        limit / check.measured
        for check in seen.checks
        if check.what == "utilization" and check.holds is False
        if (limit := limits.get(check.device)) and check.measured
    ]
    return min([1.0, *left])


def _reasons(seen: Verification) -> str:
    return "\n".join(f"  {reason}" for reason in broken(seen.checks))
