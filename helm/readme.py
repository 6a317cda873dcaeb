"""Write the chart's README from its values: `python helm/readme.py`.

Helm has no such command of its own. A comment `# --` before a value describes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).with_name("model-placer")
HEAD = """\
# model-placer

{description}

```
helm install placer helm/model-placer --set models.existingClaim=models
helm test placer --logs   # once the Job is complete: prints the layout
```

A Job runs a Triton and the profiler in one container with one GPU, then places and exports. With
`shards.count` it is an Indexed Job, each index with a device of its own, and a second Job merges
and places. [docs/kubernetes.md](../../docs/kubernetes.md) goes through it step by step.

All pods satisfy the restricted Pod Security Standard unless `models.hostPath` is used. No pod has
a token of the cluster's API.

## Values

| Value | Default | What it is |
|---|---|---|
"""
FOOT = "\nWritten from `values.yaml` by `helm/readme.py`.\n"


def readme() -> str:
    """The README's text."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values, said = yaml.safe_load(text), descriptions(text)
    rows = "".join(
        f"| `{key}` | `{json.dumps(value)}` | {said.get(key, '')} |\n"
        for key, value in leaves(values, said)
    )
    return HEAD.format(description=chart["description"]) + rows + FOOT


def descriptions(text: str) -> dict[str, str]:
    """By a value's dotted name, the comment before it."""
    found: dict[str, str] = {}
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        key = re.match(r"( *)(\w+):", line)
        words = line.strip()
        if words.startswith("#"):
            text_of = words.lstrip("#").strip()
            comment = (
                [text_of.removeprefix("--").strip()] if text_of[:2] == "--" else [*comment, text_of]
            )
        elif key:
            path = [*path[: len(key[1]) // 2], key[2]]
            if comment:
                found[".".join(path)] = " ".join(comment)
            comment = []
    return found


def leaves(
    values: dict[str, Any], said: dict[str, str], above: str = ""
) -> Iterator[tuple[str, Any]]:
    """Each value, and a mapping as one where no part of it is described."""
    for key, value in values.items():
        name = f"{above}{key}"
        parts = any(each.startswith(f"{name}.") for each in said)
        if isinstance(value, dict) and parts:
            yield from leaves(value, said, f"{name}.")
        else:
            yield name, value


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme(), encoding="utf-8")
