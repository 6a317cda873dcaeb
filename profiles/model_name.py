"""What may be a model's name: Triton takes it from a directory and puts it into URLs and paths."""

from __future__ import annotations

import unicodedata

from profiles.errors import InputError

LONGEST_BYTES = 255  # of a file's name on Linux

SHELL = set("&;|<>()$`\\\"'*{}!~")
_NEVER = {
    "Cc": "a control character or a line break",
    "Zl": "a line break",
    "Zp": "a line break",
    "Cs": "half a character",
}


def check_model_name(name: str, where: str = "") -> None:
    """Raise InputError when no directory of a model repository could have this name.

    `where` names the file and the place in it, and stands before the error's text.
    """
    why = unfit_for_path(name)
    if why is not None:
        at = f"{where}: " if where else ""
        raise InputError(
            f"{at}{name!r} cannot be the name of a model: {why}. Triton serves a model under the "
            "name of its directory."
        )


def unfit_for_path(name: str) -> str | None:
    """Why no file or directory can have this name, in words; None when one can."""
    if not name.strip():
        return "it is empty"
    if name in {".", ".."}:
        return "it means another directory"
    if "/" in name:
        return "it has a slash"
    for character in name:
        why = _NEVER.get(unicodedata.category(character))
        if why is not None:
            return f"it has {why}"
    if len(name.encode()) > LONGEST_BYTES:
        return f"it is longer than {LONGEST_BYTES} bytes"
    return None


def unfit_for_requests(name: str, backend: str) -> str | None:
    """Why Triton cannot be asked for a model of this name, in words; None when it can.

    Its HTTP interface does not decode what is escaped in a URL, and its Python backend starts its
    process through a shell (seen with 2.51).
    """
    odd = [c for c in name if not c.isascii() or c in " ?"]
    if odd:
        return f"Triton's HTTP interface takes no {odd[0]!r} in a name"
    special = [c for c in name if c in SHELL]
    if special and backend == "python":
        return f"the Python backend's shell takes {special[0]!r} for its own"
    return None
