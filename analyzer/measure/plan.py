"""The plan of points: which models, in which variants, under which loads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analyzer.load import input_data, inputs
from analyzer.load.connections import most_connections
from analyzer.load.model_inputs import describe_config
from analyzer.measure.grid import Point, fitting, loads, variants
from analyzer.measure.options import Options
from analyzer.measure.shard import expected_s, split
from profiles import repository
from profiles.digest import composed_digest, model_digest
from profiles.errors import InputError
from profiles.model_config import is_iterative, is_stateful, steps
from profiles.model_name import unfit_for_requests
from profiles.repository import ModelDirectory


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    models: Mapping[str, ModelDirectory]  # in the order in which they are measured
    points: tuple[Point, ...]  # of all models, in that order
    loaded: Mapping[str, ModelDirectory]  # the models, and those that they are composed of
    left_out: Mapping[str, str] = field(default_factory=dict)  # by model that cannot be measured
    # as it is: why, and the remedy


def make_plan(options: Options, say: Callable[[str], None] = lambda _: None) -> Plan:
    """All points of all models; settings that a model cannot vary are left out with a note.

    Models that cannot be measured as they are, or with the inputs that are given, are left out.

    Raises
    ------
    InputError
        The repository or an option is wrong, no model can be measured, or `options.strict` and
        one cannot.
    """
    chosen = chosen_names(options)
    if options.inputs.data not in {"random", "zero"}:
        input_data.check(Path(options.inputs.data))
    left_out: dict[str, str] = {}
    if options.models is None and options.shard is None:
        left_out |= repository.unfit_directories(options.model_repository)
    models: dict[str, ModelDirectory] = {}
    members: dict[str, dict[str, ModelDirectory]] = {}
    known: dict[str, list[str] | None] = {}  # inputs by model; None: the server knows them
    for name in chosen:
        try:
            model = repository.read_model(options.model_repository, name)
            called = _members(options, model)
            for one in (model, *called.values()):
                _check_name(one)
            known[name] = _checked_inputs(options, name, model)
        except InputError as error:
            left_out[name] = str(error)
        else:
            models[name], members[name] = model, called
    _check_shapes(options, known)
    _check_concurrency(options, models)
    if left_out and (options.strict or not models):
        raise InputError("\n".join(left_out.values()))
    for reason in left_out.values():
        say(f"Left out: {reason}")
    points: list[Point] = []
    for name, model in models.items():
        shapes, source = options.inputs.found(name)
        if shapes:
            told = ", ".join(f"{input_}: {list(dims)}" for input_, dims in shapes.items())
            say(f"{name}: dims of {told} are from {source}.")
        points += _points_of(options, name, model, members[name], say)
    loaded = dict(models)
    for called in members.values():
        loaded = called | loaded
    return Plan(models, tuple(points), loaded, left_out)


def planned(options: Options, points: Sequence[Point]) -> Plan:
    """The plan of points that `make_plan` made; raises InputError where a model is broken now."""
    names = dict.fromkeys(point.variant.model for point in points)
    models = {name: repository.read_model(options.model_repository, name) for name in names}
    loaded = dict(models)
    for model in models.values():
        loaded = _members(options, model) | loaded
    return Plan(models, tuple(points), loaded)


def _members(options: Options, model: ModelDirectory) -> dict[str, ModelDirectory]:
    return repository.composed_of(options.model_repository, model, options.with_models)


def chosen_names(options: Options) -> tuple[str, ...]:
    """The models to measure, broken ones among them; raises InputError for an unknown name."""
    names = repository.model_names(options.model_repository)
    for known in (
        options.sweep_by_model,
        options.variants,
        options.with_models,
        options.inputs.data_by_model,
        [owner for owner, *_ in (*options.inputs.shapes, *options.inputs.ranges) if owner],
    ):
        repository.select(names, known)
    chosen = repository.select(names, options.models) if options.models else names
    if options.shard is not None:
        costs = {name: _expected_s(options, name) for name in chosen}
        chosen = tuple(split(costs, options.shard.count)[options.shard.index])
    return chosen


def _check_name(model: ModelDirectory) -> None:
    """Raise InputError for a model that Triton cannot be asked for by its name."""
    backend = "" if model.config is None else model.config.backend
    reason = unfit_for_requests(model.name, backend)
    if reason is not None:
        raise InputError(
            f"Model {model.name} cannot be measured under its name: {reason}. Rename its directory "
            f"{model.path}."
        )


def _checked_inputs(options: Options, name: str, model: ModelDirectory) -> list[str] | None:
    """The names of a model's inputs, None where only the server knows them.

    Raises InputError where the inputs that are given contradict the model's configuration.
    """
    given, data = options.inputs, options.inputs.data_of(name)
    if name in given.data_by_model and data not in {"random", "zero"}:
        input_data.check(Path(data))
    described = None if model.config is None else describe_config(model.config, name)
    if described is None:
        return None
    inputs.check_protocol(described, options.load_generator)
    inputs.make_tensors(
        described,
        1,
        shapes=inputs.with_open_dims(described, given.of(name), given.open_dim),
        data="zero" if data == "random" else data,
    )
    return [entry.name for entry in described.inputs]


def _check_shapes(options: Options, known: Mapping[str, list[str] | None]) -> None:
    """Raise InputError for a shape or range that is given of an input which no model has."""
    given, problems = options.inputs, []
    named = [
        *(("--shape", owner, name) for owner, name, _ in given.shapes),
        *(("--shape", owner, name) for owner, by in given.shapes_by_model.items() for name in by),
        *(("--random-range", owner, name) for owner, name, _ in given.ranges),
        *(
            ("--random-range", owner, name)
            for owner, by in given.ranges_by_model.items()
            for name in by
        ),
    ]
    for option, owner, name in named:
        asked = {model: has for model, has in known.items() if owner in (None, model)}
        if asked and all(has is not None and name not in has for has in asked.values()):
            there = "; ".join(f"{model}: {', '.join(has or ())}" for model, has in asked.items())
            problems.append(f"{option} {name}: no such input. Inputs: {there}")
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
    configs = [m.config for m in (model, *calls) if m.config is not None]
    stateful = any(is_stateful(config) for config in configs)
    in_sequences = any(is_stateful(config) and not is_iterative(config) for config in configs)
    sweep, notes = fitting(name, options.sweep_of(name), model.config, stateful=stateful)
    for note in notes:
        say(note)
    digest = composed_digest(
        model_digest(model.path), {n: model_digest(m.path) for n, m in members.items()}
    )
    return [
        Point(variant, load, digest)
        for variant in options.variants.get(name)
        or variants(name, sweep, tuple(members), options.inputs.of)
        for load in loads(sweep, stateful=in_sequences)
    ]


def _expected_s(options: Options, model: str) -> float:
    sweep = options.sweep_of(model)
    members = [name for name, _ in sweep.members]
    return expected_s(
        len(variants(model, sweep, members)), len(list(loads(sweep))), options.rule.max_duration_s
    )
