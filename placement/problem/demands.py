"""Demand files: what each model has to carry, and where models may go.

models:
  bert: { rate: 120, latency_limit_ms: 20, percentile: 99, replicas: 2, weight: 1 }
  llama: { rate: 2, first_response_limit_ms: 300, between_responses_limit_ms: 40, percentile: 95 }
rules:
  pins: [{ model: bert, device: node-a }]
  forbidden: [{ model: bert, device: lab }]
  apart: [[bert, gpt]]
  together: [[tokenizer, bert]]
  spread: [bert]
  excluded_devices: [node-b-2]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from placement.problem import Rules
from profiles.document import converter, read_yaml, structure
from profiles.errors import InputError


@dataclass(frozen=True)
class Demand:
    """What one model has to carry."""

    rate: float | None = None  # inferences per second
    latency_limit_ms: float | None = None
    percentile: int = 99  # of which the limits speak: 50, 90, 95 or 99
    first_response_limit_ms: float | None = None  # of a decoupled model: to the first response
    between_responses_limit_ms: float | None = None  # of a decoupled model: from one to the next
    replicas: int = 1  # at least
    weight: float = 1.0


@dataclass(frozen=True)
class Demands:
    """A demand file."""

    models: Mapping[str, Demand] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True)
class _At:
    model: str
    device: str


@dataclass(frozen=True)
class _Rules:
    pins: tuple[_At, ...] = ()
    forbidden: tuple[_At, ...] = ()
    apart: tuple[tuple[str, ...], ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    spread: tuple[str, ...] = ()
    excluded_devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class DemandFile:
    """A demand file as it is written."""

    models: dict[str, Demand] = field(default_factory=dict)
    rules: _Rules = field(default_factory=_Rules)


ABOVE_ZERO = ("rate", "latency_limit_ms", "first_response_limit_ms", "between_responses_limit_ms")
_converter = converter()


def load_demands(path: Path) -> Demands:
    """The demands in a YAML file; raises InputError that names the field at fault."""
    return read_demands(read_yaml(path), str(path))


def read_demands(document: Any, source: str = "demands") -> Demands:
    """The demands in a mapping."""
    if not isinstance(document, dict):
        raise InputError(f"{source}: a mapping with `models` or `rules` is expected.")
    read = structure(_converter, document, DemandFile, source)
    for name, demand in read.models.items():
        at = f"{source}: models.{name}"
        for label in ABOVE_ZERO:
            figure = getattr(demand, label)
            if figure is not None and not (isfinite(figure) and figure > 0):
                raise InputError(f"{at}.{label}: must be above zero, not {figure:g}.")
        if demand.percentile not in {50, 90, 95, 99}:
            raise InputError(f"{at}.percentile: must be 50, 90, 95 or 99.")
        if demand.replicas < 0:
            raise InputError(f"{at}.replicas: must not be negative.")
        if not (isfinite(demand.weight) and demand.weight >= 0):
            raise InputError(f"{at}.weight: must be at least 0.")
    rules = Rules(
        pins=tuple((r.model, r.device) for r in read.rules.pins),
        forbidden=tuple((r.model, r.device) for r in read.rules.forbidden),
        apart=read.rules.apart,
        together=read.rules.together,
        spread=read.rules.spread,
        excluded_devices=read.rules.excluded_devices,
    )
    return Demands(read.models, rules)
