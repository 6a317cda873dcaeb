"""`place --verify`: place, verify, learn from what was seen, and place again until it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analyzer.deploy.verify import Verification, broken
from placement.layout import Layout
from profiles.errors import NoAnswerError


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
        if len(rounds) >= most:
            raise NoAnswerError(
                f"No layout held in {most} rounds. The last one:\n{_reasons(seen)}\n"
                "More --rounds may help: the store keeps the measurements."
            )


def _reasons(seen: Verification) -> str:
    return "\n".join(f"  {reason}" for reason in broken(seen.checks))
