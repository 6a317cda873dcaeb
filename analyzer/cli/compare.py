"""`model-placer compare`: what got slower, larger or hungrier between two stores or dates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from analyzer.cli import options
from analyzer.cli.command import command, emit, measured_models
from profiles.errors import InputError, NoAnswerError

if TYPE_CHECKING:
    from profiles.measurement import Measurement

DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}(:\d{2}){0,2})?")
DIGEST = re.compile(r"[0-9a-f]{4,}")


@command("compare")
@click.argument("before")
@click.argument("after")
@click.option(
    "--tolerance", type=options.PERCENT, default="5%", help="How much worse a figure may be."
)
@options.models("Models to compare  [default: all]")
@click.option("--all", "every", is_flag=True, help="Figures without a difference, too.")
@click.option("--markdown", is_flag=True, help="Markdown, for a comment on a pull request.")
def compare(
    before: str,
    after: str,
    tolerance: float,
    models: tuple[str, ...] | None,
    every: bool,
    markdown: bool,
    output_format: str,
) -> None:
    """Say what is worse in AFTER than BEFORE. Exit code 1: by more than the tolerance.

    Each is a store, or a store as it was at the end of a day (`profiles.db@2026-11-20`), or what it
    has of one version of a model's files (`profiles.db@3f2a91c0`, as the digests of `show
    --output-format json` begin). A difference within the confidence intervals is none.

    \b
    model-placer compare main.db branch.db --tolerance 10%
    model-placer compare profiles.db@2026-11-20 profiles.db --models bert
    model-placer compare main.db branch.db --markdown > comment.md
    """  # noqa: D301
    from dataclasses import asdict

    from analyzer.report import compare as comparing

    then, now = _measurements(before), _measurements(after)
    known = sorted({m.model for m in (*then, *now)})
    chosen = measured_models(known, models)
    found = comparing.compare(
        [m for m in then if m.model in chosen], [m for m in now if m.model in chosen], tolerance
    )
    if not found.points and not found.failing:
        raise InputError(
            f"{before} and {after} have no point in common: the same variant, load and device type."
        )
    if markdown and output_format != "table":
        raise InputError(f"Give either --markdown or --output-format {output_format}, not both.")
    emit(
        {"holds": found.holds, "tolerance": tolerance, **asdict(found)},
        output_format,
        lambda: (comparing.markdown if markdown else comparing.table)(
            found, tolerance, every=every
        ),
    )
    if not found.holds:
        raise NoAnswerError(comparing.summary(found, tolerance))


def _measurements(word: str) -> list[Measurement]:
    """The newest measurement of each point, of the store, date or version that a word means."""
    from profiles.measurement import Measurement
    from profiles.store import ProfileStore

    path, at, version = word.rpartition("@")
    if not at or Path(word).exists():
        path, at, version = word, "", ""
    date, digest = DATE.fullmatch(version), DIGEST.fullmatch(version)
    if at and not date and not digest:
        raise InputError(
            f"{word}: {version!r} is neither a date such as 2026-11-20 nor the beginning of a "
            "version's digest, which has at least 4 hexadecimal digits."
        )
    with ProfileStore(Path(path), read_only=True) as store:
        rows = store.rows()
    found = [
        r.what
        for r in rows
        if isinstance(r.what, Measurement)
        and r.withdrawn is None
        and (not date or r.what.measured_at[: len(version)] <= version)
        and (not digest or r.what.model_digest.startswith(version))
    ]
    if not found:
        raise InputError(f"{word}: has no measurements.")
    return found
