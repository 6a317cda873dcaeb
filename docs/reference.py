"""Pages made of the code when the site is built: every command, every field of every file."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from analyzer.cli import COMMANDS, cli
from analyzer.deploy import judge, ramp, verification_file, verify
from placement.layout import layout
from placement.problem import demands, fleet_file, problem
from profiles import environment, measurement, variant

DOCS = Path(__file__).resolve().parent
log = logging.getLogger("mkdocs.reference")  # a warning fails a strict build
FIELD = re.compile(r"^    (\w+): ([^=#]+?)(?: = ([^#]+?))?(?:  # (.*))?$")
FILES: dict[str, tuple[str, list[tuple[ModuleType, list[str]]]]] = {
    "Layout (`layout.yaml`)": (
        "Written by `place -o`, read by `export`, `verify`, `diff`, `apply` and `report`.",
        [(layout, ["Layout", "PlacedDevice", "Resident"])],
    ),
    "Demand file": ("`place --demand`.", [(demands, ["Demands", "Demand"]), (problem, ["Rules"])]),
    "Fleet file": ("`place --fleet`: a list of these.", [(fleet_file, ["FleetRow"])]),
    "Verification": (
        "Written by `verify -o`, read by `report`.",
        [
            (verification_file, ["VerificationRecord"]),
            (verify, ["Verification"]),
            (judge, ["Check"]),
            (ramp, ["Headroom"]),
        ],
    ),
    "Measurement": (
        "A row of a store, as `show --output-format json` prints it.",
        [
            (
                measurement,
                [
                    *("Measurement", "LoadPoint", "Latency", "ServerTime", "Usage", "HostUsage"),
                    *("Confidence", "Baseline"),
                ],
            ),
            (variant, ["Variant", "DynamicBatching", "RateLimiter", "WarmUp", "HostPolicy"]),
            (environment, ["Environment"]),
        ],
    ),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    pages = {
        "reference/commands.md": commands(),
        "reference/files.md": file_formats(),
        "decisions/index.md": decisions(),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def decisions() -> str:
    """A page that lists the decisions."""
    lines = ["# Decisions", "", "Why things are as they are, the newest last.", ""]
    for page in sorted((DOCS / "decisions").glob("0*.md")):
        title = page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- [{title}]({page.name})")
    return "\n".join(lines) + "\n"


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links to files of the repository, which is no part of the site, become their names."""
    here = (DOCS / page.file.src_uri).parent

    def named(found: re.Match[str]) -> str:
        target = (here / found[2].partition("#")[0]).resolve()
        if target.is_relative_to(DOCS):
            return found[0]
        if not target.exists():
            log.warning("%s: links to %s, which is not there", page.file.src_uri, found[2])
        name = f"`{target.relative_to(DOCS.parent)}`"
        return name if found[1].strip("`") in name else f"{found[1]} ({name})"

    return re.sub(r"\[([^\]]+)\]\((\.\./[^)]+)\)", named, markdown)


def commands() -> str:
    """A page of every command's help."""
    parts = ["# Commands", "Made from `--help`. Options come from flags, from `MODEL_PLACER_*` in "
             "the environment and from `model-placer.yaml`, in this order."]  # fmt: skip
    root = click.Context(cli, info_name="model-placer")
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None
        parts += list(_help(command, click.Context(command, info_name=name, parent=root)))
    return "\n\n".join(parts) + "\n"


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    context.max_content_width = context.terminal_width = 98
    yield f"## {context.command_path.removeprefix('model-placer ')}"
    yield f"```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _help(inner, click.Context(inner, info_name=name, parent=context))


def file_formats() -> str:
    """A page of every field."""
    parts = ["# Files", "Made from the code that reads and writes them. A field with a default may "
             "be left out; a field that is not known is an error."]  # fmt: skip
    for title, (text, kinds) in FILES.items():
        parts += [f"## {title}", text]
        for module, names in kinds:
            for name in names:
                parts += [f"### {name}", _fields(getattr(module, name))]
    return "\n\n".join(parts) + "\n"


def _fields(kind: Any) -> str:
    """A table of a dataclass's fields; what a field means is its comment in the code."""
    known = {field.name for field in dataclasses.fields(kind)}
    lines = [_cell(inspect.getdoc(kind) or "").partition("\n")[0], ""]
    lines += ["| field | type | default | |", "|---|---|---|---|"]
    for line in inspect.getsource(kind).splitlines():
        found = FIELD.match(line)
        if found is None or found[1] not in known:
            continue
        name, of, default, comment = found.groups()
        default = re.sub(r"field\(default_factory=(\w+)\)", r"\1()", default or "")
        cells = [f"`{name}`", f"`{of}`", f"`{default}`" if default else "", comment or ""]
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
