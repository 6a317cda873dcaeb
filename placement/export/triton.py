"""Per server a model repository that Triton loads as it is.

`config.pbtxt` carries the chosen variant and all else that the original says; the original lies
beside it, comments and all. Version directories and further files are linked, or copied with their
links resolved, as is what the models use beside their directories (see `companions.py`).
`manifest.json` tells which repository belongs to which device.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from placement.export import folder
from placement.export.servers import ServedModel, Server, described
from profiles import model_config
from profiles.errors import InputError

ORIGINAL = "config.pbtxt.original"  # Triton reads `config.pbtxt` alone
LEFT_OUT = {"config.pbtxt", ORIGINAL, "__pycache__"}


def write(servers: Sequence[Server], target: Path, *, copy: bool = False) -> None:
    """Write `<target>/<server>/<model>/` for every model, and the manifest.

    Raises
    ------
    InputError
        A file of a model cannot be read, or a configuration does not survive its writing.
    """
    for server in servers:
        for model in server.models:
            _write_model(model, target / server.name / model.name, copy=copy)
        for entry in sorted({path for model in server.models for path in model.uses.beside}):
            place = target / server.name / entry.name
            if not place.exists():  # a model that is served there is at its place already
                _put(entry, place, copy=copy)
    manifest = {"servers": [{**described(server), "repository": server.name} for server in servers]}
    folder.write(target / "manifest.json", json.dumps(manifest, indent=2) + "\n")


def _write_model(model: ServedModel, directory: Path, *, copy: bool) -> None:
    directory.mkdir(parents=True)
    source = model.source.path
    original = source / "config.pbtxt"
    made_by = f"Written by Model Placer. {model.origin}."
    if original.is_file():
        made_by += f"\nThe model's own configuration is in {ORIGINAL}."
        shutil.copyfile(original, directory / ORIGINAL)
    file = directory / "config.pbtxt"
    model_config.write(file, model.config, made_by)
    if model_config.read(file) != model.config:
        raise InputError(f"{original}: its configuration does not survive being written anew.")
    for entry in sorted(source.iterdir()):
        if entry.name in LEFT_OUT or entry.name.startswith("."):
            continue
        _put(entry, directory / entry.name, copy=copy)
    if not model.source.versions:
        (directory / "1").mkdir(exist_ok=True)  # Triton wants one of an ensemble, too


def _put(source: Path, target: Path, *, copy: bool) -> None:
    if copy:
        _copy(source, target)
    else:
        target.symlink_to(source.resolve())


def _copy(source: Path, target: Path) -> None:
    try:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    except shutil.Error as error:
        path, _, reason = error.args[0][0]
        raise InputError(f"{path}: cannot be copied: {reason}") from None
    except OSError as error:
        raise InputError(f"{source}: cannot be copied: {error.strerror}") from None
