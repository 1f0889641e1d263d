"""The group of commands: each is imported when it is used, so that the others cost nothing."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, cast

import click
from click.shell_completion import shell_complete

from mlflow_utilities._version import __version__
from mlflow_utilities.cli.exits import Exit, exit_of
from mlflow_utilities.cli.options import common_of, common_options
from mlflow_utilities.cli.printing import say
from mlflow_utilities.cli.streams import forget_output, prepare_streams
from mlflow_utilities.cli.wording import as_commands
from mlflow_utilities.errors import (
    MlflowApiError,
    MlflowConnectionError,
    MlflowTimeoutError,
    MlflowUtilitiesError,
    ProtocolError,
)

__all__ = ["COMMANDS", "COMPLETION", "PROGRAM", "app", "run"]

PROGRAM = "mlflow-utilities"
COMPLETION = "_MLFLOW_UTILITIES_COMPLETE"
# Name of each command: its module below mlflow_utilities.cli.commands, which has it as `command`, and what it does in
# the words of that command's own help, so that the list of commands imports none of them.
COMMANDS: dict[str, tuple[str, str]] = {
    "runs": ("runs", "List the runs of a submodel with their versions and statuses."),
    "models": ("models", "List the models of a submodel: runs, and where to load them from."),
    "show": ("show", "Show one run: version, status, share, metadata, metrics, files."),
    "enable": ("enable", "Make a run the only Active one of its version."),
    "disable": ("disable", "Take a run out of use."),
    "canary": ("canary", "Let a run get copies of requests; its answers are not used."),
    "split": ("split", "Say which runs are Active, with which shares of the requests."),
    "history": ("history", "Show every change of a rollout: who, when, why."),
    "rollback": ("rollback", "Bring back an earlier generation of a rollout."),
    "revoke": ("revoke", "Stop a run now and for good."),
    "watch": ("watch", "Follow a rollout live, as a service sees it."),
    "cache": ("cache", "Show and clean the cache of downloaded models."),
    "doctor": ("doctor", "Check the connection to the server and this machine, and say what to do."),
    "demo": ("demo", "Play a whole rollout on a server started for it."),
    "completion": ("completion", "Print the script that completes this command in a shell."),
}


class Commands(click.Group):
    """A group that knows its commands' names without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order in which a rollout needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"mlflow_utilities.cli.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=PROGRAM)
@common_options
def app() -> None:
    """Semantic versions and rollouts of models on an MLflow server.

    The options work after the command's name too. The documentation describes exit codes and JSON shapes.
    """


def run(arguments: Sequence[str] | None = None, command: click.Command = app) -> int:
    """Run the command line and return its exit code; errors are told in a sentence and a hint.

    Args:
        arguments: what follows the program's name; the process's own if None.
        command: what to run.

    """
    prepare_streams()
    try:
        code = _ended(command, list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        code = Exit.CLOSED
    except OSError as error:
        code = _failed(error, debug=False)
    forget_output()
    return code


def _ended(command: click.Command, arguments: list[str]) -> int:
    """Run a command and return its exit code, with every failure told."""
    common = common_of(os.environ)
    try:
        if asked := os.environ.get(COMPLETION):
            return shell_complete(command, {}, PROGRAM, COMPLETION, asked)
        # click's own main would turn a closed pipe into a failure.
        with command.make_context(PROGRAM, arguments, obj=common) as context:
            result: Any = command.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        return _misused(error)
    except (KeyboardInterrupt, click.Abort):
        return _told(Exit.INTERRUPTED, "interrupted")
    except Exception as error:
        return _failed(_only(error), debug=common.debug)
    return result if isinstance(result, int) else Exit.DONE


def _told(code: Exit, message: str, hint: str = "") -> Exit:
    """Say how it ended, and return the code: the same when nobody can be told."""
    try:
        say(message)
        if hint:
            say(f"hint: {hint}")
    except OSError:
        forget_output()
    return code


def _misused(error: click.ClickException) -> Exit:
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"{context.command_path} --help shows how it is used" if context is not None else ""
    return _told(Exit.USAGE, f"error: {error.format_message()}", hint)


def _only(error: Exception) -> Exception:
    """Return the one error that a group was made of, else the error itself."""
    if not isinstance(error, ExceptionGroup):
        return error
    group = cast("ExceptionGroup[Exception]", error)
    return _only(group.exceptions[0]) if len(group.exceptions) == 1 else group


def _failed(error: Exception, *, debug: bool) -> Exit:
    if isinstance(error, BrokenPipeError):
        return Exit.CLOSED
    if debug:
        traceback.print_exception(error)
    if isinstance(error, MlflowUtilitiesError):
        message, hint = _sentence(error), as_commands(error.hint or _general_hint(error))
    elif isinstance(error, OSError):
        message, hint = ": ".join(str(part) for part in (error.strerror or error, error.filename) if part), ""
    else:
        message = f"this is a bug of {PROGRAM}: {type(error).__name__}: {error}"
        hint = "" if debug else "the same command with --debug shows the traceback to report"
    return _told(exit_of(error), f"error: {message}", hint)


def _sentence(error: MlflowUtilitiesError) -> str:
    where = f"{error.method} {error.path}: {error.status}: " if isinstance(error, MlflowApiError) else ""
    return where + " ".join(error.message.split())


def _general_hint(error: MlflowUtilitiesError) -> str:
    """Return what to do about a server that fails, or is not there, in a way that says nothing of it."""
    if isinstance(error, MlflowApiError | MlflowConnectionError | MlflowTimeoutError | ProtocolError):
        return f"{PROGRAM} doctor looks at the server and the way to it; the log of the server may say more"
    return ""
