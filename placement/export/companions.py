"""What a model uses that lies outside its own directory.

A model says so in the parameters of its configuration and in its own text files (code, settings).
What lies beside it in the repository keeps its place there, so that `../vocab` still leads to it;
absolute paths are the user's to mount; other models are those that business logic calls.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from profiles.repository import ModelDirectory

TEXTS = {".py", ".json", ".yaml", ".yml", ".txt", ".sh", ".cfg", ".ini", ".toml"}
LARGEST_TEXT_BYTES = 1 << 20  # what is larger is data
MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"  # in a parameter of the Python backend
CALLS = re.compile(r"\bInferenceRequest\s*\(")  # of business logic, in the Python backend


Entries = Sequence[tuple[str, Path]]  # of a repository, by the names that texts call them


@dataclass(frozen=True)
class Companions:
    """What a model uses beside its own directory."""

    beside: tuple[Path, ...] = ()  # files and directories of the repository
    mounted: tuple[Path, ...] = ()  # absolute paths in its parameters, which are here
    called: tuple[str, ...] = ()  # models of the repository that it names
    warnings: tuple[str, ...] = ()  # what cannot be exported, with the remedy


def companions(
    model: ModelDirectory,
    known: Collection[str],
    *,
    told: bool,
    entries: Entries | None = None,
) -> Companions:
    """What the model uses.

    `known` are the repository's models, `told` if its calls are known; `entries` is what
    `entries_of` the repository gives, which is read again when it is left out.
    """
    root = model.path.parent
    entries = entries_of(root) if entries is None else entries
    values = dict(_parameters(model))
    text = "\n".join((*values.values(), *_texts(model.path)))
    beside = tuple(
        entry
        for plain, entry in entries
        if plain in text  # of thousands of models nearly none: a pattern for each takes minutes
        and entry.name != model.name
        and _mentions(text, entry)
    )
    mounted, warnings = [], []
    for key, value in values.items():
        path = Path(value.replace(MODEL_DIRECTORY, str(model.path)))
        where = f"{model.name}: parameter {key} names {value}"
        if value.startswith("/"):
            if path.exists():
                mounted.append(path)
                warnings.append(f"{where}: it has to be at that path wherever the model is served.")
            else:
                warnings.append(f"{where}, which is not here: nothing can be said of it.")
        elif ".." in path.parts:
            full = (path if path.is_absolute() else model.path / path).resolve()
            if not full.exists():
                warnings.append(f"{where}, which is not there.")
            elif not full.is_relative_to(root.resolve()):
                warnings.append(
                    f"{where}, which lies outside the repository {root} and is not exported: "
                    "move it into the repository."
                )
    called: tuple[str, ...] = ()
    if not told:
        called, doubt = _called(model, known, values)
        warnings += doubt
    return Companions(beside, tuple(mounted), called, tuple(warnings))


def _called(
    model: ModelDirectory, known: Collection[str], values: dict[str, str]
) -> tuple[tuple[str, ...], list[str]]:
    """The models that its parameters or its code name, and a warning where that is a guess."""
    code = "\n".join(_texts(model.path, {".py"}))
    if not CALLS.search(code):
        return (), []
    mentioned = [name for name in known if f'"{name}"' in code or f"'{name}'" in code]
    quoted = [name for name in mentioned if _is_model(model.path.parent / name)]
    named = [n for n in (*values.values(), *quoted) if n in known and n != model.name]
    named = [name for name in named if _is_model(model.path.parent / name)]
    names = tuple(dict.fromkeys(named))
    found = f"{', '.join(names)}, by their names in it" if names else "none was found by its name"
    return names, [
        f"{model.name} calls other models from its code: {found}. --with-models "
        f"{model.name}={','.join(names) or 'OTHER,...'} says which, as for `profile`."
    ]


def _is_model(entry: Path) -> bool:
    return entry.is_dir() and (
        (entry / "config.pbtxt").is_file()
        or any(child.name.isdecimal() for child in entry.iterdir())
    )


def _mentions(text: str, entry: Path) -> bool:
    """Whether the text has a path to what lies beside the model, or imports it.

    Of another model a path alone counts: its name in quotes may be that of a model to call.
    """
    name, module = re.escape(entry.name), re.escape(entry.stem)
    ways = [rf"\.\.(/|[\"'],\s*[\"']){name}(?![\w-])"]
    if not _is_model(entry):
        ways += [rf"[\"']{name}[\"'/]", rf"(?m:^\s*(import|from)\s+{module}\b)"]
    return any(re.search(way, text) for way in ways)


def _parameters(model: ModelDirectory) -> Iterator[tuple[str, str]]:
    if model.config is not None:
        for key, value in model.config.parameters.items():
            yield key, value.string_value


def entries_of(root: Path) -> Entries:
    """What lies in the repository, hidden files left out, by the names that texts call it."""
    there = (e for e in root.iterdir() if not e.name.startswith(".") and e.name != "__pycache__")
    return tuple((e.stem if e.suffix == ".py" else e.name, e) for e in sorted(there))


def _texts(folder: Path, kinds: Collection[str] = TEXTS) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in kinds and path.is_file() and path.stat().st_size <= LARGEST_TEXT_BYTES:
            yield path.read_text(encoding="utf-8", errors="replace")
