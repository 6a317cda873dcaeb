"""Results as they come: a line of JSON and a line of text for each, so that a run may be cut."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

JSON, TEXT = "results.jsonl", "results.txt"


@dataclass(frozen=True)
class Record:
    """What one part found; kept in `folder` line by line."""

    folder: Path
    part: str
    pretended: bool

    def note(self, what: str, **figures: object) -> None:
        """Something that was found, without a judgement."""
        said = ", ".join(f"{name} {_short(value)}" for name, value in figures.items())
        self._write({"what": what, **figures}, f"{what}: {said}" if said else what)

    def check(self, what: str, measured: float, expected: float, within: float, unit: str) -> None:
        """A figure that is to be within so much of what it should be, in its own unit."""
        passed = abs(measured - expected) <= within
        self._write(
            {
                "what": what,
                "measured": measured,
                "expected": expected,
                "within": within,
                "unit": unit,
                "passed": passed,
            },
            f"{what}: {measured:.4g} {unit}, expected {expected:.4g} within {within:.3g}: "
            + ("pass" if passed else "FAIL"),
        )

    def must(self, what: str, *, passed: bool, **figures: object) -> None:
        """Something that is to be so."""
        said = ", ".join(f"{name} {_short(value)}" for name, value in figures.items())
        verdict = "pass" if passed else "FAIL"
        self._write(
            {"what": what, **figures, "passed": passed},
            f"{what}{': ' + said if said else ''}: {verdict}",
        )

    def _write(self, row: dict[str, object], said: str) -> None:
        at = {"part": self.part, "pretended": self.pretended, "at_s": round(time.time(), 3)}
        with (self.folder / JSON).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**at, **row}, default=str) + "\n")
        line = f"{self.part:<13} {said}"
        with (self.folder / TEXT).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        print(line, flush=True)


def rows(folder: Path) -> list[dict[str, object]]:
    """Everything that was found so far."""
    path = folder / JSON
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
