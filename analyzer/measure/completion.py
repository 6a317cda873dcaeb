"""Files that say how a shard ended, for `merge --wait-for` on the same volume.

`FILE` is made when the part is done. `FILE.tries` has a line when a try began and one when it
failed: a try that was killed leaves no second line, and counts as failed once the next has begun.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from profiles.errors import InputError, SurroundingsError

POLL_S = 1.0  # a volume of the network shows another node's new file some seconds late anyway
BEGAN, FAILED, INTERRUPTED = "began", "failed", "interrupted"


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Make the file when the block succeeds; record its tries beside it.

    An interrupt (a pod that is evicted, say) is no failure. Raises InputError where no file can be
    made.
    """
    with _said(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: is not a regular file; name one to make.")
        path.unlink(missing_ok=True)  # of an earlier run
    _add(path, BEGAN, datetime.now(UTC).isoformat(timespec="seconds"))
    try:
        yield
    except Exception as error:
        _add(path, FAILED, str(error) or type(error).__name__)
        raise
    except BaseException:
        _add(path, INTERRUPTED)
        raise
    with _said(path):
        path.touch()
        _tries(path).unlink()


@dataclass(frozen=True)
class Missing:
    """A shard that is not done."""

    path: Path  # the file that was waited for
    reason: str
    ended: bool  # it failed for good; False: it may still be running


def wait(
    paths: Sequence[Path],
    limit_s: float,
    say: Callable[[str], None],
    tries: int | None = None,
    *,
    without_failed: bool = False,
) -> list[Missing]:
    """Return when every file is there, or its part has failed `tries` times.

    Returns
    -------
    list[Missing]
        The parts that failed or did not end within the limit, `without_failed`.

    Raises
    ------
    SurroundingsError
        Some failed so often, or did not end in time; it names them. `without_failed`: all did.
    """
    ends = time.monotonic() + limit_s
    said = -1
    while True:
        waiting = [path for path in paths if not path.exists()]
        reasons = {path: given_up(path, tries) for path in waiting}
        failed = [Missing(path, why, ended=True) for path, why in reasons.items() if why]
        late = [Missing(path, "", ended=False) for path, why in reasons.items() if not why]
        if failed and not without_failed:
            raise SurroundingsError(_words(failed, len(paths)))
        if not late:
            break
        if time.monotonic() >= ends:
            failed += [Missing(each.path, f"not done within {limit_s:g} s", False) for each in late]
            if not without_failed:
                raise SurroundingsError(f"{_words(failed, len(paths))} --wait-limit waits longer.")
            break
        if len(waiting) != said:
            said = len(waiting)
            say(f"{len(paths) - said} of {len(paths)} parts are done.")
        time.sleep(min(POLL_S, max(0.01, ends - time.monotonic())))
    if failed and len(failed) == len(paths):
        raise SurroundingsError(_words(failed, len(paths)))
    return failed


def given_up(path: Path, tries: int | None) -> str:
    """Why the shard is no longer waited for; empty while it is."""
    try:
        text = _tries(path).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    lines = [line.partition(" ") for line in text.splitlines()]
    failures = [
        words if word == FAILED else "killed"
        for i, (word, _, words) in enumerate(lines)
        # One that began and was killed is followed by the next.
        if word == FAILED or (word == BEGAN and lines[i + 1 : i + 2] and lines[i + 1][0] == BEGAN)
    ]
    if tries is None or len(failures) < tries:
        return ""
    return f"failed {len(failures)} times, the last time: {failures[-1]}"


def _tries(path: Path) -> Path:
    return path.with_name(f"{path.name}.tries")


def _add(path: Path, *words: str) -> None:
    line = " ".join(" ".join(words).split())  # one line, also of a multi-line error
    with _said(path), _tries(path).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.") from None


def _words(missing: Sequence[Missing], of: int) -> str:
    each = "; ".join(f"{part.path}: {part.reason}" for part in missing)
    return f"{len(missing)} of {of} parts are not done: {each}. See their logs."
