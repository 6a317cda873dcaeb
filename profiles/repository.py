"""A Triton model repository: a directory with a directory for each model."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from profiles import model_config
from profiles.errors import InputError
from profiles.model_config import ModelConfig
from profiles.model_name import check_model_name

MOST_NAMES = 20  # in a message
LAST_VERSION = 2**63 - 1  # what Triton reads a version's directory into


@dataclass(frozen=True)
class ModelDirectory:
    """A model in a repository; `config` is None when the server is to complete it."""

    name: str
    path: Path
    versions: tuple[int, ...]  # ascending; empty for an ensemble
    config: ModelConfig | None


def read_repository(path: Path) -> dict[str, ModelDirectory]:
    """Every model of the repository by name, in alphabetical order.

    Raises
    ------
    InputError
        The repository is missing or empty, or a model in it is broken.
    """
    return {name: read_model(path, name) for name in model_names(path)}


def model_names(path: Path) -> tuple[str, ...]:
    """The names of the models in a repository; raises InputError when there is none.

    A directory whose name no model can have is not among them; see `unfit_directories`.
    """
    unfit = unfit_directories(path)
    return tuple(name for name in _directories(path) if name not in unfit)


def unfit_directories(path: Path) -> dict[str, str]:
    """By directory whose name no model can have, why; raises InputError as `model_names`."""
    found = {}
    for name in _directories(path):
        try:
            check_model_name(name, f"Model repository {path}")
        except InputError as error:
            found[name] = str(error)
    return found


def _directories(path: Path) -> tuple[str, ...]:
    if not path.exists():
        raise InputError(
            f"Model repository {path} does not exist; -m names the directory of models"
        )
    if not path.is_dir():
        raise InputError(f"Model repository {path} is not a directory")
    names = tuple(
        sorted(entry.name for entry in path.iterdir() if entry.is_dir() and _is_model(entry))
    )
    if not names:
        raise InputError(
            f"Model repository {path} is empty: it needs a directory for each model, "
            "such as my_model/config.pbtxt and my_model/1/model.onnx"
        )
    return names


def read_model(repository: Path, name: str) -> ModelDirectory:
    """One model of a repository.

    Raises
    ------
    InputError
        It has no version directory, its configuration does not parse, or the name in it is not
        the directory's.
    """
    path = repository / name
    file = path / "config.pbtxt"
    config = model_config.read(file) if file.exists() else None
    if config is not None and config.name not in {"", name}:
        raise InputError(
            f"{file}: name is {config.name!r}, but its directory is {name!r}; "
            "Triton needs both to be equal. Model Analyzer's output repository is taken as "
            "--variants beside the models' own repository"
        )
    versions = tuple(sorted(_versions(path)))
    if not versions and not (config is not None and config.HasField("ensemble_scheduling")):
        raise InputError(
            f"Model {name} in {repository} has no version directory: put its files into "
            f"{path / '1'}, or move {path} out of the repository if it is no model"
        )
    return ModelDirectory(name, path, versions, config)


def composed_of(
    repository: Path, model: ModelDirectory, also: Mapping[str, Iterable[str]] | None = None
) -> dict[str, ModelDirectory]:
    """The models that a model calls, and those that these call, in the order of loading.

    An ensemble's steps say so themselves; `also` names, by model, those that business logic calls
    from its code.

    Raises
    ------
    InputError
        One of them is not in the repository or broken, or a model calls itself in the end.
    """
    found: dict[str, ModelDirectory] = {}
    known: tuple[str, ...] = ()  # read when there is something to look up: most models call none

    def visit(caller: ModelDirectory, above: tuple[str, ...]) -> None:
        nonlocal known
        config = caller.config
        called = model_config.steps(config) if config is not None else ()
        for name in dict.fromkeys((*called, *(also or {}).get(caller.name, ()))):
            if name in above:
                raise InputError(f"{' calls '.join((*above, name))}: a model cannot call itself")
            known = known or model_names(repository)
            if name not in known:
                raise InputError(
                    f"{caller.name} is composed of models, and one of them is not in "
                    f"{repository}: {unknown_name('model', name, known)}"
                )
            if name not in found:
                member = read_model(repository, name)
                visit(member, (*above, name))
                found[name] = member

    visit(model, (model.name,))
    return found


def select(known: Collection[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """The wanted names in their order, each once.

    Raises
    ------
    InputError
        A name is not known; the text suggests the nearest that is.
    """
    chosen = tuple(dict.fromkeys(wanted))
    for name in chosen:
        if name not in known:
            raise InputError(unknown_name("model", name, known))
    return chosen


def unknown_name(kind: str, name: str, known: Collection[str]) -> str:
    """A message with the nearest known name, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"Unknown {kind} {name!r}. Did you mean {near[0]!r}?"
    listed = sorted(known)
    more = f" and {len(listed) - MOST_NAMES} more" if len(listed) > MOST_NAMES else ""
    return f"Unknown {kind} {name!r}. Known {kind}s: {', '.join(listed[:MOST_NAMES])}{more}"


def _is_model(entry: Path) -> bool:
    # Hidden directories (.git, a volume's lost+found and Kubernetes' ..data) are no models.
    return not entry.name.startswith(".") and entry.name not in {"lost+found", "__pycache__"}


def _versions(path: Path) -> Iterator[int]:
    for entry in path.iterdir():
        # Triton ignores directories whose name is no number, or one with a leading zero.
        name = entry.name
        number = name.isascii() and name.isdecimal()
        if entry.is_dir() and number and (name == "0" or not name.startswith("0")):
            if int(name) > LAST_VERSION:
                raise InputError(
                    f"{entry}: a version is at most {LAST_VERSION}, and Triton ends on a greater "
                    "one: rename the directory"
                )
            yield int(name)
