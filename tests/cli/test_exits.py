"""How commands end: exit codes, one sentence and a hint on standard error, never a traceback."""

from __future__ import annotations

import inspect
import os

import click
import pytest

from mlflow_utilities import errors
from mlflow_utilities.cli.app import run
from mlflow_utilities.cli.exits import Exit, NotConfirmedError, NothingFoundError, exit_of
from mlflow_utilities.cli.wording import as_commands
from support.command_line import CommandLine
from support.stub_server import error_answer, run_stub

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.MlflowUtilitiesError)
]
API = {"status": 500, "method": "GET", "path": "/x"}


def made(cls: type[errors.MlflowUtilitiesError]) -> errors.MlflowUtilitiesError:
    """Return an error of a class."""
    if issubclass(cls, errors.MlflowApiError):
        return cls("it failed", status=500)
    if issubclass(cls, errors.RolloutOutcomeUnknownError):
        return cls("it failed", run_id="r", key="k", value="v", op="o")
    return cls("it failed")


@pytest.mark.parametrize(
    ("cls", "code"),
    [
        (errors.ServerError, 1),
        (errors.RateLimitedError, 1),
        (errors.ProtocolError, 1),
        (errors.EndpointNotFoundError, 1),
        (errors.ArtifactError, 1),
        (errors.ModelError, 1),
        (errors.RolloutError, 1),
        (errors.ConfigurationError, 2),
        (errors.MissingDependencyError, 2),
        (errors.RedirectError, 2),
        (errors.InvalidInputError, 3),
        (errors.InvalidParameterError, 3),
        (errors.RolloutTooLargeError, 3),
        (errors.NotFoundError, 4),
        (NothingFoundError, 4),
        (errors.RolloutConflictError, 5),
        (errors.MlflowConnectionError, 6),
        (errors.MlflowTimeoutError, 6),
        (errors.RolloutOutcomeUnknownError, 7),
        (errors.UnauthenticatedError, 8),
        (errors.PermissionDeniedError, 8),
        (NotConfirmedError, 9),
        (errors.LedgerDeletedError, 10),
        (errors.LedgerNewerFormatError, 10),
    ],
)
def test_each_kind_of_failure_has_its_code(cls: type[errors.MlflowUtilitiesError], code: int) -> None:
    """Scripts tell refusals, conflicts, outages and lost answers from each other."""
    assert exit_of(made(cls)) == code


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_error_of_the_package_is_taken_for_a_bug_or_for_success(cls: type[errors.MlflowUtilitiesError]) -> None:
    """Whatever the package raises has a code that says what happened."""
    assert exit_of(made(cls)) not in (Exit.DONE, Exit.BUG)


def test_input_that_the_server_does_not_know_is_not_found() -> None:
    """A verb that refuses a run because the server has none ends as not found."""
    error = errors.InvalidInputError("there is no run x")
    error.__cause__ = errors.NotFoundError("none", status=404)

    assert exit_of(error) is Exit.NOT_FOUND


def test_codes_have_meanings() -> None:
    """Each exit code says what it means, once."""
    meanings = [code.meaning for code in Exit]

    assert all(meanings)
    assert len(set(meanings)) == len(meanings)


def raising(error: BaseException) -> click.Command:
    """Return a command that raises an error."""

    @click.command()
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ZeroDivisionError("division by zero"), 70, "bug of mlflow-utilities: ZeroDivisionError: division by zero"),
        (ExceptionGroup("several", [errors.ServerError("it broke", **API)]), 1, "GET /x: 500: it broke"),
        (OSError(28, "No space left on device"), 1, "error: No space left on device"),
        (made(errors.RolloutOutcomeUnknownError), 7, "error: it failed"),
        (errors.InvalidInputError("bad", hint="use enable_run"), 3, "hint: use enable\n"),
        (errors.ProtocolError("a\x1b[2Jb"), 1, "a\\x1b[2Jb"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 130, "interrupted"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
        (ExceptionGroup("watch", [BrokenPipeError(32, "Broken pipe")]), 141, ""),
        (errors.ServerError("it broke", **API), 1, "hint: mlflow-utilities doctor"),
        (errors.MlflowTimeoutError("not done within 1 s"), 6, "hint: mlflow-utilities doctor"),
        (errors.MlflowTimeoutError("not done within 1 s", hint="is it up?"), 6, "hint: is it up?\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, says: str
) -> None:
    """Every end is a code and at most two lines on standard error; nothing is on standard output."""
    ended = run([], raising(error))

    seen = capsys.readouterr()
    assert (ended, seen.out) == (code, "")
    assert says in seen.err
    assert "Traceback" not in seen.err


def test_a_bug_shows_its_traceback_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """The environment variable that the hint's option stands for prints what a report needs."""
    os.environ["MLFLOW_UTILITIES_DEBUG"] = "1"

    assert run([], raising(ZeroDivisionError("division by zero"))) == 70

    assert "Traceback" in capsys.readouterr().err


def test_debug_is_an_option_of_every_command(command_line: CommandLine) -> None:
    """`--debug` adds the traceback to the sentence."""
    ended = command_line("runs", "-e", "no such experiment", "--debug")

    assert ended.code == 4
    assert "Traceback" in ended.err


@pytest.mark.parametrize(
    ("status", "error_code", "code"),
    [(401, "UNAUTHENTICATED", 8), (403, "PERMISSION_DENIED", 8), (500, "INTERNAL_ERROR", 1), (308, "X", 2)],
)
def test_what_a_server_says(command_line: CommandLine, status: int, error_code: str, code: int) -> None:
    """Missing rights, a failing server and a redirect end differently, and the message names the call."""
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"

    with run_stub(lambda received: error_answer(status, error_code)) as server:
        ended = command_line("runs", "-e", "x", "--tracking-uri", server.uri)

    assert (ended.code, ended.out) == (code, "")
    assert f"experiments/get-by-name: {status}" in ended.err


def test_a_server_that_is_not_there(command_line: CommandLine, free_port: int) -> None:
    """A refused connection ends within the time that was allowed, as unreachable."""
    ended = command_line("runs", "-e", "x", "--tracking-uri", f"http://127.0.0.1:{free_port}", "--timeout", "0.2")

    assert (ended.code, ended.out) == (6, "")
    assert "hint: " in ended.err


@pytest.mark.parametrize("uri", ["", "file:///tmp/mlruns", "http://"])
def test_a_server_that_cannot_be(command_line: CommandLine, uri: str) -> None:
    """No address, or one that is none, is a mistake of usage."""
    os.environ["MLFLOW_TRACKING_URI"] = uri

    ended = command_line("runs", "-e", "x")

    assert ended.code == 2
    assert "hint: " in ended.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("enable_run or update_active_runs begins one", "enable or split begins one"),
        ("give submodel_name", "give --submodel"),
        ("restore_run first", "restore_run first"),
        ("list_runs shows them", "runs shows them"),
        ("my_list_runs", "my_list_runs"),
    ],
)
def test_hints_speak_of_commands(text: str, said: str) -> None:
    """A hint names the command or option that an operator has, not a Python function."""
    assert as_commands(text) == said
