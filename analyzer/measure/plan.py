"""The plan of points: which models, in which variants, under which loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from analyzer.load import input_data, inputs
from analyzer.load.connections import most_connections
from analyzer.load.model_inputs import describe_config
from analyzer.measure.options import Options
from analyzer.measure.shard import expected_s, split
from analyzer.measure.sweep import Point, fitting, loads, variants
from profiles import repository
from profiles.digest import composed_digest, model_digest
from profiles.errors import InputError
from profiles.model_config import is_stateful, steps
from profiles.repository import ModelDirectory


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    models: Mapping[str, ModelDirectory]  # in the order in which they are measured
    points: tuple[Point, ...]  # of all models, in that order
    loaded: Mapping[str, ModelDirectory]  # the models, and those that they are composed of


def make_plan(options: Options, say: Callable[[str], None] = lambda _: None) -> Plan:
    """All points of all models; settings that a model cannot vary are left out with a note.

    Raises
    ------
    InputError
        The repository, a model, an input or the data of one is wrong.
    """
    plan = planned(options, ())
    for file in options.inputs.files():
        input_data.check(file)
    check_inputs(options, plan.models)
    _check_concurrency(options, plan.models)
    points: list[Point] = []
    for name, model in plan.models.items():
        points += _points_of(options, name, model, _members(options, model), say)
    return replace(plan, points=tuple(points))


def planned(options: Options, points: Sequence[Point]) -> Plan:
    """The plan of points that are known; raises InputError as `make_plan`."""
    models = read_models(options)
    loaded = dict(models)
    for model in models.values():
        loaded = _members(options, model) | loaded
    return Plan(models, tuple(points), loaded)


def _members(options: Options, model: ModelDirectory) -> dict[str, ModelDirectory]:
    return repository.composed_of(options.model_repository, model, options.with_models)


def read_models(options: Options) -> dict[str, ModelDirectory]:
    """The models to measure; raises InputError for an unknown name or a broken model."""
    names = repository.model_names(options.model_repository)
    for known in (options.sweep_by_model, options.with_models, options.inputs.data_by_model):
        repository.select(names, known)
    chosen = repository.select(names, options.models) if options.models else names
    if options.shard is not None:
        costs = {name: _expected_s(options, name) for name in chosen}
        chosen = tuple(split(costs, options.shard.count)[options.shard.index])
    return {name: repository.read_model(options.model_repository, name) for name in chosen}


def check_inputs(options: Options, models: Mapping[str, ModelDirectory]) -> None:
    """Raise InputError for inputs that contradict the models' configurations."""
    given, problems = options.inputs, []
    known: dict[str, list[str] | None] = {}  # inputs by model; None: the server knows them
    for name, model in models.items():
        described = None if model.config is None else describe_config(model.config)
        known[name] = None if described is None else [entry.name for entry in described.inputs]
        if described is None:
            continue
        data = given.data_of(name)
        try:
            inputs.check_protocol(described, options.load_generator)
            inputs.make_tensors(
                described, 1, shapes=given.of(name), data="zero" if data == "random" else data
            )
        except InputError as error:
            problems.append(str(error))
    by_model = [(owner, name) for owner, shapes in given.shapes_by_model.items() for name in shapes]
    for owner, name in [*((owner, name) for owner, name, _ in given.shapes), *by_model]:
        asked = {model: has for model, has in known.items() if owner in (None, model)}
        if asked and all(has is not None and name not in has for has in asked.values()):
            there = "; ".join(f"{model}: {', '.join(has or ())}" for model, has in asked.items())
            problems.append(f"--shape {name}: no such input. Inputs: {there}")
    if problems:
        raise InputError("\n".join(problems))


def _check_concurrency(options: Options, models: Iterable[str]) -> None:
    """Raise InputError for more requests in flight than connections can be open here."""
    wanted = max((most for m in models for most in options.sweep_of(m).concurrency), default=1)
    possible = most_connections()
    if wanted > possible and options.load_generator != "grpc":
        raise InputError(
            f"--concurrency {wanted}: at most {possible} connections can be open at once here, by "
            "the limit on open files (`ulimit -Hn`) and the range of local ports."
        )


def _points_of(
    options: Options,
    name: str,
    model: ModelDirectory,
    members: Mapping[str, ModelDirectory],
    say: Callable[[str], None],
) -> list[Point]:
    calls = members.values() if model.config is not None and steps(model.config) else ()
    stateful = any(m.config is not None and is_stateful(m.config) for m in (model, *calls))
    sweep, notes = fitting(name, options.sweep_of(name), model.config, stateful=stateful)
    for note in notes:
        say(note)
    digest = composed_digest(
        model_digest(model.path), {n: model_digest(m.path) for n, m in members.items()}
    )
    return [
        Point(variant, load, digest)
        for variant in variants(name, sweep, tuple(members), options.inputs.of)
        for load in loads(sweep, stateful=stateful)
    ]


def _expected_s(options: Options, model: str) -> float:
    sweep = options.sweep_of(model)
    members = [name for name, _ in sweep.members]
    return expected_s(
        len(variants(model, sweep, members)), len(list(loads(sweep))), options.rule.max_duration_s
    )
