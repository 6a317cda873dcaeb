"""The command line: parse, call, print.

Exit codes: 0 done; 1 the answer is no (nothing fits, verification failed); 2 bad usage or bad
input; 3 the surroundings failed (Triton, Docker, GPU); 130, 143 and 129 interrupted by SIGINT,
SIGTERM and SIGHUP. Each command lives in a module of its own, imported when it is called, so that
`--help` and completion stay instant.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

import click

from analyzer.cli.command import log_to_stderr, nearest, status_line
from profiles.errors import InputError, ModelPlacerError, NoAnswerError

COMMANDS = {  # name: (module, one line for `model-placer --help`), in the order of use
    "init": ("init", "Look at a model repository and write a commented model-placer.yaml."),
    "profile": ("profile", "Measure models on Triton and keep the results in a store."),
    "place": ("place", "Decide which model goes on which device, in which variant."),
    "export": ("export", "Write the Triton repositories and manifests of a layout."),
    "verify": ("verify", "Run a layout under load and check that it holds."),
    "advise": ("advise", "Say what to change, by what evidence, and what that would bring."),
    "run": ("run", "Profile, place and export in one go."),
    "show": ("show", "Print what a store knows."),
    "report": ("report", "Write a store and a layout as one HTML page."),
    "compare": ("compare", "Say what got slower, larger or hungrier between two stores or dates."),
    "import": ("import_", "Take measurements from a table or another tool into a store."),
    "merge": ("merge", "Merge stores into one."),
    "diff": ("diff", "Say what changes between two layouts."),
    "apply": ("apply", "Bring running Tritons from one layout to another."),
    "doctor": ("doctor", "Report what is here to work with, and the remedy for what is missing."),
    "server": ("server", "Install and manage the embedded Triton."),
    "schema": ("schema", "Print the JSON Schema of a file that is read or written."),
    "completion": ("completion", "Print what makes a shell complete commands and options."),
}


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if _exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS or not _exists(cmd_name):
            return None
        module = importlib.import_module(f"analyzer.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, COMMANDS[cmd_name][0])
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            ctx.fail(f"No such command {args[0]!r}.{nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            names = self.list_commands(ctx)
            if names:
                formatter.write_dl([(name, COMMANDS[name][1]) for name in names])


def _exists(name: str) -> bool:
    return importlib.util.find_spec(f"analyzer.cli.{COMMANDS[name][0]}") is not None


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="model-placer", message="%(prog)s %(version)s")
def cli() -> None:
    """Measure models on NVIDIA Triton and prove which goes on which GPU.

    \b
    model-placer profile -m model_repository --batch-sizes 1,2,4 --concurrency 1,2,4
    model-placer place --device "Tesla T4" -o layout.yaml
    model-placer export layout.yaml -m model_repository -o deploy/
    model-placer verify layout.yaml -m model_repository
    """  # noqa: D301


class _Interrupted(BaseException):
    """SIGTERM or SIGHUP: unwinds like KeyboardInterrupt, so that every `with` block closes."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)


def main() -> None:
    """The `model-placer` command."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see `analyzer/entry.py`
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _open_streams()
        log_to_stderr()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # which is what nohup asks for
                signal.signal(number, _interrupt)
        status = _run()
        _flush()
    except KeyboardInterrupt:
        status = 130
    except _Interrupted as interrupted:
        status = 128 + interrupted.number
    except BrokenPipeError:  # `model-placer show | head`
        _close_stdout()
        status = 0
    except OSError as error:  # what is more exact was said by whoever knows the file
        _close_stdout()
        with suppress(OSError):
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"Error: {where}{error.strerror or error}.", err=True)
        status = 3
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is open any more
    sys.exit(status)


def _run() -> int:
    try:
        status = cli.main(prog_name="model-placer", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except ModelPlacerError as error:
        click.echo(f"Error: {error}", err=True)
        return exit_code(error)
    finally:
        status_line.show("")
    return status if isinstance(status, int) else 0


def _open_streams() -> None:
    """Let streams that were closed lead nowhere: else the next file would take their numbers."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _close_stdout() -> None:
    """Let the interpreter write nothing more on the way out: it would fail again."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(error: ModelPlacerError) -> int:
    """The exit code for an error; see `profiles/errors.py`."""
    if isinstance(error, InputError):
        return 2
    return 1 if isinstance(error, NoAnswerError) else 3
