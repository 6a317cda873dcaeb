"""Inputs of a model, from its server or its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from profiles import model_config
from profiles.errors import SurroundingsError
from profiles.model_config import ModelConfig

SEQUENCE_IDLE_US = 1_000_000  # Triton's own, where the model does not say


@dataclass(frozen=True)
class ModelInput:
    """An input of a loaded model."""

    name: str
    datatype: str  # as Triton says it: FP32, BYTES, ...
    dims: tuple[int, ...]  # without the batch; -1 is variable
    optional: bool = False


@dataclass(frozen=True)
class ModelInputs:
    """What requests for a model must match."""

    model: str
    max_batch_size: int  # 0: the model's dims include the batch, if it has one
    inputs: tuple[ModelInput, ...]
    decoupled: bool = False
    idle_limit_s: float | None = None  # of a stateful model's sequences
    text_ids: bool = False  # of these: the model takes their ids as strings


def describe(url: str, model: str) -> ModelInputs:
    """Inputs of a loaded model; raises SurroundingsError when the server does not respond."""
    from tritonclient.http import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    try:
        client = InferenceServerClient(url)
        try:
            metadata: dict[str, Any] = client.get_model_metadata(model)
            config: dict[str, Any] = client.get_model_config(model)
            every = _with_steps(client, config)
        finally:
            client.close()
    except (InferenceServerException, OSError) as error:
        raise SurroundingsError(f"Triton gives no metadata of {model}: {error}") from None
    limit = int(config["max_batch_size"])
    optional = {entry["name"] for entry in config["input"] if entry.get("optional")}
    inputs = [
        ModelInput(
            entry["name"],
            entry["datatype"],
            tuple(int(dim) for dim in entry["shape"])[1 if limit > 0 else 0 :],
            entry["name"] in optional,
        )
        for entry in metadata["inputs"]
    ]
    # An iterative model's request is a sequence of its own: Triton numbers it.
    stateful = [c["sequence_batching"] for c in every if "sequence_batching" in c]
    batching = next((b for b in stateful if not b.get("iterative_sequence")), None)
    idle_us = int((batching or {}).get("max_sequence_idle_microseconds", 0)) or SEQUENCE_IDLE_US
    return ModelInputs(
        model,
        limit,
        tuple(inputs),
        decoupled=any(c.get("model_transaction_policy", {}).get("decoupled") for c in every),
        idle_limit_s=None if batching is None else idle_us / 1e6,
        text_ids=batching is not None and _takes_text_ids(batching),
    )


def _takes_text_ids(batching: dict[str, Any]) -> bool:
    controls = [c for entry in batching.get("control_input", []) for c in entry.get("control", [])]
    return any(
        (c.get("kind"), c.get("data_type")) == ("CONTROL_SEQUENCE_CORRID", "TYPE_STRING")
        for c in controls
    )


def _with_steps(client: Any, config: dict[str, Any]) -> list[dict[str, Any]]:
    """The configuration of a model, and of those that it calls if it is an ensemble.

    An ensemble is stateful or decoupled as soon as one of these is.
    """
    steps = config.get("ensemble_scheduling", {}).get("step", [])
    found = [config]
    for name in dict.fromkeys(step["model_name"] for step in steps):
        found += _with_steps(client, client.get_model_config(name))
    return found


def describe_config(config: ModelConfig, model: str = "") -> ModelInputs | None:
    """Inputs from a configuration alone; None when the server completes it.

    `model` names it where the configuration does not.
    """
    if not config.input:
        return None
    inputs = [
        ModelInput(
            entry.name,
            model_config.datatype(entry.data_type),
            tuple(entry.dims),
            entry.optional,
        )
        for entry in config.input
    ]
    decoupled = config.model_transaction_policy.decoupled
    return ModelInputs(config.name or model, config.max_batch_size, tuple(inputs), decoupled)
