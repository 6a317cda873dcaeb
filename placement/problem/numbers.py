"""Figures as they were written: decimals, not the binary floats nearest to them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm


@lru_cache(maxsize=1 << 18)
def fraction(figure: float) -> Fraction:
    """The decimal that was written: 0.1 is one tenth."""
    return Fraction(repr(float(figure)))


def common_unit(figures: Iterable[Fraction]) -> Fraction:
    """The greatest amount of which every figure is a whole multiple; 1 of none."""
    known = {figure for figure in figures if figure}
    denominator, common = 1, 0
    for figure in known:
        denominator = lcm(denominator, figure.denominator)
    for figure in known:
        common = gcd(common, int(figure * denominator))
    return Fraction(common or 1, denominator)
