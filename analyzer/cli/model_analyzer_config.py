"""Model Analyzer's YAML as the options of `profile`, where the meanings agree.

What it has no meaning for here is named, so that nothing of it is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiles import repository
from profiles.errors import InputError

LARGEST = {  # of its automatic search, unless its file says otherwise
    "concurrency": (1, 1024),
    "model_batch_size": (1, 128),
    "instance_count": (1, 5),
}
PLAIN = {  # what is called otherwise here
    "model_repository": "model_repository",
    "triton_docker_image": "triton_image",
    "triton_http_endpoint": "url",
    "triton_grpc_endpoint": "grpc_url",
}
LATENCIES = {f"perf_latency_p{percent}": percent for percent in (50, 90, 95, 99)}
HEEDED = {
    *PLAIN,
    *("profile_models", "batch_sizes", "concurrency", "request_rate", "perf_analyzer_flags"),
    *("constraints", "latency_budget", "objectives", "triton_launch_mode", "client_protocol"),
    *("gpus", "run_config_search_mode", "run_config_search_disable", "cpu_only"),
    *(f"run_config_search_{end}_{name}" for end in ("min", "max") for name in LARGEST),
}
OF_MODEL = {"parameters", "model_config_parameters", "perf_analyzer_flags", "constraints"}
OF_MODEL |= {"objectives", "cpu_only"}


def is_model_analyzers(document: Any) -> bool:
    """Whether a configuration file is one of Model Analyzer."""
    return isinstance(document, Mapping) and "profile_models" in document


@dataclass
class _Reader:
    path: Path
    document: Mapping[str, Any]
    unheeded: list[str] = field(default_factory=list)
    limits_ms: dict[int, set[float]] = field(default_factory=dict)  # by percentile
    objectives: set[str] = field(default_factory=set)
    searches: bool = False  # something of a model is left to its automatic search


def translate(document: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    """The same as our configuration file, and notes on what is not heeded.

    Raises InputError that names file and field where it is not built as Model Analyzer takes it.
    """
    reader = _Reader(path, document)
    reader.unheeded += [name for name in document if name not in HEEDED]
    profile: dict[str, Any] = {
        ours: document[theirs] for theirs, ours in PLAIN.items() if theirs in document
    }
    models = {
        name: _model(reader, name, entry)
        for name, entry in _models(path, document["profile_models"]).items()
    }
    _launch(reader, profile)
    _flags(reader, document.get("perf_analyzer_flags"), "perf_analyzer_flags", profile)
    for entry in models.values():
        if "shapes" in profile:
            entry.setdefault("shapes", profile["shapes"])
    profile.pop("shapes", None)
    _goal(reader, profile)
    repository_path = profile.pop("model_repository", None)
    made: dict[str, Any] = {"models": models, "profile": profile}
    if repository_path is not None:
        made["model_repository"] = repository_path
    notes = []
    if reader.unheeded:
        notes.append(f"{path}: not heeded: {', '.join(reader.unheeded)}.")
    return made, notes


def _models(path: Path, value: Any) -> dict[str, Mapping[str, Any]]:
    if isinstance(value, str):
        value = [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, list):
        found: dict[str, Mapping[str, Any]] = {}
        for entry in value:
            found |= _models(path, entry) if isinstance(entry, Mapping) else {str(entry): {}}
        return found
    if not isinstance(value, Mapping):
        raise InputError(f"{path}: profile_models: expected names, or a mapping of them.")
    return {str(name): _mapping(path, f"profile_models: {name}", e) for name, e in value.items()}


def _model(reader: _Reader, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    where = f"profile_models: {name}"
    reader.unheeded += [f"{where}: {key}" for key in entry if key not in OF_MODEL]
    made: dict[str, Any] = {}
    parameters = _mapping(reader.path, f"{where}: parameters", entry.get("parameters"))
    settings = entry.get("model_config_parameters")
    _load(reader, where, parameters, made)
    batches = _batches(reader, name)
    if settings is not None:
        _settings(
            reader,
            f"{where}: model_config_parameters",
            _mapping(reader.path, f"{where}: model_config_parameters", settings),
            made,
        )
    elif not _says(reader, "run_config_search_disable"):
        reader.searches = True
        made["instance_counts"] = list(range(*_ends(reader, "instance_count", 1)))
        if batches:
            made["max_batch_sizes"] = _doubling(reader, "model_batch_size")
            made["max_queue_delays_us"] = [0]  # it turns the dynamic batcher on
    if _truth(entry.get("cpu_only", reader.document.get("cpu_only"))):
        made["kind"] = "KIND_CPU"
    own: dict[str, Any] = {}
    _flags(reader, entry.get("perf_analyzer_flags"), f"{where}: perf_analyzer_flags", own)
    for key, value in own.items():
        if key in {"shapes", "input_data"}:
            made[key] = value
        else:
            reader.unheeded.append(f"{where}: perf_analyzer_flags: {key}")
    _constraints(reader, f"{where}: constraints", entry.get("constraints"))
    reader.objectives |= set(_names(entry.get("objectives")))
    return made


def _batches(reader: _Reader, name: str) -> bool:
    """Whether the model takes batches, as far as its own configuration says so."""
    folder = reader.document.get("model_repository")
    if not isinstance(folder, str) or not (Path(folder) / name).is_dir():
        return True  # `profile` says what is missing
    config = repository.read_model(Path(folder), name).config
    return config is None or config.max_batch_size > 0


def _load(reader: _Reader, where: str, parameters: Mapping[str, Any], made: dict[str, Any]) -> None:
    given = {**reader.document, **parameters}
    for key in parameters:
        if key not in {"batch_sizes", "concurrency", "request_rate"}:
            reader.unheeded.append(f"{where}: parameters: {key}")
    made["batch_sizes"] = _numbers(reader, where, "batch_sizes", given.get("batch_sizes", 1))
    if "request_rate" in given:
        made["request_rates"] = _numbers(reader, where, "request_rate", given["request_rate"])
    elif "concurrency" in given:
        made["concurrency"] = _numbers(reader, where, "concurrency", given["concurrency"])
    elif _says(reader, "run_config_search_disable"):
        made["concurrency"] = [1]
    else:
        reader.searches = True
        made["concurrency"] = _doubling(reader, "concurrency")


def _settings(
    reader: _Reader, where: str, settings: Mapping[str, Any], made: dict[str, Any]
) -> None:
    for key, value in settings.items():
        if key == "max_batch_size":
            made["max_batch_sizes"] = _numbers(reader, where, key, value)
        elif key == "instance_group":
            _instances(reader, f"{where}: instance_group", value, made)
        elif key == "dynamic_batching":
            _batching(reader, f"{where}: dynamic_batching", value, made)
        elif key == "parameters":
            parameters = _mapping(reader.path, f"{where}: parameters", value)
            made["parameters"] = {
                name: [
                    str(one)
                    for one in _list(
                        entry.get("string_value") if isinstance(entry, Mapping) else entry
                    )
                ]
                for name, entry in parameters.items()
            }
        else:
            reader.unheeded.append(f"{where}: {key}")


def _instances(reader: _Reader, where: str, value: Any, made: dict[str, Any]) -> None:
    """Counts and the kind of the group; several groups of one model are named."""
    counts: list[int] = []
    kinds: list[str] = []
    several = isinstance(value, list) and any(isinstance(one, list) for one in value)
    for groups in value if several else [value]:
        if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], Mapping):
            reader.unheeded.append(f"{where} with several groups")
            continue
        group = groups[0]
        reader.unheeded += [f"{where}: {key}" for key in group if key not in {"count", "kind"}]
        counts += _numbers(reader, where, "count", group.get("count", 1))
        kinds += [str(kind) for kind in _list(group.get("kind", []))]
    if counts:
        made["instance_counts"] = sorted(set(counts))
    if len(set(kinds)) == 1:
        made["kind"] = kinds[0]
    elif kinds:
        reader.unheeded.append(f"{where}: kind (one of {', '.join(sorted(set(kinds)))} at a time)")


def _batching(reader: _Reader, where: str, value: Any, made: dict[str, Any]) -> None:
    fields = _mapping(reader.path, where, value)
    delays = fields.get("max_queue_delay_microseconds", 0)
    made["max_queue_delays_us"] = _numbers(reader, where, "max_queue_delay_microseconds", delays)
    sizes = _list(fields.get("preferred_batch_size", []))
    if sizes and isinstance(sizes[0], list):
        if len(sizes) > 1:
            reader.unheeded.append(f"{where}: preferred_batch_size beyond {sizes[0]}")
        sizes = sizes[0]
    if sizes:
        made["preferred_batch_sizes"] = sizes
    known = {"max_queue_delay_microseconds", "preferred_batch_size"}
    reader.unheeded += [f"{where}: {key}" for key in fields if key not in known]


def _launch(reader: _Reader, profile: dict[str, Any]) -> None:
    mode = reader.document.get("triton_launch_mode")
    if mode in {"local", "docker", "remote"}:
        profile["launch_mode"] = mode
    elif mode is not None:
        reader.unheeded.append(f"triton_launch_mode: {mode} (a server of its own is started)")
    protocol = reader.document.get("client_protocol")
    if protocol in {"http", "grpc"}:
        profile["load_generator"] = protocol
    elif protocol is not None:
        reader.unheeded.append(f"client_protocol: {protocol}")
    gpus = [str(gpu) for gpu in _list(reader.document.get("gpus", "all"))]
    if gpus != ["all"]:
        profile["gpus"] = ",".join(gpus) or "none"
        if len(gpus) > 1:
            profile["parallel"] = True


def _flags(reader: _Reader, value: Any, where: str, made: dict[str, Any]) -> None:
    for key, flag in _mapping(reader.path, where, value).items():
        if key == "shape":
            shapes = {}
            for text in _list(flag, words=False):
                name, colon, dims = str(text).rpartition(":")
                if not colon:
                    raise InputError(f"{reader.path}: {where}: shape: expected INPUT:1,2: {text!r}")
                shapes[name] = _numbers(reader, where, "shape", dims)
            made["shapes"] = shapes
        elif key == "input-data" and isinstance(flag, str):
            made["input_data"] = flag
        elif key == "percentile" and str(flag) in {"50", "90", "95", "99"}:
            made["latency_percentile"] = str(flag)
        elif key == "shared-memory":
            made["shared_memory"] = flag == "system"
            if flag not in {"system", "none"}:
                reader.unheeded.append(f"{where}: shared-memory: {flag}")
        else:
            reader.unheeded.append(f"{where}: {key}")


def _goal(reader: _Reader, profile: dict[str, Any]) -> None:
    document = reader.document
    _constraints(reader, "constraints", document.get("constraints"))
    if "latency_budget" in document:
        budget = _numbers(reader, "latency_budget", "latency_budget", document["latency_budget"])
        reader.limits_ms.setdefault(99, set()).update(budget)
    mode = str(document.get("run_config_search_mode", "brute"))
    if reader.searches or mode in {"quick", "optuna"}:
        profile["search"] = "auto"
        objectives = reader.objectives | set(_names(document.get("objectives")))
        more = objectives - {"perf_throughput"}
        profile["goal"] = "pareto" if more else "throughput"
        reader.unheeded += [
            f"objectives: {name} by itself (--goal pareto keeps all that is best at something)"
            for name in sorted(more)
        ]
    limits = [(percent, most) for percent, given in reader.limits_ms.items() for most in given]
    if len(limits) == 1 and profile.get("search") == "auto":
        (percent, profile["latency_limit"]) = limits[0]
        profile["latency_percentile"] = str(percent)
    elif limits:
        told = ", ".join(f"{most:g} ms at p{percent}" for percent, most in sorted(limits))
        reader.unheeded.append(f"limits of latency while measuring ({told}): `place --demand`")


def _constraints(reader: _Reader, where: str, value: Any) -> None:
    for key, entry in _mapping(reader.path, where, value).items():
        if key in LATENCIES and isinstance(entry, Mapping) and "max" in entry:
            limit = _numbers(reader, where, key, entry["max"])
            reader.limits_ms.setdefault(LATENCIES[key], set()).update(limit)
        else:
            reader.unheeded.append(f"{where}: {key}")


def _says(reader: _Reader, name: str) -> bool:
    return _truth(reader.document.get(name))


def _truth(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _ends(reader: _Reader, name: str, beyond: int = 0) -> tuple[int, int]:
    least, most = LARGEST[name]
    low, high = f"run_config_search_min_{name}", f"run_config_search_max_{name}"
    first = _numbers(reader, low, low, reader.document.get(low, least))
    last = _numbers(reader, high, high, reader.document.get(high, most))
    return first[0], last[0] + beyond


def _doubling(reader: _Reader, name: str) -> list[int]:
    first, last = _ends(reader, name)
    found = [first]
    while found[-1] * 2 <= last:
        found.append(found[-1] * 2)
    return found


def _numbers(reader: _Reader, where: str, key: str, value: Any) -> list[int]:
    """Numbers of a list, a range (`start`, `stop`, `step`), a word or one between commas."""
    try:
        if isinstance(value, Mapping):
            start, stop, step = value["start"], value["stop"], value.get("step", 1)
            return list(range(int(start), int(stop) + 1, int(step)))
        return [_number(one) for one in _list(value)]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{reader.path}: {where}: {key}: expected numbers such as [1, 2], 1,2 or "
            f"{{start: 1, stop: 8}}, not {value!r}."
        ) from None


def _number(value: Any) -> Any:
    number = float(value)
    return int(number) if number == int(number) else number


def _list(value: Any, *, words: bool = True) -> list[Any]:
    if isinstance(value, str) and words:
        return [word.strip() for word in value.split(",") if word.strip()]
    return list(value) if isinstance(value, list) else [value]


def _names(value: Any) -> Iterable[str]:
    names = list(value) if isinstance(value, Mapping) else _list([] if value is None else value)
    return [str(name) for name in names]


def _mapping(path: Path, where: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InputError(f"{path}: {where}: expected a mapping, not {value!r}.")
    return {str(key): one for key, one in value.items()}
