"""What a model uses that lies outside its own directory.

A model says so in the parameters of its configuration and in its own text files (code, settings).
What lies beside it in the repository keeps its place there, so that `../vocab` still leads to it;
absolute paths are the user's to mount; other models are those that business logic calls.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from profiles.repository import ModelDirectory

TEXTS = {".py", ".json", ".yaml", ".yml", ".txt", ".sh", ".cfg", ".ini", ".toml"}
LARGEST_TEXT_BYTES = 1 << 20  # what is larger is data
MODEL_DIRECTORY = "$$TRITON_MODEL_DIRECTORY"  # in a parameter of the Python backend
CALLS = re.compile(r"\bInferenceRequest\s*\(")  # of business logic, in the Python backend


@dataclass(frozen=True)
class Companions:
    """What a model uses beside its own directory."""

    beside: tuple[Path, ...] = ()  # files and directories of the repository
    mounted: tuple[Path, ...] = ()  # absolute paths in its parameters, which are here
    called: tuple[str, ...] = ()  # models of the repository that it names
    warnings: tuple[str, ...] = ()  # what cannot be exported, with the remedy


def companions(model: ModelDirectory, known: Collection[str], *, told: bool) -> Companions:
    """What the model uses; `known` are the repository's models, `told` if its calls are known."""
    root = model.path.parent
    values = dict(_parameters(model))
    text = "\n".join((*values.values(), *_texts(model.path)))
    beside = tuple(
        entry
        for entry in _entries(root)
        if entry.name != model.name and _mentions(text, entry, entry.name in known)
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
    quoted = [name for name in known if re.search(rf"[\"']{re.escape(name)}[\"']", code)]
    named = [n for n in (*values.values(), *quoted) if n in known and n != model.name]
    names = tuple(dict.fromkeys(named))
    found = f"{', '.join(names)}, by their names in it" if names else "none was found by its name"
    return names, [
        f"{model.name} calls other models from its code: {found}. --with-models "
        f"{model.name}={','.join(names) or 'OTHER,...'} says which, as for `profile`."
    ]


def _mentions(text: str, entry: Path, is_model: bool) -> bool:
    """Whether the text names what lies beside the model; of another model, its directory."""
    name = re.escape(entry.stem if entry.suffix == ".py" else entry.name)
    if is_model:
        return bool(re.search(rf"\.\.(/|[\"'],\s*[\"']){name}(?![\w-])", text))
    return bool(re.search(rf"(?<![\w-]){name}(?![\w-])", text))


def _parameters(model: ModelDirectory) -> Iterator[tuple[str, str]]:
    if model.config is not None:
        for key, value in model.config.parameters.items():
            yield key, value.string_value


def _entries(root: Path) -> tuple[Path, ...]:
    return tuple(
        sorted(e for e in root.iterdir() if not e.name.startswith(".") and e.name != "__pycache__")
    )


def _texts(folder: Path, kinds: Collection[str] = TEXTS) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in kinds and path.is_file() and path.stat().st_size <= LARGEST_TEXT_BYTES:
            yield path.read_text(encoding="utf-8", errors="replace")
