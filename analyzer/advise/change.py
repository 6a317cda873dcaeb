"""The change to make: as a diff of `config.pbtxt`, or as the command that sweeps it."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace

from analyzer.advise.finding import Evidence, Finding
from profiles import model_config
from profiles.model_config import ModelConfig
from profiles.variant import Variant


def diff(evidence: Evidence, variant: Variant) -> str:
    """What the variant changes in `config.pbtxt`, its members' too, as a unified diff.

    Where a file is not known, the variant in words.
    """
    return "\n".join(filter(None, (_own(evidence, one) for one in (variant, *variant.members))))


def _own(evidence: Evidence, variant: Variant) -> str:
    model = evidence.models.get(variant.model)
    if model is None or model.config is None:
        return f"{variant.model}: {variant}"
    changed = evidence.config(variant)
    return "" if changed is None else config_diff(variant.model, model.config, changed)


def config_diff(model: str, before: ModelConfig, after: ModelConfig) -> str:
    """A unified diff of two configurations of a model."""
    name = f"{model}/config.pbtxt"
    lines = difflib.unified_diff(
        model_config.to_text(before, "").splitlines(),
        model_config.to_text(after, "").splitlines(),
        f"a/{name}",
        f"b/{name}",
        n=1,
        lineterm="",
    )
    return "\n".join(lines)


def sweep(model: str, **options: object) -> str:
    """The command that measures these settings: `instance_counts="1,2"`."""
    words = ["model-placer", "profile", "--models", model]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return " ".join(shlex.quote(word) for word in words)


SHARED = {  # by command of a sweep: options of `advise` that it has, too
    "profile": ("model_repository", "store"),
    "place": ("store", "fleet", "device", "demand"),
    "export": ("model_repository",),
    "advise": ("model_repository", "store", "fleet", "device", "demand"),
}


def as_typed(finding: Finding, typed: Mapping[str, str]) -> Finding:
    """The finding with sweeps that can be run as they stand: with the options typed for `advise`.

    What stands in the configuration file is read by the sweep itself.
    """
    command = finding.sweep.replace("--demand FILE", "") if "demand" in typed else finding.sweep
    for name, options in SHARED.items():
        words = [f"model-placer {name}"]
        for option in options:
            if option in typed:
                flag = "-m" if option == "model_repository" else f"--{option}"
                words += [flag, shlex.quote(typed[option])]
        parts = re.split(rf"model-placer {name}\b", command)
        command = " ".join(words).join(parts)
    return replace(finding, sweep=command.strip())
