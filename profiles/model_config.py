"""Triton's `config.pbtxt`: read strictly, vary, write.

The message is tritonclient's own `ModelConfig`, the text is protobuf's text format; nothing is
parsed by hand. Text format loses comments, so an original is never overwritten: what is written
here is a new file with a header that says what made it.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from profiles.errors import InputError
from profiles.instance_groups import set_instances
from profiles.variant import DynamicBatching, RateLimiter, Variant, WarmUp

ModelConfig: TypeAlias = Any  # inference.ModelConfig; protobuf's classes are made at run time

BLANK = re.compile(r"\$\{\w+\}")  # of a template
FLOATS = {"TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_BF16"}
OF_MEMBERS = (
    "its models have instances, it has none; "
    "`members:` in the configuration file's `models:` varies them"
)
_MESSAGES = "tritonclient.grpc.model_config_pb2"


@cache
def _messages() -> Any:
    """Tritonclient's generated module, without importing gRPC, which costs a second.

    It is registered under its own name, so that a later `import tritonclient.grpc` finds it:
    one descriptor must not have two classes.
    """
    if _MESSAGES in sys.modules:
        return sys.modules[_MESSAGES]
    package = importlib.util.find_spec("tritonclient")
    if package is None or not package.submodule_search_locations:  # pragma: no cover
        raise ModuleNotFoundError("tritonclient")
    file = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location(_MESSAGES, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MESSAGES] = module
    spec.loader.exec_module(module)
    return module


def new(name: str = "") -> ModelConfig:
    """An empty configuration."""
    return _messages().ModelConfig(name=name)


def datatype(data_type: int) -> str:
    """A tensor's type as requests name it: FP32, and BYTES for TYPE_STRING."""
    name = str(_messages().DataType.Name(data_type)).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


def parse(text: str, source: str) -> ModelConfig:
    """The configuration in `text`.

    Raises
    ------
    InputError
        It does not parse or has an unknown field; the text names `source`, line and column.
    """
    from google.protobuf import text_format

    config = new()
    try:
        text_format.Parse(text, config)  # strict: an unknown field would be dropped in silence
    except text_format.ParseError as error:
        line, column = error.GetLine(), error.GetColumn()
        place = f"{source}:{line}:{column}" if line is not None else source
        reason = str(error).removeprefix(f"{line}:{column} : ")
        blank = BLANK.search(text)
        if blank is not None:
            reason = reason.rstrip(".") + (
                f". It is a template with {blank[0]} in it: fill in its blanks, those of "
                "TensorRT-LLM with its tools/fill_template.py"
            )
        raise InputError(f"{place}: not a Triton model configuration: {reason}") from None
    return config


def read(path: Path) -> ModelConfig:
    """The configuration in a `config.pbtxt`; raises InputError when it cannot be read.

    Comments may be in any encoding, as for Triton.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    try:
        return parse(content.decode(), str(path))
    except UnicodeDecodeError as error:
        not_text = InputError(f"{path}: not UTF-8 at byte {error.start}, outside a comment")
        try:
            config = parse(content.decode(errors="replace"), str(path))
        except InputError:
            raise not_text from None
        if "\ufffd" in to_text(config, ""):  # what stands for such bytes
            raise not_text from None
        return config


def to_text(config: ModelConfig, made_by: str) -> str:
    """The configuration in text format under a header that says what made it."""
    from google.protobuf import text_format

    header = "".join(f"# {line}\n" for line in made_by.splitlines())
    return header + text_format.MessageToString(config, use_index_order=True)


def write(path: Path, config: ModelConfig, made_by: str) -> None:
    """Write a new `config.pbtxt`; raises FileExistsError rather than overwrite one."""
    with path.open("x", encoding="utf-8") as file:
        file.write(to_text(config, made_by))


def to_json(config: ModelConfig) -> str:
    """The configuration as Triton's load request takes it."""
    from google.protobuf import json_format

    return json_format.MessageToJson(config, preserving_proto_field_name=True, indent=None)


def from_json(document: Mapping[str, Any]) -> ModelConfig:
    """The configuration as the server's `/config` endpoint gives it.

    Fields of a server newer than tritonclient's messages are left out: the answer is the
    server's own, not a user's text with a slip in it. Raises ValueError where it is none.
    """
    from google.protobuf import json_format

    config = new()
    try:
        json_format.ParseDict(dict(document), config, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        raise ValueError(f"is no configuration of a model: {error}") from None
    return config


def apply_variant(
    config: ModelConfig,
    variant: Variant,
    gpus: Iterable[int] | None = None,
    *,
    alone: bool = False,
) -> ModelConfig:
    """A copy of the configuration in which the variant's choices stand in place of its own.

    `gpus` pins GPU instances to devices: without it Triton puts `instance_count` instances on
    every GPU it sees; `alone`, it sees no others. See `instance_groups.py`.

    Raises
    ------
    InputError
        The variant asks for what the model cannot do.
    """
    varied = new()
    varied.CopyFrom(config)
    if variant.model:
        varied.name = variant.model
    _set_max_batch_size(varied, variant)
    _set_instances(varied, variant, gpus, alone=alone)
    if variant.dynamic_batching is not None:
        _set_dynamic_batching(varied, variant.dynamic_batching)
    if variant.rate_limiter is not None or variant.host_policy is not None:
        if varied.HasField("ensemble_scheduling"):
            raise InputError(f"{varied.name} is an ensemble: {OF_MEMBERS}")
        if len(varied.instance_group) == 0:
            varied.instance_group.add()
    for group in varied.instance_group:
        if variant.rate_limiter is not None:
            _set_rate_limiter(group, variant.rate_limiter)
        if variant.host_policy is not None:
            group.host_policy = variant.host_policy.name
    if variant.warm_up is not None:
        _set_warm_up(varied, variant.warm_up)
    for key, value in variant.parameters:
        varied.parameters[key].string_value = value
    _clip_preferred_batch_sizes(varied)
    return varied


def is_stateful(config: ModelConfig) -> bool:
    """Whether the model has sequence batching."""
    return bool(config.HasField("sequence_batching"))


def is_iterative(config: ModelConfig) -> bool:
    """Whether each request is a sequence of its own, which the model goes on with by itself."""
    return is_stateful(config) and bool(config.sequence_batching.iterative_sequence)


def steps(config: ModelConfig) -> tuple[str, ...]:
    """The models that an ensemble calls, each once; () of any other model."""
    if not config.HasField("ensemble_scheduling"):
        return ()
    return tuple(dict.fromkeys(step.model_name for step in config.ensemble_scheduling.step))


def _set_dynamic_batching(config: ModelConfig, batching: DynamicBatching) -> None:
    if config.HasField("ensemble_scheduling"):
        raise InputError(f"{config.name} is an ensemble: it has no dynamic batching")
    if config.HasField("sequence_batching"):
        raise InputError(f"{config.name} has sequence batching: it has no dynamic batching")
    batcher = config.dynamic_batching  # what else the model says of its batcher stays
    batcher.SetInParent()
    del batcher.preferred_batch_size[:]
    batcher.preferred_batch_size.extend(batching.preferred_batch_sizes)
    batcher.max_queue_delay_microseconds = batching.max_queue_delay_us


def _set_rate_limiter(group: Any, limiter: RateLimiter) -> None:
    group.ClearField("rate_limiter")
    for resource in limiter.resources:
        added = group.rate_limiter.resources.add(name=resource.name, count=resource.count)
        setattr(added, "global", resource.shared)  # a keyword of Python
    group.rate_limiter.priority = limiter.priority
    group.rate_limiter.SetInParent()


def _set_warm_up(config: ModelConfig, warm_up: WarmUp) -> None:
    """Requests of one inference and of the largest batch, with zeros for whole numbers.

    A random whole number may be no valid index.
    """
    if config.HasField("ensemble_scheduling") or config.HasField("sequence_batching"):
        what = "an ensemble" if config.HasField("ensemble_scheduling") else "stateful"
        raise InputError(f"{config.name} is {what}: it cannot be warmed up by requests of its own")
    del config.model_warmup[:]
    if warm_up.requests == 0:
        return
    dims = dict(warm_up.dims)
    for size in sorted({1, max(1, config.max_batch_size)}):
        entry = config.model_warmup.add(
            name=f"batch of {size}", batch_size=size, count=warm_up.requests
        )
        for source in config.input:
            if source.optional and source.name not in dims:
                continue
            tensor = entry.inputs[source.name]
            tensor.data_type = source.data_type
            tensor.dims.extend(dims.get(source.name, source.dims))
            if any(dim < 0 for dim in tensor.dims):
                raise InputError(
                    f"{config.name}: input {source.name} has open dims {list(source.dims)}, which "
                    f"its warm-up needs; --shape {config.name}/{source.name}:8, say, would fix them"
                )
            if _messages().DataType.Name(source.data_type) in FLOATS:
                tensor.random_data = True
            else:
                tensor.zero_data = True


def _set_max_batch_size(config: ModelConfig, variant: Variant) -> None:
    size = variant.max_batch_size
    if size is None:
        return
    if size < 0:
        raise InputError(f"{config.name}: max_batch_size {size} is negative")
    if (size == 0) != (config.max_batch_size == 0):
        # The batch dimension is implied by max_batch_size > 0: the dims mean something else.
        raise InputError(
            f"{config.name}: max_batch_size {config.max_batch_size} cannot become {size}, "
            "since that changes the shape of its inputs"
        )
    config.max_batch_size = size


def _set_instances(
    config: ModelConfig, variant: Variant, gpus: Iterable[int] | None, *, alone: bool
) -> None:
    if not config.HasField("ensemble_scheduling"):
        set_instances(config, variant, gpus, alone=alone)
    elif variant.instance_count is not None or variant.kind is not None:
        raise InputError(f"{config.name} is an ensemble: {OF_MEMBERS}")


def _clip_preferred_batch_sizes(config: ModelConfig) -> None:
    """Triton refuses a preferred size above max_batch_size, and says why in its log alone."""
    if not config.HasField("dynamic_batching"):
        return
    preferred = config.dynamic_batching.preferred_batch_size
    clipped = list(dict.fromkeys(min(size, config.max_batch_size) for size in preferred))
    del preferred[:]
    preferred.extend(size for size in clipped if size > 0)
