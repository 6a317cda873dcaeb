"""What all commands share: sources of options, configuration file, output formats, logging.

A value comes from the flag, else from `MODEL_PLACER_<OPTION>` in the environment, else from the
configuration file (`model-placer.yaml`, or `-f FILE`), else from the option's default.
"""

from __future__ import annotations

import difflib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from click.core import ParameterSource

from analyzer.cli import model_analyzer_config
from analyzer.cli.progress import StatusLine
from analyzer.cli.values import Value
from analyzer.report.terminal import colorless
from profiles.document import read_yaml
from profiles.errors import InputError

CONFIG_FILE = "model-placer.yaml"
COMMAND_SECTIONS = ("profile", "place", "advise", "export", "verify", "run", "report", "show")

log = logging.getLogger("model_placer")
status_line = StatusLine()


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command with the options that every command takes.

    The function gets `output_format`, besides its own options.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        settings.setdefault("context_settings", {"show_default": True})
        made = click.decorators.command(name, click.Command, **settings)(function)
        made.params += _common_options()
        for parameter in made.params:
            if isinstance(parameter, click.Option) and parameter.name and not parameter.envvar:
                parameter.envvar = "MODEL_PLACER_" + parameter.name.upper()
        return made

    return decorate


def nearest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def refuse_idle(ctx: click.Context, names: Iterable[str], needed: str) -> None:
    """Raise InputError when one of these options was typed: it has no effect without `needed`.

    In the environment or the configuration file they may stand for another time.
    """
    for parameter in ctx.command.params:
        typed = ctx.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if parameter.name in names and typed:
            raise InputError(f"{parameter.opts[-1]} has no effect without {needed}.")


def emit(document: Any, output_format: str, table: Callable[[], str]) -> None:
    """Print a result to stdout: the document as JSON or YAML, or the text that `table` makes."""
    if output_format == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif output_format == "yaml":
        click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(table(), color=False if colorless() else None)


def _read_config(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    path = Path(value or CONFIG_FILE)
    if value is None and not path.is_file():
        return
    document = read_yaml(path) or {}
    if not isinstance(document, Mapping):
        raise InputError(f"{path}: expected a mapping, e.g. `store: profiles.db`.")
    if model_analyzer_config.is_model_analyzers(document):
        if ctx.command.name != "profile":
            raise InputError(f"{path} is a file of Model Analyzer: `profile -f` alone reads it.")
        document, notes = model_analyzer_config.translate(document, path)
        for note in notes:
            log.warning("Note: %s", note)
    names = {p.name for p in ctx.command.params if p.name}
    shared = {k: v for k, v in document.items() if k not in COMMAND_SECTIONS}
    own = document.get(ctx.command.name or "", None) or {}
    if not isinstance(own, Mapping):
        raise InputError(f"{path}: {ctx.command.name}: expected a mapping of options.")
    for key in own:
        if str(key).replace("-", "_") not in names:
            hint = nearest(str(key).replace("-", "_"), names)
            raise InputError(f"{path}: {ctx.command.name}: unknown option {key!r}.{hint}")
    known = SHARED_KEYS | set(COMMAND_SECTIONS)
    for key in shared:
        if str(key).replace("-", "_") not in known:
            raise InputError(f"{path}: unknown key {key!r}.{nearest(str(key), known)}")
    values = {str(k).replace("-", "_"): v for k, v in {**shared, **own}.items()}
    if isinstance(values.get("models"), Mapping):  # names, each with what is particular to it
        ctx.meta["model_placer.models"] = values["models"]
        values["models"] = [str(name) for name in values["models"]]
    ctx.default_map = {
        parameter.name: _as_given(values[parameter.name], parameter, f"{path}: {parameter.name}")
        for parameter in ctx.command.params
        if parameter.name in values
    }
    ctx.meta["model_placer.config"] = document
    ctx.meta["model_placer.config_file"] = path


def _as_given(value: Any, parameter: click.Parameter, source: str) -> Any:
    """The configuration file's value as the option's own reader takes it: as words, or a flag.

    A `Value` reads lists and mappings itself; click's types know words only.
    """
    if value is None:
        raise InputError(f"{source}: has no value. Give one, or leave the key out.")
    if parameter.multiple and not isinstance(value, list):
        value = [value]
    if isinstance(parameter.type, Value):
        return value
    if parameter.multiple:
        return [_word(one, source) for one in value]
    if getattr(parameter, "is_bool_flag", False):
        if not isinstance(value, bool):
            raise InputError(f"{source}: expected true or false, not {value!r}.")
        return value
    return _word(value, source)


def _word(value: Any, source: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "\0" in str(value):
        raise InputError(f"{source}: expected one value, not {value!r}.")
    return str(value)


SHARED_KEYS = {"store", "model_repository", "output_format", "models", "layout"}


def _set_verbosity(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if not value:
        return
    level = logging.DEBUG if param.name == "verbose" else logging.ERROR
    log.setLevel(level)


def log_to_stderr() -> None:
    """Send progress and logs to stderr; results alone go to stdout."""
    status_line.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(status_line)
    log.setLevel(logging.INFO)
    log.propagate = False


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--output-format"],
            type=click.Choice(["table", "json", "yaml"]),
            default="table",
            help="How results are printed to stdout.",
        ),
        click.Option(
            ["-f", "--config-file"],
            metavar="FILE",
            is_eager=True,
            expose_value=False,
            callback=_read_config,
            help=f"Configuration file  [default: {CONFIG_FILE} if it is there]",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_set_verbosity,
            help="Say more on stderr.",
        ),
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_set_verbosity,
            help="Say only errors on stderr.",
        ),
    ]


def measured_models(known: Iterable[str], wanted: Iterable[str] | None) -> set[str]:
    """The models to show, of those that were measured: the wanted ones, or all.

    Raises InputError for a wanted one that is not known; one that the configuration file names,
    for all commands, may not have been measured yet.
    """
    from profiles.repository import select

    names = set(known)
    if not wanted:
        return names
    chosen = list(wanted)
    source = click.get_current_context().get_parameter_source("models")
    if source is ParameterSource.DEFAULT_MAP:
        missing = [name for name in chosen if name not in names]
        if missing and names & set(chosen):
            log.warning("Not measured yet: %s.", ", ".join(missing))
            chosen = [name for name in chosen if name in names]
    return set(select(sorted(names), chosen))
