"""The solver against every possible layout of small random problems, all features mixed.

The brute force tries each set of options on each device and finds the shares by a linear program;
constraints are judged by the checker, which shares no code with the solver. Shares are counted in
ten-thousandths by the solver, so that it may miss an optimum that needs finer ones: what it must
reach is the optimum of the problem with slightly higher rates.
"""

import os
from collections import Counter
from dataclasses import replace
from itertools import product
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ortools.linear_solver import pywraplp

from placement import (
    Layout,
    Model,
    Option,
    PlacedDevice,
    PlacementProblem,
    Pool,
    PoolType,
    Resident,
    Resource,
    Rules,
    solve,
)
from placement.layout import check

RESOURCES = (Resource("memory", scales=False, unit="GB"), Resource("utilization"))
BUSY = {"utilization": 100}
COARSE = 1.002  # rates that much higher are certainly within the solver's resolution


@st.composite
def problems(draw, objective="min-hardware", slowed=False):
    types = tuple(
        PoolType(
            name,
            {"memory": draw(st.integers(4, 12))} | draw(st.sampled_from([BUSY, BUSY, BUSY, {}])),
            {"memory": draw(st.integers(0, 1)), "utilization": draw(st.sampled_from([0, 10]))},
        )
        for name in ("big", "small")
    )
    sliced = draw(st.booleans())
    pools = (
        Pool("a", "big", draw(st.integers(1, 2)), draw(st.sampled_from([1.0, 1.5])), "north"),
        Pool(
            "b",
            "big" if sliced else "small",
            1,
            draw(st.sampled_from([0.0, 0.7, 1.0])),
            "south",
            (("small", "small"),) if sliced else (),
        ),
    )
    models = []
    with_rates = draw(st.booleans())
    for name in "xyz"[: draw(st.integers(1, 3))]:
        options = tuple(
            Option(
                f"k{k}",
                draw(st.sampled_from(["big", "small"])),
                {"memory": draw(st.integers(1, 7)), "utilization": draw(st.integers(1, 12)) * 10},
                float(draw(st.integers(1, 4)) * 10),
                float(draw(st.integers(1, 3))),
            )
            for k in range(draw(st.integers(1, 2)))
        )
        if slowed:  # how much a model feels of its neighbours' use
            b = draw(st.sampled_from([0.0, 0.3, 1.0, 1.5]))
            options = tuple(
                replace(o, busy=o.needs["utilization"] / 100, sensitivity=b) for o in options
            )
        rated = with_rates and draw(st.booleans())
        models.append(
            Model(
                name,
                options,
                rate=float(draw(st.integers(1, 7)) * 5) if rated else None,
                latency_limit_ms=draw(st.sampled_from([None, None, 2.0])),
                min_replicas=draw(st.sampled_from([1, 1, 1, 2, 0])),
                weight=float(draw(st.integers(1, 2))),
            )
        )
    names = [m.name for m in models]
    devices = ["a", "b", *(["a-1"] if pools[0].count == 2 else [])]
    some = st.sampled_from(names)
    rules = Rules(
        pins=tuple(draw(st.lists(st.tuples(some, st.sampled_from(devices)), max_size=1))),
        forbidden=tuple(draw(st.lists(st.tuples(some, st.sampled_from(devices)), max_size=1))),
        apart=(tuple(names[:2]),) if len(names) > 1 and draw(st.booleans()) else (),
        together=(tuple(names[-2:]),) if len(names) > 2 and draw(st.booleans()) else (),
        spread=tuple(draw(st.lists(some, max_size=1))),
        excluded_devices=draw(st.sampled_from([(), (), (), ("b",), (devices[-1],)])),
    )
    current = tuple(
        (name, draw(st.sampled_from(["a-1" if pools[0].count == 2 else "a", "b"])))
        for name in draw(st.lists(some, max_size=2, unique=True))
    )
    return PlacementProblem(
        tuple(models),
        types,
        pools,
        RESOURCES,
        rules,
        objective,
        draw(st.sampled_from(["sum", "max-min"])),
        current,
        draw(st.sampled_from([None, None, 0, 1])) if current else None,
        draw(st.sampled_from([0.0, 0.3])),
        draw(st.sampled_from([None, None, None, 1, 2])),
    )


def seats(problem):
    """(device name, type, parent, pool) of every whole device and slice."""
    for pool in problem.pools:
        for name in pool.devices(9):
            yield name, pool.device_type, None, pool
            for partition in pool.partitions:
                for number, kind in enumerate(partition, 1):
                    yield f"{name}/{kind}-{number}", kind, name, pool


def every_layout(problem):
    """Every way to choose an option, or none, of each model on each seat, as far as memory goes."""
    kinds = {kind.name: kind for kind in problem.types}
    choices = []
    for seat in seats(problem):
        kind = kinds[seat[1]]
        fitting = []
        per_model = [
            [None, *(o for o in m.options if o.device_type == seat[1])] for m in problem.models
        ]
        for chosen in product(*per_model):
            memory = kind.baseline["memory"] + sum(o.needs["memory"] for o in chosen if o)
            if memory <= kind.capacity["memory"] or not any(chosen):
                fitting.append((seat, chosen))
        choices.append(fitting)
    for combination in product(*choices):
        yield [(seat, chosen) for seat, chosen in combination if any(chosen)]


def best_shares(problem, placed):
    """(value, shares by seat and model) of the best shares for options that stand; None if none."""
    lp = pywraplp.Solver.CreateSolver("GLOP")
    kinds = {kind.name: kind for kind in problem.types}
    share = {}
    carried = {m.name: [] for m in problem.models}
    for (name, kind, _, _), chosen in placed:
        load = []
        for model, option in zip(problem.models, chosen, strict=True):
            if option is None:
                continue
            fixed = problem.objective == "min-hardware" and not model.rate
            variable = lp.NumVar(1 if fixed else 0, 1, "")
            share[name, model.name] = variable
            carried[model.name].append(option.throughput * variable)
            load.append(option.needs["utilization"] * variable)
        if "utilization" in kinds[kind].capacity:  # else the type has no limit on it
            free = kinds[kind].capacity["utilization"] - kinds[kind].baseline["utilization"]
            lp.Add(sum(load) <= free)
        here = [(m, o) for m, o in zip(problem.models, chosen, strict=True) if o]
        for model, option in here:
            lost = option.sensitivity * sum(
                o.busy * share[name, m.name] for m, o in here if m is not model
            )
            if problem.objective == "max-throughput" or model.rate:
                lp.Add(share[name, model.name] + lost <= 1)
            if model.latency_limit_ms:
                lp.Add(lost <= 1 - option.latency_ms / model.latency_limit_ms)
    if problem.objective == "min-hardware":
        for model in problem.models:
            if model.rate:
                lp.Add(sum(carried[model.name]) >= model.rate)
    else:
        growth = []
        for model in problem.models:
            best = model.rate or max((o.throughput for o in usable(model)), default=inf)
            growth.append(sum(carried[model.name]) * (1 / best))
        if problem.fairness == "max-min":
            factor = lp.NumVar(0, inf, "")
            for relative in growth:
                lp.Add(factor <= relative)
            lp.Maximize(factor)
        else:
            value = 0
            for model, relative in zip(problem.models, growth, strict=True):
                capped = lp.NumVar(0, 1, "")
                lp.Add(capped <= relative)
                value += model.weight * capped
            lp.Maximize(value)
    if lp.Solve() != pywraplp.Solver.OPTIMAL:
        return None
    return {key: min(1.0, max(0.0, v.solution_value())) for key, v in share.items()}


def usable(model):
    limit = model.latency_limit_ms
    return [o for o in model.options if limit is None or o.latency_ms <= limit]


def brute_force(problem):
    """The best objective of any layout that holds; None when there is none."""
    best = None
    least = problem.objective == "min-hardware"
    if any(not usable(m) and (m.min_replicas or (m.rate and least)) for m in problem.models):
        return None
    scaled = problem.objective == "max-throughput" or any(m.rate for m in problem.models)
    for placed in every_layout(problem):
        if any(
            sum(chosen[i] is not None for _, chosen in placed) < model.min_replicas
            for i, model in enumerate(problem.models)
        ):
            continue
        shares = best_shares(problem, placed) if scaled else {}
        if shares is None:
            continue
        layout = Layout(
            tuple(
                PlacedDevice(
                    name,
                    kind,
                    tuple(
                        Resident(m.name, o.name, s, o.throughput * s)
                        for m, o in zip(problem.models, chosen, strict=True)
                        if o
                        for s in [shares.get((name, m.name), 1.0)]
                    ),
                    host=pool.host,
                    parent=parent,
                )
                for (name, kind, parent, pool), chosen in placed
            )
        )
        if check.violations(loosened(problem), layout):
            continue
        value = check.objective(problem, layout)
        if best is None or (value < best if problem.objective == "min-hardware" else value > best):
            best = value
    return best


def loosened(problem):
    """The linear program's floats may miss a limit by a hair."""
    return replace(
        problem,
        types=tuple(
            replace(t, capacity={n: c + 1e-6 for n, c in t.capacity.items()}) for t in problem.types
        ),
        models=tuple(
            replace(
                m,
                rate=m.rate and m.rate - 1e-6,
                options=tuple(
                    replace(o, sensitivity=o.sensitivity * (1 - 1e-6)) for o in m.options
                ),
                latency_limit_ms=m.latency_limit_ms and m.latency_limit_ms * (1 + 1e-6),
            )
            for m in problem.models
        ),
    )


def raised(problem):
    return replace(
        problem, models=tuple(replace(m, rate=m.rate and m.rate * COARSE) for m in problem.models)
    )


SETTINGS = settings(
    max_examples=int(os.environ.get("MODEL_PLACER_CASES", "150")),
    suppress_health_check=[HealthCheck.too_slow],
)


@given(problems() | problems(slowed=True))
@SETTINGS
def test_least_hardware_equals_brute_force(problem):
    result = solve(problem, 20)
    best = brute_force(problem)
    if best is None:
        assert result.status == "infeasible"
        return
    if result.status == "infeasible":
        assert brute_force(raised(problem)) is None
        return
    assert result.status == "optimal"
    assert result.value >= best - 1e-9
    assert check.objective(problem, result.layout) <= result.value + 1e-9
    if result.value > best + 1e-9:
        above = brute_force(raised(problem))
        assert above is None or result.value <= above + 1e-9


@given(problems("max-throughput") | problems("max-throughput", slowed=True))
@SETTINGS
def test_most_throughput_equals_brute_force(problem):
    result = solve(problem, 20)
    best = brute_force(problem)
    if best is None:
        assert result.status == "infeasible"
        return
    assert result.status == "optimal"
    assert best / COARSE - 1e-3 <= result.value <= best + 1e-3
    assert abs(check.objective(problem, result.layout) - result.value) < 1e-3


def mutations(problem, layout):
    """What surely breaks a layout that holds, each with a word for it."""
    devices = list(layout.devices)

    def changed(row, **changes):
        return Layout((*devices[:row], replace(devices[row], **changes), *devices[row + 1 :]))

    counts = Counter(r.model for d in devices for r in d.residents)
    models = dict(problem.copies())
    for row, device in enumerate(devices):
        yield "a stranger", changed(row, name="stranger", parent=None)
        yield "twice", Layout((*devices, device))
        for number, resident in enumerate(device.residents):
            rest = (*device.residents[:number], *device.residents[number + 1 :])
            model = models[resident.model]
            if counts[resident.model] == model.min_replicas:
                yield "one replica too few", changed(row, residents=rest)
            yield "a model twice", changed(row, residents=(*device.residents, resident))
            more = (*rest, replace(resident, share=resident.share + 1.1))
            yield "more than all", changed(row, residents=more)
            yield "no such option", changed(row, residents=(*rest, replace(resident, option="k9")))
            if not model.rate:
                less = replace(resident, share=0.5, rate=resident.rate / 2)
                yield "less than the measured load", changed(row, residents=(*rest, less))


@given(problems())
@SETTINGS
def test_the_checker_finds_every_mutation(problem):
    result = solve(problem, 20, tie_break=False)
    if result.layout is None:
        return
    assert check.violations(problem, result.layout) == []
    for what, broken in mutations(problem, result.layout):
        assert check.violations(problem, broken), what
    price = check.objective(problem, result.layout)
    assert price == pytest.approx(result.value)
    used = result.layout.gpu_count
    assert check.violations(replace(problem, max_devices=used - 1), result.layout)
    for device in result.layout.devices:
        rules = replace(problem.rules, excluded_devices=(device.parent or device.name,))
        assert check.violations(replace(problem, rules=rules), result.layout)
        for resident in device.residents:
            forbidden = ((resident.model, device.name),)
            rules = replace(problem.rules, forbidden=forbidden)
            assert check.violations(replace(problem, rules=rules), result.layout)
