"""Whether a problem makes sense; each fault is named with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import isfinite

from placement.problem import PlacementProblem
from profiles.errors import InputError


def validate(problem: PlacementProblem) -> None:
    """Raise InputError at the first thing that contradicts itself or names what is not there."""
    _unique("resources", (r.name for r in problem.resources))
    _unique("types", (t.name for t in problem.types))
    _unique("pools", (p.name for p in problem.pools))
    _unique("models", (m.name for m in problem.models))
    resources = {r.name for r in problem.resources}
    types = {t.name for t in problem.types}
    for kind in problem.types:
        _figures(f"types.{kind.name}.capacity", kind.capacity, resources)
        _figures(f"types.{kind.name}.baseline", kind.baseline, resources)
        _figures(f"types.{kind.name}.physical", kind.physical, resources)
    for pool in problem.pools:
        at = f"pools.{pool.name}"
        for name in (pool.device_type, *(s for p in pool.partitions for s in p)):
            if name not in types:
                raise InputError(f"{at}: {name!r} is no device type of the problem.")
        if pool.count is not None and pool.count < 0:
            raise InputError(f"{at}.count: must not be negative.")
        _amount(f"{at}.price", pool.price)
    for model in problem.models:
        at = f"models.{model.name}"
        _unique(f"{at}.options", (f"{o.name} on {o.device_type}" for o in model.options))
        for option in model.options:
            here = f"{at}.options.{option.name}"
            if option.device_type not in types:
                raise InputError(
                    f"{here}.device_type: {option.device_type!r} is no device type of the problem."
                )
            _figures(f"{here}.needs", option.needs, resources)
            _amount(f"{here}.throughput", option.throughput)
            _amount(f"{here}.busy", option.busy)
            _amount(f"{here}.sensitivity", option.sensitivity)
        if model.count < 1:
            raise InputError(f"{at}.count: must be at least 1.")
        if model.min_replicas < 0:
            raise InputError(f"{at}.min_replicas: must not be negative.")
        if model.rate is not None and not (isfinite(model.rate) and model.rate > 0):
            raise InputError(f"{at}.rate: must be above zero, not {model.rate:g}.")
        _amount(f"{at}.weight", model.weight)
    _rules(problem)
    if problem.objective == "max-throughput" and any(p.count is None for p in problem.pools):
        raise InputError(
            "max-throughput needs a fleet of known size: give every pool a count "
            "(`place --count N`)."
        )
    _amount("move_price", problem.move_price)
    for name, most in (("max_moves", problem.max_moves), ("max_devices", problem.max_devices)):
        if most is not None and most < 0:
            raise InputError(f"{name}: must not be negative.")


def _rules(problem: PlacementProblem) -> None:
    models = {m.name for m in problem.models} | {name for name, _ in problem.copies()}
    rules = problem.rules
    named = [
        *(("pins", m) for m, _ in rules.pins),
        *(("forbidden", m) for m, _ in rules.forbidden),
        *(("apart", m) for group in rules.apart for m in group),
        *(("together", m) for group in rules.together for m in group),
        *(("spread", m) for m in rules.spread),
    ]
    for rule, model in named:
        if model not in models:
            raise InputError(f"rules.{rule}: {model!r} is no model of the problem.")
    for rule, device in (
        *(("pins", d) for _, d in rules.pins),
        *(("forbidden", d) for _, d in rules.forbidden),
        *(("excluded_devices", d) for d in rules.excluded_devices),
    ):
        if not any(_may_mean(problem, pool_name, device) for pool_name in _pool_names(problem)):
            raise InputError(f"rules.{rule}: {device!r} is no device of the fleet.")


def _pool_names(problem: PlacementProblem) -> list[str]:
    return [pool.name for pool in problem.pools]


def _may_mean(problem: PlacementProblem, pool_name: str, device: str) -> bool:
    pool = next(p for p in problem.pools if p.name == pool_name)
    name = device.split("/", 1)[0] if pool.partitions else device
    if name == pool.name:
        return True
    number = name.removeprefix(pool.name + "-")
    if number == name or not number.isdecimal() or pool.count == 1:
        return False
    return int(number) >= 1 and (pool.count is None or int(number) <= pool.count)


def _unique(what: str, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise InputError(f"{what}: {name!r} is there {times} times.")
        if not name:
            raise InputError(f"{what}: a name is empty.")


def _figures(at: str, figures: Mapping[str, float], resources: set[str]) -> None:
    for name, figure in figures.items():
        if name not in resources:
            raise InputError(f"{at}: {name!r} is no resource of the problem.")
        _amount(f"{at}.{name}", figure)


def _amount(at: str, figure: float) -> None:
    if not (isfinite(figure) and figure >= 0):
        raise InputError(f"{at}: must be a number of at least 0, not {figure:g}.")
