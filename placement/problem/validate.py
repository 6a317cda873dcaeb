"""Checks of a problem before it is solved; each fault is named with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import isfinite

from placement.problem import Model, Option, PlacementProblem, Pool
from profiles.errors import InputError

# What no fleet means, and what would make exact integers needlessly long. Generous by far.
LARGEST_AMOUNT = 1e18  # of a resource, as bytes
LARGEST_FIGURE = 1e12  # of a price, weight, rate or throughput
SMALLEST_FIGURE = 1e-12  # above zero
MOST_BUSY = 2.0  # of a device's time; measurements may be a little above one
MOST_SENSITIVE = 100.0  # with neighbours that take all of the device's time
MOST_COPIES = 1_000_000  # of all models together
MOST_DEVICES = 10_000_000  # of a pool that is counted
MOST_REPLICAS = 1_000_000  # of one model, demanded or by its rate


def validate(problem: PlacementProblem) -> None:
    """Raise InputError at the first contradiction, unknown name or figure out of range."""
    _unique("resources", (r.name for r in problem.resources))
    _unique("types", (t.name for t in problem.types))
    _unique("pools", (p.name for p in problem.pools))
    _unique("models", (m.name for m in problem.models))
    scales = {r.name: r.scales for r in problem.resources}
    resources = set(scales)
    types = {t.name for t in problem.types}
    for kind in problem.types:
        _figures(f"types.{kind.name}.capacity", kind.capacity, resources)
        _figures(f"types.{kind.name}.baseline", kind.baseline, resources)
        _figures(f"types.{kind.name}.physical", kind.physical, resources)
    for pool in problem.pools:
        _pool(pool, types)
    _device_names(problem.pools)
    for model in problem.models:
        _model(model, types, scales)
    _copies(problem)
    _rules(problem)
    if problem.objective == "max-throughput" and any(p.count is None for p in problem.pools):
        raise InputError(
            "max-throughput needs a fleet of known size: give every pool a count "
            "(`place --count N`)."
        )
    _figure("move_price", problem.move_price)
    for name, most in (("max_moves", problem.max_moves), ("max_devices", problem.max_devices)):
        if most is not None and most < 0:
            raise InputError(f"{name}: must not be negative, is {most}.")
    if problem.max_slowdown is not None and not 0 <= problem.max_slowdown <= 1:
        raise InputError(f"max_slowdown: must lie between 0 and 1, is {problem.max_slowdown:g}.")
    if problem.repair and problem.objective != "min-hardware":
        raise InputError("repair: needs the objective min-hardware.")
    if problem.repair and not problem.current:
        raise InputError("repair: needs the running layout in `current` (`place --current`).")


def _pool(pool: Pool, types: set[str]) -> None:
    at = f"pools.{pool.name}"
    for name in (pool.device_type, *(s for p in pool.partitions for s in p)):
        if name not in types:
            raise InputError(f"{at}: unknown device type {name!r}. {_known(types)}")
    if pool.count is not None and not 0 <= pool.count <= MOST_DEVICES:
        raise InputError(f"{at}.count: must lie between 0 and {MOST_DEVICES}, is {pool.count}.")
    _figure(f"{at}.price", pool.price)


def _device_names(pools: tuple[Pool, ...]) -> None:
    """Refuse pools whose name is that of another pool's device, or of a slice of it."""
    by_name = {pool.name: pool for pool in pools}
    for pool in pools:
        parts = pool.name.split("/")
        for end in range(1, len(parts) + 1):
            for owner in _owners(by_name, "/".join(parts[:end])):
                if owner is pool or (end < len(parts) and not owner.partitions):
                    continue
                what = "a device" if end == len(parts) else "a slice"
                raise InputError(
                    f"pools: {pool.name!r} is also {what} of pool {owner.name!r}; "
                    "rename one of the two pools."
                )


def _owners(pools: Mapping[str, Pool], device: str) -> list[Pool]:
    """The pools that have a device of this name: at most one in a valid problem."""
    found = []
    if device in pools and pools[device].count == 1:
        found.append(pools[device])
    base, _, number = device.rpartition("-")
    pool = pools.get(base)
    if pool is not None and pool.count != 1 and _is_number(number):
        most = MOST_DEVICES if pool.count is None else pool.count
        found += [pool] if len(number) < 10 and int(number) <= most else []
    return found


def _is_number(text: str) -> bool:
    """Whether it numbers a device or slice: a decimal from 1, without leading zeros."""
    return text.isascii() and text.isdecimal() and not text.startswith("0")


def _model(model: Model, types: set[str], scales: Mapping[str, bool]) -> None:
    at = f"models.{model.name}"
    names = {(o.name, o.device_type) for o in model.options}
    if len(names) < len(model.options):
        _unique(f"{at}.options", (f"{o.name} on {o.device_type}" for o in model.options))
    for option in model.options:
        if _is_sound(option, types, scales):
            continue
        here = f"{at}.options.{option.name}"
        if option.device_type not in types:
            raise InputError(
                f"{here}.device_type: unknown device type {option.device_type!r}. {_known(types)}"
            )
        _figures(f"{here}.needs", option.needs, set(scales))
        _standing(f"{here}.standing", option, scales)
        for name, figure, largest in _figures_of(option):
            _figure(f"{here}.{name}", figure, largest)
    if model.latency_limit_ms is not None:
        _figure(f"{at}.latency_limit_ms", model.latency_limit_ms)
    if model.count < 1:
        raise InputError(f"{at}.count: must be at least 1, is {model.count}.")
    if not 0 <= model.min_replicas <= MOST_REPLICAS:
        raise InputError(
            f"{at}.min_replicas: must lie between 0 and {MOST_REPLICAS}, is {model.min_replicas}."
        )
    _figure(f"{at}.weight", model.weight)
    if model.rate is None:
        return
    if not model.rate > 0:
        raise InputError(f"{at}.rate: must be above zero, is {model.rate:g}.")
    _figure(f"{at}.rate", model.rate)
    best = max((o.throughput for o in model.options), default=0.0)
    if best and model.rate / best > MOST_REPLICAS:
        raise InputError(
            f"{at}.rate: {model.rate:g} inferences per second would take more than "
            f"{MOST_REPLICAS} replicas; its best option carries {best:g}."
        )


def _is_sound(option: Option, types: set[str], scales: Mapping[str, bool]) -> bool:
    """Whether nothing is wrong with the option; most have nothing, and need no words for it."""
    return (
        option.device_type in types
        and not option.standing
        and option.needs.keys() <= scales.keys()
        and all(f == 0 or SMALLEST_FIGURE <= f <= LARGEST_AMOUNT for f in option.needs.values())
        and all(f == 0 or SMALLEST_FIGURE <= f <= most for _, f, most in _figures_of(option))
    )


def _standing(at: str, option: Option, scales: Mapping[str, bool]) -> None:
    """What a replica needs at any share is a part of what it needs in all, of what scales."""
    _figures(at, option.standing, set(scales))
    for name, figure in option.standing.items():
        if not scales[name]:
            raise InputError(
                f"{at}.{name}: {name} is needed whole at any share: it has no such part."
            )
        if figure > option.needs.get(name, 0.0):
            raise InputError(
                f"{at}.{name}: {figure:g} is a part of the need, which is only "
                f"{option.needs.get(name, 0.0):g}."
            )


def _figures_of(option: Option) -> tuple[tuple[str, float, float], ...]:
    """The option's figures but for its needs: name, figure, the largest that is supported."""
    return (
        ("throughput", option.throughput, LARGEST_FIGURE),
        ("busy", option.busy, MOST_BUSY),
        ("sensitivity", option.sensitivity, MOST_SENSITIVE),
        ("latency_ms", option.latency_ms or 0.0, LARGEST_FIGURE),
    )


def _copies(problem: PlacementProblem) -> None:
    total = sum(model.count for model in problem.models)
    if total > MOST_COPIES:
        raise InputError(f"models: {total} with all copies; at most {MOST_COPIES} are supported.")
    names = {model.name for model in problem.models}
    for model in problem.models:
        base, _, number = model.name.rpartition("#")
        if base in names and number.isdecimal():
            raise InputError(
                f"models: {model.name!r} may mean a copy of {base!r}; rename one of the two."
            )


def _rules(problem: PlacementProblem) -> None:
    models = {m.name for m in problem.models} | {name for name, _ in problem.copies()}
    pools = {pool.name: pool for pool in problem.pools}
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
            known = _known([m.name for m in problem.models])
            raise InputError(f"rules.{rule}: unknown model {model!r}. {known}")
    for rule, device in (
        *(("pins", d) for _, d in rules.pins),
        *(("forbidden", d) for _, d in rules.forbidden),
        *(("excluded_devices", d) for d in rules.excluded_devices),
    ):
        if not _is_in_fleet(pools, device):
            raise InputError(
                f"rules.{rule}: unknown device or pool {device!r}. {_known(pools, 'pools')}"
            )


def _is_in_fleet(pools: Mapping[str, Pool], name: str) -> bool:
    """Whether it names a pool, a device, or a slice that some partition has."""
    if name in pools or _owners(pools, name):
        return True
    for end in (n for n, letter in enumerate(name) if letter == "/"):
        kind, _, number = name[end + 1 :].rpartition("-")
        for pool in _owners(pools, name[:end]):
            if _is_number(number) and any(p.count(kind) >= int(number) for p in pool.partitions):
                return True
    return False


def _known(names: Iterable[str], what: str = "") -> str:
    """Names that are known, at most ten, for an error."""
    names = sorted(names)
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return f"Known{' ' + what if what else ''}: {shown or 'none'}."


def _unique(what: str, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise InputError(f"{what}: the name {name!r} is used {times} times.")
        if not name:
            raise InputError(f"{what}: a name is empty.")


def _figures(at: str, figures: Mapping[str, float], resources: set[str]) -> None:
    for name, figure in figures.items():
        if name not in resources:
            raise InputError(f"{at}: unknown resource {name!r}. {_known(resources)}")
        _figure(f"{at}.{name}", figure, LARGEST_AMOUNT)


def _figure(at: str, figure: float, largest: float = LARGEST_FIGURE) -> None:
    if not (isfinite(figure) and figure >= 0):
        raise InputError(f"{at}: must be a number of at least 0, is {figure:g}.")
    if figure > largest or 0 < figure < SMALLEST_FIGURE:
        raise InputError(
            f"{at}: {figure:g} is out of range ({SMALLEST_FIGURE:g} to {largest:g}, or 0)."
        )
