"""The documentation: it builds without a broken link, and every command in it exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from analyzer.cli import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
COMMAND = re.compile(r"^(?:    )?(?:\$ )?(model-placer (?:[^\n]*\\\n)*[^\n]*)$", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            found += [(page.name, line) for line in COMMAND.findall(block)]
        found += [
            (page.name, line)
            for line in re.findall(r"^    (model-placer .*)$", page.read_text(), re.M)
        ]
    return found


def parsed(line: str) -> None:
    """Has click read the words; raises its error where one is not an option or argument."""
    words = shlex.split(line.replace("\\\n", " "), comments=True)[1:]
    for end in (">", "|", "&&"):
        words = words[: words.index(end)] if end in words else words
    command: click.Command = cli
    context = click.Context(cli, info_name="model-placer", resilient_parsing=True)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, inner, words = command.resolve_command(context, words)
        assert inner is not None
        command, context = inner, click.Context(inner, info_name=name, parent=context)
    _, left, _ = command.make_parser(context).parse_args(list(words))
    assert "--help" in words or not left or isinstance(command, click.Group), left


def test_there_are_commands_to_check():
    assert len(commands()) > 40


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_in_the_documentation_is_one(page: str, line: str):
    parsed(line)


def test_a_command_that_is_none_is_found():
    with pytest.raises(click.NoSuchOption):
        parsed("model-placer place --nope 1")
    with pytest.raises(click.UsageError):
        parsed("model-placer nope")


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path: Path):
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    commands_page = (tmp_path / "site" / "reference" / "commands" / "index.html").read_text()
    assert "--latency-limit" in commands_page
    files_page = (tmp_path / "site" / "reference" / "files" / "index.html").read_text()
    assert "latency_limit_ms" in files_page
