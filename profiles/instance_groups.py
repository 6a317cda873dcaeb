"""Instance groups of a configuration: where how many instances of a model run.

Groups stay as the model has them, with all that they say (TensorRT profiles, passive instances,
secondary devices, host policies, rate limiters): a variant changes counts and kinds, a device the
numbers of GPUs. Groups that differ in no more than count, GPUs and name are one group there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from profiles.errors import InputError
from profiles.variant import Variant

# What a backend does without a group, where that is not a GPU if there is one: each says it in its
# `TRITONBACKEND_GetBackendAttribute`, or its model does when it completes the configuration.
DEFAULT_KINDS = {
    "openvino": "KIND_CPU",
    "vllm": "KIND_MODEL",
    "tensorrtllm": "KIND_MODEL",
}


def set_instances(
    config: Any, variant: Variant, gpus: Iterable[int] | None, *, alone: bool = False
) -> None:
    """Put the variant's instances on `gpus`, in place; None leaves devices as they are.

    `alone` says that the server sees these GPUs only: where nothing else is asked, a model
    without a group then stays so, and its backend decides. Raises InputError for a count below one.
    """
    asked = variant.instance_count is not None or variant.kind is not None
    if not asked and (gpus is None or (alone and not config.instance_group)):
        return
    if variant.instance_count is not None and variant.instance_count < 1:
        raise InputError(f"{config.name}: instance count {variant.instance_count} is less than one")
    if not config.instance_group:
        kind = DEFAULT_KINDS.get(config.backend, "KIND_AUTO")
        added = config.instance_group.add()
        added.kind = type(added).Kind.Value(kind)
    on = None if gpus is None else list(gpus)
    for group in config.instance_group:
        _put(group, variant, on)
    _merge(config.instance_group)
    if variant.instance_count is not None:
        for group in varied_groups(config):
            group.count = variant.instance_count


def varied_groups(config: Any) -> list[Any]:
    """The groups whose count an instance count sets: those on GPUs if there are any, else all.

    Passive instances and those that run elsewhere stay as they are.
    """
    groups = [group for group in config.instance_group if not group.passive]
    on_gpus = [group for group in groups if _kind(group) in {"KIND_GPU", "KIND_AUTO"}]
    return on_gpus or groups


def _put(group: Any, variant: Variant, gpus: list[int] | None) -> None:
    kinds = type(group).Kind
    if variant.kind is not None:
        group.kind = kinds.Value(variant.kind)
    if _kind(group) in {"KIND_CPU", "KIND_MODEL"}:
        del group.gpus[:]  # Triton refuses GPUs on these
    elif gpus is not None:
        group.gpus[:] = gpus
        group.kind = kinds.Value("KIND_GPU")


def _merge(groups: Any) -> None:
    """Add up groups that differ in no more than count and name."""
    made: list[Any] = []
    for group in groups:
        same = next((other for other in made if _form(other) == _form(group)), None)
        if same is None:
            copy = type(group)()
            copy.CopyFrom(group)
            made.append(copy)
        else:
            same.count = max(1, same.count) + max(1, group.count)
    del groups[:]
    groups.extend(made)


def _form(group: Any) -> bytes:
    plain = type(group)()
    plain.CopyFrom(group)
    plain.ClearField("name")
    plain.ClearField("count")
    return bytes(plain.SerializeToString(deterministic=True))


def _kind(group: Any) -> str:
    return str(type(group).Kind.Name(group.kind))
