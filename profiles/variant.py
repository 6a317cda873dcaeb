"""A way to configure a model on Triton."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

InstanceKind = Literal["KIND_AUTO", "KIND_CPU", "KIND_GPU", "KIND_MODEL"]


@dataclass(frozen=True)
class DynamicBatching:
    """Triton's dynamic batcher: requests wait to be served together."""

    preferred_batch_sizes: tuple[int, ...] = ()
    max_queue_delay_us: int = 0


@dataclass(frozen=True)
class Variant:
    """One configuration of a model; `None` leaves what the model's own `config.pbtxt` says."""

    model: str
    max_batch_size: int | None = None
    instance_count: int | None = None  # per device
    kind: InstanceKind | None = None
    dynamic_batching: DynamicBatching | None = None
    parameters: tuple[tuple[str, str], ...] = ()  # backend parameters (key, string_value), sorted

    @property
    def key(self) -> str:
        """A short name that is equal for equal variants and safe in a file name."""
        document = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
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
        return ",".join(parts) or "as configured"
