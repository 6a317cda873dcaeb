"""A first configuration file, written from what is in a model repository and on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from analyzer.devices.gpu import open_gpus
from analyzer.triton.options import DEFAULT_IMAGE
from profiles import json_schema, model_config, repository
from profiles.errors import InputError, SurroundingsError
from profiles.model_config import ModelConfig
from profiles.repository import ModelDirectory

PLACES = ("model_repository", "models", ".")  # where a repository is looked for
BATCH_SIZES = (1, 2, 4)
PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
NEVER_PLAIN = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def find_repository(folder: Path) -> Path:
    """The model repository in a folder; raises InputError that tells where one was looked for."""
    for place in PLACES:
        path = folder / place
        if path.is_dir() and any(path.glob("*/config.pbtxt")):
            return Path(place)
    raise InputError(
        f"No model repository was found in {folder} (looked in {', '.join(PLACES)}); -m DIR names "
        "the directory of models."
    )


def device_types() -> tuple[list[str], str]:
    """The GPUs and MIG slices of this machine by type, and why there are none, if so."""
    try:
        with open_gpus("auto") as gpus:
            return [gpu.device_type.name for gpu in gpus], "no GPU is seen here"
    except SurroundingsError as error:
        return [], str(error)


def starting_file(repository_path: Path, gpus: Sequence[str], why_none: str) -> str:
    """The text of a commented configuration file; raises InputError for a broken repository."""
    models = repository.read_repository(repository_path)
    parts = [
        json_schema.link("config"),
        "# Written by `model-placer init`; yours to edit. Then: model-placer run\n"
        "# docs/profiling.md has every field, `model-placer COMMAND --help` every option.\n\n"
        "store: profiles.db\n"
        f"model_repository: {json.dumps(str(repository_path))}\n"
        "layout: layout.yaml\n\n"
        "models: # a model that is left out here is not measured\n",
        *(_model(model, models) for model in models.values()),
        _profile(gpus, why_none),
        _place(gpus),
        "export:\n  output: deploy\n  format: [triton] # compose, kubernetes, nginx\n",
    ]
    return "".join(parts)


def open_inputs(model: ModelDirectory) -> dict[str, tuple[int, ...]]:
    """Inputs whose shape the model leaves open, with their dims; -1 is open."""
    if model.config is None:
        return {}
    return {
        entry.name: tuple(entry.dims)
        for entry in model.config.input
        if not entry.optional and any(dim < 0 for dim in entry.dims)
    }


def _model(model: ModelDirectory, models: Mapping[str, ModelDirectory]) -> str:
    fields = []
    lines = [f"  # {_about(model)}\n"]
    callers = [
        name
        for name, other in models.items()
        if other.config is not None and model.name in model_config.steps(other.config)
    ]
    if callers:
        lines.append(
            f"  # {', '.join(callers)} calls it and is measured with it: leave it out here if "
            "nothing else does\n"
        )
    missing = [
        step
        for step in (model_config.steps(model.config) if model.config is not None else ())
        if step not in models
    ]
    if missing:
        lines.append(f"  # it calls {', '.join(missing)}, which is not in this repository\n")
    config = model.config
    if config is not None and not model_config.is_stateful(config):
        fitting = [size for size in BATCH_SIZES if size <= max(1, config.max_batch_size)]
        if len(fitting) < len(BATCH_SIZES):
            fields.append(f"    batch_sizes: {fitting}\n")
    for name, dims in open_inputs(model).items():
        if not any("shapes:" in field for field in fields):
            fields.append("    shapes: # write the sizes that your requests have for each -1\n")
        fields.append(f"      {_key(name)}: {list(dims)}\n")
    head = f"  {_key(model.name)}:{'' if fields else ' {}'}\n"
    return "".join([*lines, head, *fields])


def _about(model: ModelDirectory) -> str:
    config = model.config
    if config is None:
        return "no config.pbtxt: Triton completes it, and tells of open shapes then"
    said = [_kind(config)]
    if model_config.steps(config):
        said.append(f"of {', '.join(model_config.steps(config))}")
    said.append(
        f"batches of up to {config.max_batch_size}" if config.max_batch_size else "no batching"
    )
    if config.HasField("dynamic_batching"):
        said.append("dynamic batching")
    inputs = [
        f"{entry.name} {model_config.datatype(entry.data_type)} {list(entry.dims)}"
        for entry in config.input
    ]
    return "; ".join([", ".join(said), *inputs])


def _kind(config: ModelConfig) -> str:
    if config.HasField("ensemble_scheduling"):
        return "ensemble"
    stateful = ", stateful (measured in sequences)" if model_config.is_stateful(config) else ""
    return f"{config.backend or config.platform or 'unknown backend'}{stateful}"


def _profile(gpus: Sequence[str], why_none: str) -> str:
    several = len(gpus) > 1
    found = f"{len(gpus)} here: {', '.join(sorted(set(gpus)))}"
    return (
        "\nprofile:\n"
        "  batch_sizes: [1, 2, 4] # inferences in one request\n"
        "  concurrency: [1, 2, 4] # requests in flight\n"
        "  # instance_counts: [1, 2] # copies of the model on a device\n"
        "  # max_queue_delays_us: [0, 100] # turns dynamic batching on\n"
        "  max_duration: 10s # of one point; most take less\n"
        f"  gpus: {f'auto # {found}' if gpus else f'none # the CPU: {why_none}'}\n"
        + ("  parallel: true # a model on each GPU\n" if several else "")
        + "  # launch_mode: docker # a Triton in Docker, with the image that you will serve with\n"
        f"  # triton_image: {DEFAULT_IMAGE}\n"
    )


def _place(gpus: Sequence[str]) -> str:
    device = f"  device: {json.dumps(gpus[0])}\n" if gpus else ""
    return (
        "\nplace:\n"
        "  objective: min-hardware # or max-throughput, with count:\n"
        f"{device}"
        "  max_memory: 90%\n"
        "  # demand: demand.yaml # rates and latency limits by model\n"
        "  output: layout.yaml\n\n"
    )


def _key(name: str) -> str:
    plain = PLAIN_KEY.fullmatch(name) and name.lower() not in NEVER_PLAIN
    return name if plain else json.dumps(name)
