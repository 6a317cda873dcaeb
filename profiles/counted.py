"""A number and its noun."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Such as "1 point", "1,200 points"; for nouns whose plural ends in s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
