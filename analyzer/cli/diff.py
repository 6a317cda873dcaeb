"""`model-placer diff`: what changes between two layouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit
from analyzer.report.text_table import text_table

if TYPE_CHECKING:
    from placement.layout.diff import Diff


@command("diff")
@click.argument("old", type=options.PATH)
@click.argument("new", type=options.PATH)
def diff(old: Path, new: Path, output_format: str) -> None:
    """Say which models move, load and unload from layout OLD to NEW, in a safe order.

    No step takes more memory than a device has, and none leaves a model of both layouts without a
    replica; where that cannot be, it says so.

    \b
    model-placer diff layout.yaml better.yaml
    """  # noqa: D301
    from placement.layout import diff as diffing
    from placement.layout import layout as layouts

    found = diffing.diff(layouts.load(old), layouts.load(new))
    emit(document(found), output_format, lambda: table(found))


def document(found: Diff) -> dict[str, Any]:
    """The changes as plain data."""
    return {
        "moved": [{"model": m, "from": list(a), "to": list(b)} for m, a, b in found.moved],
        "kept": found.kept,
        "rates": [
            {"model": m, "device": d, "old": old, "new": new} for m, d, old, new in found.rates
        ],
        "steps": [
            {
                "action": step.action,
                "model": step.model,
                "device": step.device,
                "variant": str(step.resident.variant or "as configured"),
                "note": step.note,
            }
            for step in found.steps
        ],
        "gaps": list(found.gaps),
    }


def table(found: Diff) -> str:
    """The changes as text."""
    if found.empty and not found.rates:
        return f"Nothing changes: {_kept(found.kept)}."
    parts = []
    for model, was, will in found.moved:
        if was and will:
            parts.append(f"{model} moves from {', '.join(was)} to {', '.join(will)}")
        else:
            parts.append(f"{model} {'goes from' if was else 'comes to'} {', '.join(was or will)}")
    parts += [
        f"{m} on {d} carries {new:.4g} infer/s instead of {old:.4g}"
        for m, d, old, new in found.rates
    ]
    parts.append(_kept(found.kept))
    text = "\n".join(parts)
    if found.steps:
        text += "\n\n" + steps_table(found)
    if found.gaps:
        text += "\n\nNot without a gap:\n  " + "\n  ".join(found.gaps)
    return text


def _kept(number: int) -> str:
    return "1 replica stays as it is" if number == 1 else f"{number} replicas stay as they are"


def steps_table(found: Diff) -> str:
    """The steps in their order."""
    rows = [
        [
            number,
            step.action,
            step.model,
            step.device,
            str(step.resident.variant or "as configured"),
            step.note or "",
        ]
        for number, step in enumerate(found.steps, 1)
    ]
    return text_table(["step", "do", "model", "device", "variant", "note"], rows, left=6)
