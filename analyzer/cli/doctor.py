"""`model-placer doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from analyzer.cli.command import command, emit
from analyzer.doctor import Finding, examine
from analyzer.triton.options import DEFAULT_IMAGE


@command("doctor")
@click.option("--triton-image", default=DEFAULT_IMAGE, help="The image of Docker mode.")
@click.pass_context
def doctor(ctx: click.Context, triton_image: str, output_format: str) -> None:
    """Report what is here to work with, and the remedy for what is missing.

    Exits with 3 when nothing here can run Triton.

    \b
    model-placer doctor
    model-placer doctor --output-format json
    """  # noqa: D301
    findings = examine(triton_image)
    emit([asdict(finding) for finding in findings], output_format, lambda: _table(findings))
    if not any(finding.runs_triton for finding in findings):
        click.echo(
            "Error: nothing here can run Triton; follow one of the first three remedies.", err=True
        )
        ctx.exit(3)


def _table(findings: list[Finding]) -> str:
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<8} {finding.name:<{width}}  {finding.detail}")
        if finding.remedy:
            lines += [
                f"{'':<8} {'':<{width}}  {'→ ' if first else '  '}{line.strip()}"
                for first, line in _numbered(finding.remedy)
            ]
    return "\n".join(lines)


def _numbered(text: str) -> list[tuple[bool, str]]:
    return [(index == 0, line) for index, line in enumerate(text.splitlines())]
