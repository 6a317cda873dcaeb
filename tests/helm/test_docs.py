"""The commands of docs/kubernetes.md: rendered by the real helm, parsed by the real command."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import yaml
from helm.conftest import CHART, Tools

from analyzer.cli import cli

PAGE = (CHART.parents[1] / "docs" / "kubernetes.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", "").splitlines()
]
INSTALLS = [each for each in COMMANDS if each.startswith(("helm install", "helm upgrade"))]
OURS = [each for each in COMMANDS if each.startswith("model-placer ")]


@pytest.mark.parametrize("line", INSTALLS)
def test_helm_renders_it(tools: Tools, line: str):
    words = [word for word in shlex.split(line)[2:] if word != "--reuse-values"]
    words[1] = str(CHART)
    if "models.existingClaim=models" not in words:  # an upgrade has it from before
        words += ["--set", "models.existingClaim=models"]
    assert "kind: Job" in tools.run("template", *words)


@pytest.mark.parametrize("line", OURS)
def test_the_command_parses_it(line: str):
    name, *rest = shlex.split(line)[1:]
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    command.make_context(name, rest)


def test_the_jobs_that_are_waited_for_are_the_charts(tools: Tools):
    text = tools.text({"models": {"existingClaim": "m"}, "shards": {"count": 2}}, "placer")
    documents = [each for each in yaml.safe_load_all(text) if each]
    names = {each["metadata"]["name"] for each in documents if each["kind"] == "Job"}
    waited = set(re.findall(r"job/([\w-]+)", "\n".join(COMMANDS)))
    assert waited == names
    claims = [each for each in documents if each["kind"] == "PersistentVolumeClaim"]
    assert f"`{claims[0]['metadata']['name']}`" in PAGE


def test_kubectl_takes_what_the_page_gives_it(tools: Tools):
    """Without a cluster kubectl can only tell that it knows the flags: it fails at the address."""
    for line in (each for each in COMMANDS if each.startswith("kubectl wait")):
        done = subprocess.run(
            [str(tools.kubectl), "--server=http://127.0.0.1:9", *shlex.split(line)[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "refused" in done.stderr
