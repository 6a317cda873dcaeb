"""A way to configure a model on Triton."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from profiles.errors import InputError
from profiles.model_name import check_model_name

InstanceKind = Literal["KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL"]


@dataclass(frozen=True)
class DynamicBatching:
    """Triton's dynamic batcher: requests wait to be served together."""

    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_us: int = 0


@dataclass(frozen=True)
class RateLimitResource:
    """What an instance must hold while it runs."""

    name: str
    count: int  # that each instance takes
    available: int | None = None  # on the device; None: the most that any instance takes
    shared: bool = False  # by all devices of the server: Triton's `global`


@dataclass(frozen=True)
class RateLimiter:
    """When an instance may run: Triton heeds it under `--rate-limit=execution_count` alone."""

    resources: tuple[RateLimitResource, ...] = ()
    priority: int = 0  # 2 has half the chances of 1; 0: Triton's default, which is 1


@dataclass(frozen=True)
class WarmUp:
    """Requests that every instance answers before the model is ready."""

    requests: int  # of one inference, and as many of the largest batch; 0: none at all
    dims: tuple[tuple[str, tuple[int, ...]], ...] = ()  # of inputs that the model leaves open


@dataclass(frozen=True)
class HostPolicy:
    """Where on the host the instances run; the server must be started with the policy."""

    name: str
    settings: tuple[tuple[str, str], ...] = ()  # cpu-cores=0-3, numa-node=0; (): set elsewhere


@dataclass(frozen=True)
class Variant:
    """One configuration of a model; `None` leaves what the model's own `config.pbtxt` says.

    Raises InputError for a name that no model on Triton can have.
    """

    model: str
    max_batch_size: int | None = None
    instance_count: int | None = None  # per device
    kind: InstanceKind | None = None
    dynamic_batching: DynamicBatching | None = None
    parameters: tuple[tuple[str, str], ...] = ()  # backend parameters (key, string_value), sorted
    rate_limiter: RateLimiter | None = None
    warm_up: WarmUp | None = None
    host_policy: HostPolicy | None = None
    members: tuple[Variant, ...] = ()  # what it is composed of, in the order of loading

    def __post_init__(self) -> None:
        if self.model:  # without one it is a way to configure any model
            check_model_name(self.model)

    @property
    def key(self) -> str:
        """A short name that is equal for equal variants and safe in a file name."""
        document = json.dumps(_document(self), sort_keys=True, separators=(",", ":"))
        return f"{self.model}-{hashlib.sha256(document.encode()).hexdigest()[:10]}"

    def __str__(self) -> str:
        """What differs from the model's own configuration, in Triton's words."""
        parts = []
        if self.instance_count is not None:
            parts.append(f"instances={self.instance_count}")
        if self.max_batch_size is not None:
            parts.append(f"max_batch_size={self.max_batch_size}")
        if self.kind is not None:
            parts.append(self.kind)
        if self.dynamic_batching is not None:
            parts.append(f"dynamic_batching={self.dynamic_batching.max_queue_delay_us}us")
        parts += [f"{key}={value}" for key, value in self.parameters]
        if self.rate_limiter is not None:
            needs = [f"{r.count}{r.name}" for r in self.rate_limiter.resources]
            if self.rate_limiter.priority:
                needs.append(f"priority{self.rate_limiter.priority}")
            parts.append(f"rate_limiter={'+'.join(needs)}")
        if self.warm_up is not None:
            parts.append(f"warm_up={self.warm_up.requests}")
        if self.host_policy is not None:
            parts.append(f"host_policy={self.host_policy.name}")
        varied = [member for member in self.members if str(member) != AS_CONFIGURED]
        parts += [f"{member.model}({member})" for member in varied]
        return ",".join(parts) or AS_CONFIGURED


AS_CONFIGURED = "as configured"
_LATER: tuple[tuple[str, object], ...] = (
    ("rate_limiter", None),
    ("warm_up", None),
    ("host_policy", None),
    ("members", ()),
)


def _document(variant: Variant) -> dict[str, Any]:
    """What the key is made of: fields of later versions count when they say something.

    A store of an earlier version is thus still found to hold what was measured.
    """
    document = asdict(variant)
    for name, default in _LATER:
        if document[name] == default:
            del document[name]
    if variant.members:
        document["members"] = [_document(member) for member in variant.members]
    return document


def server_arguments(variants: Iterable[Variant]) -> tuple[str, ...]:
    """What `tritonserver` must be started with to serve them all; members count, too.

    Raises
    ------
    InputError
        Two of them define a host policy or the amount of a resource differently: a server has
        one definition.
    """
    limits: dict[str, int] = {}
    most: dict[str, int] = {}
    policies: dict[tuple[str, str], str] = {}
    rate_limited = False
    for variant in _with_members(variants):
        if variant.rate_limiter is not None:
            rate_limited = True
            for resource in variant.rate_limiter.resources:
                # Once one amount is given, Triton takes those that are not for zero.
                most[resource.name] = max(most.get(resource.name, 0), resource.count)
                if resource.available is None:
                    continue
                before = limits.setdefault(resource.name, resource.available)
                if before != resource.available:
                    raise InputError(
                        f"Resource {resource.name} is {before} in one variant and "
                        f"{resource.available} in another, but a server has one amount of it: "
                        "use two names, or two runs."
                    )
        if variant.host_policy is not None:
            name = variant.host_policy.name
            for setting, value in variant.host_policy.settings:
                before_value = policies.setdefault((name, setting), value)
                if before_value != value:
                    raise InputError(
                        f"Host policy {name} has {setting}={before_value} in one variant and "
                        f"{setting}={value} in another: give the second another name."
                    )
    return (
        *(["--rate-limit=execution_count"] if rate_limited else []),
        *(f"--rate-limit-resource={n}:{count}" for n, count in sorted({**most, **limits}.items())),
        *(f"--host-policy={name},{setting}={v}" for (name, setting), v in sorted(policies.items())),
    )


def _with_members(variants: Iterable[Variant]) -> Iterator[Variant]:
    for variant in variants:
        yield variant
        yield from _with_members(variant.members)
