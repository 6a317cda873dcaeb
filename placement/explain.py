"""Why this many devices, and when nothing fits, what clashes and what would resolve it.

The resource that binds is found by asking the same question again with fewer resources: the
smallest set of resources that alone forces the value. What clashes is found by leaving out facts
(models, limits, rules) one group after another while the rest still has no layout (QuickXplain:
Junker, "Preferred explanations and relaxations for over-constrained problems", AAAI 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations

from placement.colocation import use
from placement.problem import Model, Option, PlacementProblem, Pool
from placement.result import Deadline, Result
from placement.solver import solve

LARGE = 300  # models beyond which questions are not asked again with fewer resources
ASK_S = 2.0  # for each question


@dataclass(frozen=True)
class Explanation:
    """What to tell the user."""

    lines: tuple[str, ...]
    binding: tuple[str, ...] = ()  # the resources that force the value
    bounds: dict[str, float] = field(default_factory=dict)  # least price for one resource alone
    relaxations: tuple[str, ...] = ()


def explain(problem: PlacementProblem, result: Result, time_limit_s: float = 30.0) -> Explanation:
    """The result in words; takes at most about half the time limit."""
    deadline = Deadline(time_limit_s / 2)
    if result.layout is None:
        if result.status == "infeasible":
            return _clash(problem, deadline)
        return Explanation(("No layout was found in time.",))
    if problem.objective == "max-throughput":
        return _throughput(problem, result)
    return _hardware(problem, result, deadline)


def _hardware(problem: PlacementProblem, result: Result, deadline: Deadline) -> Explanation:
    assert result.layout is not None
    count = result.layout.gpu_count
    verdict = {
        "optimal": "proven optimal",
        "feasible": f"not proven: the bound is {result.bound or 0:g}",
    }.get(result.status, result.status)
    price = f"price {result.value:g}" if _priced(problem) else ""
    lines = [f"{_devices(count)}{', ' + price if price else ''}: {verdict}."]
    bounds: dict[str, float] = {}
    binding: tuple[str, ...] = ()
    if sum(1 for _ in problem.copies()) <= LARGE and result.value:
        for size in range(1, len(problem.resources) + 1):
            for names in combinations([r.name for r in problem.resources], size):
                if binding and size > 1:
                    break
                if deadline.left_s <= 0:
                    break
                bound = (
                    (result.bound or 0.0)
                    if size == len(problem.resources)
                    else _bound(problem, names, deadline)
                )
                if size == 1:
                    bounds[names[0]] = bound
                if not binding and bound >= result.value - 1e-9:
                    binding = names
    if bounds:
        amounts = [
            f"{_plain(name)} alone needs {bound:g} ({_sum(problem, name, result, bound)})"
            for name, bound in bounds.items()
        ]
        lines.append(f"{_are_needed(count)}: {'; '.join(amounts)}.")
        if len(binding) > 1:
            lines.append(f"{_together(binding)} together force {result.value:g}.")
        elif binding:
            lines.append(f"{_words(binding[0])} is what binds.")
    lines.append(_room(result))
    return Explanation(tuple(line for line in lines if line), binding, bounds)


def _throughput(problem: PlacementProblem, result: Result) -> Explanation:
    assert result.layout is not None
    assert result.value is not None
    verdict = (
        "proven optimal" if result.status == "optimal" else f"the bound is {result.bound or 0:.4g}"
    )
    if problem.fairness == "max-min":
        reference = "demands" if any(m.rate for m in problem.models) else "models"
        line = f"All {reference} can grow together by the factor {result.value:.4g}: {verdict}."
    else:
        best = sum(model.weight for _, model in problem.copies())
        line = f"Relative throughput {result.value:.4g} of {best:g}: {verdict}."
    full = [
        r.name
        for r in problem.resources
        if any(
            d.uses.get(r.name, 0.0) >= 0.995 * d.capacity[r.name]
            for d in result.layout.devices
            if r.name in d.capacity
        )
    ]
    used = f"{_devices(result.layout.gpu_count)} in use."
    binds = f"{_together(tuple(full))} used up on some device." if full else ""
    return Explanation(tuple(x for x in (line, used, binds) if x), tuple(full))


def _bound(problem: PlacementProblem, names: tuple[str, ...], deadline: Deadline) -> float:
    """A proven least price when only these resources are limited."""
    part = Deadline(min(ASK_S, deadline.left_s))
    result = solve(_limited(problem, names), deadline=part)
    return max(0.0, result.bound or 0.0)


def _limited(problem: PlacementProblem, names: tuple[str, ...]) -> PlacementProblem:
    return replace(
        problem,
        resources=tuple(r for r in problem.resources if r.name in names),
        types=tuple(
            replace(
                kind,
                capacity={n: c for n, c in kind.capacity.items() if n in names},
                baseline={n: c for n, c in kind.baseline.items() if n in names},
            )
            for kind in problem.types
        ),
        models=tuple(
            replace(
                model,
                options=tuple(
                    replace(o, needs={n: c for n, c in o.needs.items() if n in names})
                    for o in model.options
                ),
            )
            for model in problem.models
        ),
    )


def _sum(problem: PlacementProblem, name: str, result: Result, alone: float) -> str:
    """`53.0 of 4 × 15.7 GB`: what the residents need of the resource, and what there is."""
    assert result.layout is not None
    resource = next(r for r in problem.resources if r.name == name)
    needed = sum(
        resident.uses.get(name, 0.0)
        for device in result.layout.devices
        for resident in device.residents
    )
    kinds = {kind.name: kind for kind in problem.types}
    room: dict[float, int] = {}
    for device in result.layout.devices:
        kind = kinds[device.device_type]
        if name in kind.capacity:
            free = kind.capacity[name] - kind.baseline.get(name, 0.0)
            room[free] = room.get(free, 0) + 1
    if len(room) == 1 and not _priced(problem):
        room = dict.fromkeys(room, round(alone))
    scale, unit = (1e9, "GB") if resource.unit == "bytes" else (1.0, resource.unit)
    offered = " + ".join(f"{n} × {free / scale:.1f}" for free, n in sorted(room.items()))
    return f"{needed / scale:.1f} of {offered} {unit}"


def _room(result: Result) -> str:
    if result.headroom is None:
        return ""
    return f"The fullest device has {result.headroom:.1%} to spare."


def _priced(problem: PlacementProblem) -> bool:
    return any(pool.price != 1.0 for pool in problem.pools) or bool(problem.move_price)


def _devices(count: int) -> str:
    return f"{count} device" + ("s" if count != 1 else "")


def _are_needed(count: int) -> str:
    return "One device is needed" if count == 1 else f"{count} devices are needed"


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _together(names: tuple[str, ...]) -> str:
    words = [name.replace("_", " ") for name in names]
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class _Fact:
    """Something that could be given up, in words, and the problem without it."""

    words: str
    without: Callable[[PlacementProblem], PlacementProblem]
    relaxation: str = ""


def _clash(problem: PlacementProblem, deadline: Deadline) -> Explanation:
    alone = [line for _, model in problem.copies() if (line := _fits_nowhere(problem, model))]
    if alone:
        lines = tuple(dict.fromkeys(alone))
        return Explanation(lines, relaxations=_relaxations(problem, deadline))
    facts = list(_facts(problem))

    def clashes(kept: list[_Fact]) -> bool:
        reduced = problem
        keep = {id(fact) for fact in kept}
        for fact in facts:
            if id(fact) not in keep:
                reduced = fact.without(reduced)
        part = Deadline(min(ASK_S, deadline.left_s))
        return solve(reduced, deadline=part).status == "infeasible"

    smallest = _smallest(clashes, [], facts, has_new=False, deadline=deadline)
    lines = ("These cannot all hold:", *(f"  - {fact.words}" for fact in smallest))
    lines = (*lines, f"  - the fleet: {_fleet(problem)}")
    return Explanation(lines, relaxations=_relaxations(problem, deadline))


def _smallest(
    clashes: Callable[[list[_Fact]], bool],
    background: list[_Fact],
    facts: list[_Fact],
    *,
    has_new: bool,
    deadline: Deadline,
) -> list[_Fact]:
    """The facts that clash with the background; smallest in that none can be left out."""
    if deadline.left_s <= 0:
        return facts
    if has_new and clashes(background):
        return []
    if len(facts) <= 1:
        return facts
    half = len(facts) // 2
    first, second = facts[:half], facts[half:]
    right = _smallest(clashes, background + first, second, has_new=bool(first), deadline=deadline)
    left = _smallest(clashes, background + right, first, has_new=bool(right), deadline=deadline)
    return left + right


def _facts(problem: PlacementProblem) -> Iterator[_Fact]:
    """Rules first: they are given up before models when either explains the clash."""
    for model in problem.models:
        replicas = f", {model.min_replicas} replicas" if model.min_replicas > 1 else ""
        rate = f" at {model.rate:g}/s" if model.rate else ""
        times = f" ({model.count} of it)" if model.count > 1 else ""
        yield _Fact(
            f"{model.name}{times}{rate}{replicas}: {_least(problem, model)}",
            lambda p, name=model.name: _without_model(p, name),  # type: ignore[misc]
        )
    for resource in problem.resources:
        names = tuple(r.name for r in problem.resources if r.name != resource.name)
        if names:
            yield _Fact(
                f"the limit on {resource.name.replace('_', ' ')}",
                lambda p, name=resource.name: _limited(  # type: ignore[misc]
                    p, tuple(r.name for r in p.resources if r.name != name)
                ),
            )
    rules = problem.rules
    for field_name, words in (
        ("pins", "{} is pinned to {}"),
        ("forbidden", "{} is forbidden on {}"),
    ):
        for pair in getattr(rules, field_name):
            yield _Fact(
                words.format(*pair),
                lambda p, f=field_name, x=pair: _without_rule(p, f, x),  # type: ignore[misc]
            )
    for group in rules.apart:
        yield _Fact(
            f"{', '.join(group)} are kept apart",
            lambda p, x=group: _without_rule(p, "apart", x),  # type: ignore[misc]
        )
    for group in rules.together:
        yield _Fact(
            f"{', '.join(group)} are kept together",
            lambda p, x=group: _without_rule(p, "together", x),  # type: ignore[misc]
        )
    for name in rules.spread:
        yield _Fact(
            f"{name} is spread over hosts",
            lambda p, x=name: _without_rule(p, "spread", x),  # type: ignore[misc]
        )
    for device in rules.excluded_devices:
        yield _Fact(
            f"{device} is excluded",
            lambda p, x=device: _without_rule(p, "excluded_devices", x),  # type: ignore[misc]
        )
    if problem.max_moves is not None:
        yield _Fact(f"at most {problem.max_moves} moves", lambda p: replace(p, max_moves=None))


def _without_model(problem: PlacementProblem, name: str) -> PlacementProblem:
    rules = problem.rules
    names = {name} | {copy for copy, model in problem.copies() if model.name == name}
    return replace(
        problem,
        models=tuple(m for m in problem.models if m.name != name),
        current=tuple((m, d) for m, d in problem.current if m not in names),
        rules=replace(
            rules,
            pins=tuple(p for p in rules.pins if p[0] not in names),
            forbidden=tuple(p for p in rules.forbidden if p[0] not in names),
            apart=tuple(tuple(m for m in g if m not in names) for g in rules.apart),
            together=tuple(tuple(m for m in g if m not in names) for g in rules.together),
            spread=tuple(m for m in rules.spread if m not in names),
        ),
    )


def _without_rule(problem: PlacementProblem, field_name: str, rule: object) -> PlacementProblem:
    kept = tuple(r for r in getattr(problem.rules, field_name) if r != rule)
    return replace(problem, rules=replace(problem.rules, **{field_name: kept}))


def _fits(problem: PlacementProblem, option: Option, model: Model) -> bool:
    kind = next((k for k in problem.types if k.name == option.device_type), None)
    if kind is None or not _offered(problem, kind.name):
        return False
    full = problem.objective == "min-hardware" and not model.rate
    return all(
        kind.baseline.get(r.name, 0.0) + use(r, option, 1.0 if full else 0.0)
        <= kind.capacity[r.name] * (1 + 1e-12)
        for r in problem.resources
        if r.name in kind.capacity
    )


def _offered(problem: PlacementProblem, kind: str) -> list[Pool]:
    return [
        pool
        for pool in problem.pools
        if pool.count != 0
        and (pool.device_type == kind or any(kind in partition for partition in pool.partitions))
    ]


def _fits_nowhere(problem: PlacementProblem, model: Model) -> str:
    """Why no device can hold the model, with what it needs and the largest device; or nothing."""
    if not model.min_replicas and not model.rate:
        return ""
    limit = model.latency_limit_ms
    usable = [
        o
        for o in model.options
        if limit is None or (o.latency_ms is not None and o.latency_ms <= limit)
    ]
    if not usable:
        best = min((o.latency_ms for o in model.options if o.latency_ms), default=None)
        known = "no latency is known" if best is None else f"the best is {best:g} ms"
        return f"{model.name} meets its {limit:g} ms limit in no option; {known}."
    if any(_fits(problem, o, model) for o in usable):
        return ""
    return f"{model.name} fits on no device: it needs at least {_least(problem, model)}; " + (
        f"the largest device is {_largest(problem)}."
    )


def _least(problem: PlacementProblem, model: Model) -> str:
    """The least that any option of the model needs, by resource."""
    parts = []
    for resource in problem.resources:
        needs = [o.needs[resource.name] for o in model.options if resource.name in o.needs]
        if needs:
            parts.append(f"{_amount(min(needs), resource.unit)} {_plain(resource.name)}")
    return ", ".join(parts)


def _largest(problem: PlacementProblem) -> str:
    """The type that leaves most of the first resource to models."""
    first = problem.resources[0].name
    kinds = [k for k in problem.types if _offered(problem, k.name)] or list(problem.types)
    if not kinds:
        return "none"
    kind = max(
        kinds,
        key=lambda k: k.capacity.get(first, float("inf")) - k.baseline.get(first, 0.0),
    )
    room = [
        f"{_amount(kind.capacity[r.name] - kind.baseline.get(r.name, 0.0), r.unit)} "
        f"{_plain(r.name)}"
        for r in problem.resources
        if r.name in kind.capacity
    ]
    return f"{kind.name} with {', '.join(room)} beside the server"


def _fleet(problem: PlacementProblem) -> str:
    return ", ".join(
        f"{'any number of' if pool.count is None else pool.count} × {pool.device_type}"
        + (f" ({pool.name})" if pool.name != pool.device_type else "")
        for pool in problem.pools
    )


def _amount(amount: float, unit: str) -> str:
    return f"{amount / 1e9:.2f} GB" if unit == "bytes" else f"{amount:.4g} {unit}"


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _relaxations(problem: PlacementProblem, deadline: Deadline) -> tuple[str, ...]:
    """What would each by itself make a layout possible, the gentlest first."""
    deadline = Deadline(max(deadline.left_s, 3 * ASK_S))
    candidates: list[tuple[str, PlacementProblem]] = []
    for number, pool in enumerate(problem.pools):
        if pool.count is None:
            continue
        for more in range(1, 9):
            pools = list(problem.pools)
            pools[number] = _grown(pool, more)
            candidates.append(
                (
                    f"{more} more {pool.device_type} ({pool.name})",
                    replace(problem, pools=tuple(pools)),
                )
            )
    for resource in problem.resources:
        candidates += [
            (
                f"{_plain(resource.name)} limit {factor - 1:.0%} higher",
                _raised(problem, resource.name, factor),
            )
            for factor in (1.05, 1.1, 1.25, 1.5)
        ]
    for model in problem.models:
        limit = model.latency_limit_ms
        above = sorted(
            {o.latency_ms for o in model.options if o.latency_ms and limit and o.latency_ms > limit}
        )
        candidates += [
            (
                f"a latency limit of {latency:g} ms for {model.name}, not {limit:g} ms",
                _with_model(problem, replace(model, latency_limit_ms=latency)),
            )
            for latency in above[:3]
        ]
    candidates += [
        (f"without the rule that {fact.words}", fact.without(problem))
        for fact in _facts(problem)
        if fact.words.split(":")[0] not in {m.name for m in problem.models}
        and not fact.words.startswith("the limit on")
        and ": " not in fact.words
    ]
    if len(problem.models) <= 50:
        candidates += [
            (f"without {model.name}", _without_model(problem, model.name))
            for model in problem.models
        ]
    found: list[str] = []
    solved: set[str] = set()
    for words, relaxed in candidates:
        kind = words.split(" ", 1)[1] if words[0].isdigit() else words.split(" limit")[0]
        if deadline.left_s <= 0 or kind in solved:
            continue
        part = Deadline(min(ASK_S, deadline.left_s))
        if solve(relaxed, deadline=part).layout is not None:
            found.append(words)
            solved.add(kind)
    return tuple(found[:8])


def _grown(pool: Pool, more: int) -> Pool:
    return replace(pool, count=(pool.count or 0) + more)


def _raised(problem: PlacementProblem, name: str, factor: float) -> PlacementProblem:
    return replace(
        problem,
        types=tuple(
            replace(
                kind,
                capacity={n: c * factor if n == name else c for n, c in kind.capacity.items()},
            )
            for kind in problem.types
        ),
    )


def _with_model(problem: PlacementProblem, changed: Model) -> PlacementProblem:
    return replace(
        problem,
        models=tuple(changed if m.name == changed.name else m for m in problem.models),
    )
