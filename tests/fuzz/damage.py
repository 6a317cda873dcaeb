"""Strategies that damage what is valid: in its text, and in the values that it holds."""

from __future__ import annotations

import copy
import json
from typing import Any

import yaml
from hypothesis import strategies as st

HOSTILE: list[Any] = [
    *(None, True, [], {}, "", " ", "\0", "..", "../../x", "a" * 300, "ünï", "\ud7ff", "#", "$(id)"),
    *(-1, 0, 1, 2**31, 2**63, 10**30, 10**400, -0.0, 1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), "nan", "1e400", "1e400GB", "-1s", "2026-01-01"),
    *([[]], [None], {"": None}, {"a": {"b": [1, {"c": 2}]}}, [1, "a", None], [[1, 2], [3]]),
]
TOKENS = [
    *("", "\n", "\n\n", " ", "\t", "\0", "\r", "\ufeff", ",", '"', "'", ":", "- ", "[", "]", "{"),
    *(
        "}",
        "&a ",
        "*a",
        "!!timestamp ",
        "!!python/object:os.system x",
        "<<: ",
        "---\n",
        "? ",
        "|\n",
    ),
    *(
        "#",
        "nan",
        "-inf",
        "1e999",
        "9" * 5000,
        "-1",
        "0x",
        "\\",
        "\\u0000",
        "ü",
        "\u2028",
        "%",
        "<",
    ),
]


@st.composite
def damaged_text(draw: st.DrawFn, seeds: list[str]) -> str:
    """A seed with up to four pieces cut out, doubled, or put in."""
    text = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 1, 2, 10, 100]))
        piece = draw(st.sampled_from([*TOKENS, text[start : start + length] * 2]))
        text = text[:start] + piece + text[start + length :]
    return text


@st.composite
def damaged_document(draw: st.DrawFn, seeds: list[Any]) -> Any:
    """A seed in which up to three values are hostile ones or gone, or have other keys."""
    document = copy.deepcopy(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        what = draw(st.sampled_from(["value", "value", "value", "gone", "key", "twice"]))
        if what == "value":
            holder[key] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
        elif what == "gone":
            del holder[key]
        elif what == "key" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["", "x", "a b", "nul\0", "9"]))] = holder.pop(key)
        elif isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
    return document


def _places(node: Any) -> Any:
    if isinstance(node, dict):
        for key, value in list(node.items()):
            yield node, key
            yield from _places(value)
    elif isinstance(node, list):
        for key, value in enumerate(node):
            yield node, key
            yield from _places(value)


def damaged_yaml(seeds: list[str]) -> st.SearchStrategy[str]:
    """YAML, damaged either way."""
    documents = [yaml.safe_load(seed) for seed in seeds]
    dumped = damaged_document(documents).map(
        lambda d: yaml.safe_dump(d, sort_keys=False, allow_unicode=True)
    )
    return st.one_of(damaged_text(seeds), dumped)


def damaged_json(seeds: list[str]) -> st.SearchStrategy[str]:
    """JSON, damaged either way; NaN and Infinity are what Python's own writer makes of them."""
    documents = [json.loads(seed) for seed in seeds]
    return st.one_of(damaged_text(seeds), damaged_document(documents).map(json.dumps))
