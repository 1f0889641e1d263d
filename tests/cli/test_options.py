"""Options of every command: where they may stand, and which variables stand for them."""

from __future__ import annotations

import os

import click
import pytest

from mlflow_utilities.cli.app import COMMANDS, app
from mlflow_utilities.cli.options import Common, common_of, common_options, named_of
from support.command_line import CommandLine


def seen_by(command: list[str], **environ: str) -> Common:
    """Return the options as a command of a group sees them."""
    found: list[Common] = []

    @click.group()
    @common_options
    def group() -> None:
        pass

    @group.command()
    @common_options
    @click.pass_obj
    def act(common: Common) -> None:
        found.append(common)

    group.main(command, standalone_mode=False, obj=common_of(environ))
    return found[0]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (["--json"], Common(json=True)),
        (["--no-color"], Common(color=False)),
        (["--debug"], Common(debug=True)),
        (["--timeout", "2.5"], Common(timeout=2.5)),
        (["--tracking-uri", "http://x"], Common(tracking_uri="http://x")),
    ],
)
def test_options_stand_before_or_after_the_command(option: list[str], expected: Common) -> None:
    """What every command takes may stand on either side of its name."""
    assert seen_by([*option, "act"]) == expected
    assert seen_by(["act", *option]) == expected


def test_the_option_nearer_to_the_command_counts() -> None:
    """An option that is given twice has the value after the command's name, and others stay."""
    assert seen_by(["--timeout", "1", "--json", "act", "--timeout", "2"]) == Common(timeout=2.0, json=True)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-1", "soon"])
@pytest.mark.parametrize(
    "arguments", [["doctor", "--timeout"], ["watch", "-e", "x", "--interval"], ["canary", "x", "--share"]]
)
def test_a_number_is_finite_and_within_its_limits(command_line: CommandLine, arguments: list[str], text: str) -> None:
    """What is none is a mistake of usage, before a server is asked."""
    ended = command_line(*arguments, text)

    assert (ended.code, ended.out) == (2, "")
    assert arguments[-1] in ended.err


def test_variables_that_stand_for_options() -> None:
    """NO_COLOR takes colours away and MLFLOW_UTILITIES_DEBUG shows tracebacks; empty ones do nothing."""
    assert seen_by(["act"], NO_COLOR="1", MLFLOW_UTILITIES_DEBUG="1") == Common(color=False, debug=True)
    assert seen_by(["act"], NO_COLOR="", MLFLOW_UTILITIES_DEBUG="") == Common()


def test_the_environment_names_the_experiment_unless_an_option_does() -> None:
    """Variables of MLflow's client name the experiment, and an option of either kind replaces both."""
    os.environ.update(MLFLOW_EXPERIMENT_NAME="fraud", MLFLOW_EXPERIMENT_ID="7")

    assert named_of(None, None, None).names == {
        "experiment_id": "7", "experiment_name": "fraud", "submodel_name": None,
    }  # fmt: skip
    assert named_of(None, "8", None).names == {"experiment_id": "8", "experiment_name": None, "submodel_name": None}
    assert not named_of(None, None, "x").given


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_what_the_table_says(name: str) -> None:
    """The list of commands, which imports none of them, says what each command says of itself."""
    context = click.Context(app)
    command = app.get_command(context, name)

    assert command is not None
    assert " ".join((command.help or "").split()).startswith(COMMANDS[name][1])
    for leaf in command.commands.values() if isinstance(command, click.Group) else [command]:
        options = {option for parameter in leaf.params for option in parameter.opts}
        assert {"--json", "--no-color", "--debug", "--timeout", "--tracking-uri"} <= options


@pytest.mark.parametrize("name", ["enable", "disable", "canary", "split", "rollback", "revoke"])
def test_every_command_that_writes_can_be_tried_and_explained(name: str) -> None:
    """Each writing command has --dry-run, --yes, --why and --expected-generation."""
    command = app.get_command(click.Context(app), name)
    assert command is not None

    options = {option for parameter in command.params for option in parameter.opts}

    assert {"--dry-run", "--yes", "-y", "--why", "--expected-generation"} <= options
