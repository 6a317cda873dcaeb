"""Draws the import graph of rooms into docs/architecture.md: `python docs/architecture.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import grimp

PAGE = Path(__file__).with_suffix(".md")
PACKAGES = ("analyzer", "placement", "profiles")
BEGIN, END = "<!-- drawn by docs/architecture.py -->\n```mermaid\n", "```\n<!-- end -->\n"

Graph = Mapping[str, set[str]]  # importers to what they import


def rooms() -> Graph:
    """Rooms (packages of a package, and files beside these) and the rooms that they import."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules - set(PACKAGES):
        imports = {_room(one) for one in graph.find_modules_directly_imported_by(module)}
        found.setdefault(_room(module), set()).update(imports - {_room(module)})
    return found


def _room(module: str) -> str:
    """The room that a module is in; `profiles` is one room."""
    return ".".join(module.split(".")[: 1 if module.startswith("profiles") else 2])


def drawn(graph: Graph) -> str:
    """The graph in Mermaid, without arrows that follow from others."""
    lines = ["flowchart TD"]
    for package in PACKAGES:
        inside = sorted(node for node in graph if node.partition(".")[0] == package)
        if len(inside) > 1:
            lines.append(f"  subgraph {package}")
        lines += [f'    {_id(node)}["{_label(node)}"]' for node in inside]
        if len(inside) > 1:
            lines.append("  end")
    for node in sorted(graph):
        for other in sorted(graph[node]):
            if not any(other in _reached(graph, third) for third in graph[node] - {other}):
                lines.append(f"  {_id(node)} --> {_id(other)}")
    return "\n".join(lines) + "\n"


def _reached(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return reached


def _id(node: str) -> str:
    return node.replace(".", "_")


def _label(node: str) -> str:
    return node.replace(".", "/")


def page() -> str:
    """docs/architecture.md as it is to be: with the picture that the code gives."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{drawn(rooms())}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
