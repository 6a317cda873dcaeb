"""The best bins and bound so far of a search, and how much time it has left."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from placement.solver.packing.instance import Packing, faults, price_of
from placement.solver.packing.table import Table
from placement.solver.result import Deadline


class Progress:
    """What the steps of a search share: they offer bins and raise the bound."""

    def __init__(
        self,
        table: Table,
        deadline: Deadline,
        seed: int,
        on_progress: Callable[[int | None, int], None] | None = None,
    ) -> None:
        self.table = table
        self.left = [kind.available for kind in table.instance.bins]
        self.step = table.instance.step()
        self.deadline = deadline
        self.seed = seed
        self.random = np.random.default_rng(seed)
        self.bins: list[Packing] | None = None
        self.price: int | None = None
        self.bound = 0
        self.method = ""
        self._tell = on_progress

    @property
    def done(self) -> bool:
        """Whether the price is proven."""
        return self.price is not None and self.price <= self.bound

    @property
    def over(self) -> bool:
        """Whether the price is proven or the time is up."""
        return self.done or self.deadline.left_s <= 0

    def offer(self, bins: list[Packing] | None, method: str) -> bool:
        """Take the bins if they are complete and cost less; whether they did."""
        if bins is None:
            return False
        price = price_of(self.table.instance, bins)
        if self.price is not None and price >= self.price:
            return False
        wrong = faults(self.table.instance, bins)
        if wrong:  # a fault of ours: better no answer than a wrong one
            raise AssertionError(f"A packing does not hold: {'; '.join(wrong[:3])}")
        self.bins, self.price, self.method = bins, price, method
        self._progress()
        return True

    def raise_bound(self, bound: int) -> None:
        """Take a bound that is proven, if it is better."""
        if bound > self.bound:
            self.bound = bound
            self._progress()

    def _progress(self) -> None:
        if self._tell is not None:
            self._tell(self.price, self.bound)
