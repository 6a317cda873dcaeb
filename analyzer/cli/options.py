"""What the commands have in common: options, their sources, and how results are printed.

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

from profiles.document import read_yaml
from profiles.errors import InputError

CONFIG_FILE = "model-placer.yaml"
COMMAND_SECTIONS = ("profile", "place", "export", "verify", "run", "report", "show")

log = logging.getLogger("model_placer")


def command(name: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command with the options that every command takes.

    The function gets `output_format`, besides its own options.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
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


def emit(document: Any, output_format: str, table: Callable[[], str]) -> None:
    """Print a result to stdout: the document as JSON or YAML, or the text that `table` makes."""
    if output_format == "json":
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif output_format == "yaml":
        click.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(table())


class CommaList(click.ParamType[list[Any]]):
    """`1,2,4` on the command line, or a list in the configuration file."""

    name = "list"

    def __init__(self, item: Callable[[str], Any] = str, what: str = "values") -> None:
        self.item, self.what = item, what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        words = (
            [str(word) for word in value]
            if isinstance(value, list | tuple)
            else [word.strip() for word in str(value).split(",")]
        )
        try:
            return [self.item(word) for word in words if word]
        except ValueError:
            self.fail(f"{value!r} is not a list of {self.what}, such as 1,2,4.", param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return f"{self.what.upper()},..."


def positive_integer(word: str) -> int:
    """The number; ValueError when it is not a whole number above zero."""
    number = int(word)
    if number < 1:
        raise ValueError(word)
    return number


class Duration(click.ParamType[float]):
    """Seconds as a float from `30`, `30s`, `2m` or `500ms`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, int | float):
            return float(value)
        for suffix, seconds in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
            if str(value).endswith(suffix):
                try:
                    number = float(str(value).removesuffix(suffix)) * seconds
                except ValueError:
                    break
                if number > 0:
                    return number
                break
        self.fail(f"{value!r} is not a duration, such as 30s, 2m or 500ms.", param, ctx)


class Share(click.ParamType[float]):
    """A share from `5%` or `0.05`."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            text = str(value)
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            self.fail(f"{value!r} is not a share, such as 5% or 0.05.", param, ctx)
        return share


def _read_config(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    path = Path(value or CONFIG_FILE)
    if value is None and not path.is_file():
        return
    document = read_yaml(path) or {}
    if not isinstance(document, Mapping):
        raise InputError(f"{path}: a mapping such as `store: profiles.db` is expected.")
    names = {p.name for p in ctx.command.params if p.name}
    shared = {k: v for k, v in document.items() if k not in COMMAND_SECTIONS}
    own = document.get(ctx.command.name or "", None) or {}
    if not isinstance(own, Mapping):
        raise InputError(f"{path}: {ctx.command.name}: a mapping of options is expected.")
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
    ctx.default_map = {k: v for k, v in values.items() if k in names}
    ctx.meta["model_placer.config"] = document
    ctx.meta["model_placer.config_file"] = path


SHARED_KEYS = {"store", "model_repository", "output_format", "models", "layout"}


def _set_verbosity(ctx: click.Context, param: click.Parameter, value: int) -> None:
    if not value:
        return
    level = logging.DEBUG if param.name == "verbose" else logging.ERROR
    log.setLevel(level)


def log_to_stderr() -> None:
    """Send progress and logs to stderr; results alone go to stdout."""
    handler = logging.StreamHandler()  # stderr
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--output-format"],
            type=click.Choice(["table", "json", "yaml"]),
            default="table",
            show_default=True,
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
