"""When nothing fits: the smallest set of facts that clash, and what it would be without one.

Facts (models, limits, rules) are left out one group after another while the rest still has no
layout (QuickXplain: Junker, "Preferred explanations and relaxations for over-constrained problems",
AAAI 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from placement.explain.question import has_layout
from placement.explain.shortage import shortage
from placement.explain.words import amount, devices, fleet, largest, least, limit, offered, plain
from placement.problem import Model, Option, PlacementProblem
from placement.problem.colocation import use
from placement.problem.options import usable
from placement.solver.least_hardware import crowded
from placement.solver.result import Deadline

ASK_S = 2.0  # for each question
MANY = 12  # models, beyond which they are told together
SAID = {
    "pins": "{0} is pinned to {1}",
    "forbidden": "{0} is forbidden on {1}",
    "apart": "{all} are kept apart",
    "together": "{all} are kept together",
    "spread": "{0} is spread over hosts",
    "excluded_devices": "{0} is excluded",
}


@dataclass(frozen=True)
class Fact:
    """Something that could be given up, in words, and the problem without it."""

    kind: str  # model, limit or rule
    words: str
    without: Callable[[PlacementProblem], PlacementProblem]


def clash(
    problem: PlacementProblem, deadline: Deadline, workers: int | None = None
) -> tuple[str, ...]:
    """The facts that cannot all hold, in words; no smaller set of them clashes."""
    alone = [line for model in problem.models if (line := fits_nowhere(problem, model))]
    if alone:
        return tuple(alone)
    crowd = crowded(problem, deadline)
    for model in problem.models if crowd else ():
        if model.name not in crowd:
            problem = without_model(problem, model.name)
    if len(problem.models) > MANY and (short := shortage(problem, deadline.part(0.5))):
        return short
    every = list(facts(problem))

    def clashes(kept: list[Fact]) -> bool:
        reduced = problem
        keep = {id(fact) for fact in kept}
        for fact in every:
            if id(fact) not in keep:
                reduced = fact.without(reduced)
        part = deadline.at_most(ASK_S)
        return has_layout(reduced, part, workers) is False

    smallest = _smallest(clashes, [], every, has_new=False, deadline=deadline)
    shown = [f"  - {fact.words}" for fact in smallest if fact.kind != "model"]
    models = [f"  - {fact.words}" for fact in smallest if fact.kind == "model"]
    if len(models) > MANY:
        models = [*models[:MANY], f"  - and {len(models) - MANY} more models"]
    lines = ("These cannot all hold:", *models, *shown)
    lines = (*lines, f"  - the fleet: {fleet(problem)}")
    if deadline.left_s <= 0:
        lines = (*lines, "The time limit ended the search for a smaller set.")
    return lines


def _smallest(
    clashes: Callable[[list[Fact]], bool],
    background: list[Fact],
    facts: list[Fact],
    *,
    has_new: bool,
    deadline: Deadline,
) -> list[Fact]:
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


def facts(problem: PlacementProblem) -> Iterator[Fact]:
    """Every fact that could be given up; when several sets clash, later ones are left out first."""
    for model in problem.models:
        replicas = (
            f", {model.min_replicas} replicas on distinct GPUs" if model.min_replicas > 1 else ""
        )
        rate = f" at {model.rate:g}/s" if model.rate else ""
        times = f" ({model.count} of it)" if model.count > 1 else ""
        within = f", {limit(model)}" if model.latency_limit_ms is not None else ""
        yield Fact(
            "model",
            f"{model.name}{times}{rate}{within}{replicas}: {least(problem, model)}",
            lambda p, name=model.name: without_model(p, name),  # type: ignore[misc]
        )
    for resource in problem.resources:
        yield Fact(
            "limit",
            f"the limit on {plain(resource.name)}",
            lambda p, name=resource.name: limited(  # type: ignore[misc]
                p, tuple(r.name for r in p.resources if r.name != name)
            ),
        )
    rules = problem.rules
    for field, said in SAID.items():
        for rule in getattr(rules, field):
            parts = (rule,) if isinstance(rule, str) else rule
            words = said.format(*parts, all=", ".join(parts))
            yield Fact("rule", words, lambda p, f=field, x=rule: _without_rule(p, f, x))  # type: ignore[misc]
    if problem.max_devices is not None:
        most = f"at most {devices(problem.max_devices)} in use"
        yield Fact("limit", most, lambda p: replace(p, max_devices=None))
    if problem.max_moves is not None:
        moves = "no move" if problem.max_moves == 0 else f"at most {problem.max_moves} moves"
        yield Fact(
            "limit", f"{moves} from the current layout", lambda p: replace(p, max_moves=None)
        )
    if any(option.sensitivity > 0 for model in problem.models for option in model.options):
        yield Fact("slowdown", "neighbours slow each other as was measured", without_slowdown)


def without_slowdown(problem: PlacementProblem) -> PlacementProblem:
    """The problem as if no slowdown were known."""
    return replace(
        problem,
        models=tuple(
            replace(m, options=tuple(replace(o, busy=0.0, sensitivity=0.0) for o in m.options))
            for m in problem.models
        ),
    )


def limited(problem: PlacementProblem, names: tuple[str, ...]) -> PlacementProblem:
    """The problem with these resources alone."""
    return replace(
        problem,
        resources=tuple(r for r in problem.resources if r.name in names),
        types=tuple(
            replace(
                kind,
                capacity={n: c for n, c in kind.capacity.items() if n in names},
                baseline={n: c for n, c in kind.baseline.items() if n in names},
                physical={n: c for n, c in kind.physical.items() if n in names},
            )
            for kind in problem.types
        ),
        models=tuple(
            replace(
                model,
                options=tuple(
                    replace(
                        o,
                        needs={n: c for n, c in o.needs.items() if n in names},
                        standing={n: c for n, c in o.standing.items() if n in names},
                    )
                    for o in model.options
                ),
            )
            for model in problem.models
        ),
    )


def without_model(problem: PlacementProblem, name: str) -> PlacementProblem:
    """The problem without the model and all that rules say of it."""
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


def _without_rule(problem: PlacementProblem, field: str, rule: object) -> PlacementProblem:
    kept = tuple(r for r in getattr(problem.rules, field) if r != rule)
    return replace(problem, rules=replace(problem.rules, **{field: kept}))


def fits_nowhere(problem: PlacementProblem, model: Model) -> str:
    """Why no device can hold the model, with what it needs and the largest device; or nothing."""
    if not model.min_replicas and not model.rate:
        return ""
    if not model.options:
        return f"{model.name} has no option."
    fitting = [option for _, option in usable(model)]
    if not fitting:
        known = [o for o in model.options if o.latency_ms is not None]
        if not known:
            return f"{model.name} has a {limit(model)}, but no latency of it is known."
        best = min(known, key=lambda o: o.latency_ms or 0.0)
        return (
            f"{model.name} meets its {limit(model)} in no option; the best is "
            f"{best.latency_ms:.4g} ms ({best.name} on {best.device_type})."
        )
    if model.rate and not any(o.throughput > 0 for o in fitting):
        return (
            f"{model.name} has a rate of {model.rate:g}/s, but no option that meets its limits "
            "has a throughput above zero."
        )
    if any(_fits(problem, o, model) for o in fitting):
        return ""
    if not any(offered(problem, o.device_type) for o in fitting):
        kinds = ", ".join(dict.fromkeys(o.device_type for o in fitting))
        return f"{model.name} runs on {kinds} only, and the fleet has none: {fleet(problem)}."
    resources = [
        f"{amount(min(o.needs.get(r.name, 0.0) for o in fitting), r.unit)} {plain(r.name)}"
        for r in problem.resources
        if any(o.needs.get(r.name) for o in fitting)
    ]
    return (
        f"{model.name} fits on no device: it needs at least {', '.join(resources)}; "
        f"the largest device is {largest(problem)}."
    )


def _fits(problem: PlacementProblem, option: Option, model: Model) -> bool:
    kind = next((k for k in problem.types if k.name == option.device_type), None)
    if kind is None or not offered(problem, kind.name):
        return False
    full = problem.objective == "min-hardware" and not model.rate
    return all(
        kind.baseline.get(r.name, 0.0) + use(r, option, 1.0 if full else 0.0)
        <= kind.capacity[r.name] * (1 + 1e-12)
        for r in problem.resources
        if r.name in kind.capacity
    )
