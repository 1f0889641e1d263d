"""The recorded sessions: one of each command, each shown on the page, none with a secret or a path of a machine."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from mlflow_utilities.cli.app import COMMANDS, run

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORDED = [name for name in COMMANDS if name != "completion"]


def lines(name: str) -> list[list[str]]:
    """Return the commands of a session, without the program's name."""
    text = (DOCS / "sessions" / f"{name}.txt").read_text(encoding="utf-8")
    found = [shlex.split(line[2:]) for line in text.splitlines() if line.startswith("$ mlflow-utilities ")]
    return [line[1 : line.index("|")] if "|" in line else line[1:] for line in found]


@pytest.mark.parametrize("name", RECORDED)
def test_each_command_has_a_session_that_is_shown(name: str) -> None:
    """On the page about the command line."""
    page = (DOCS / "how-to" / "command-line.md").read_text(encoding="utf-8")

    assert f'--8<-- "sessions/{name}.txt"' in page
    assert lines(name)[0][0] == name


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_commands_can_still_be_parsed(name: str) -> None:
    """An option that is renamed needs another recording: make sessions."""
    for arguments in lines(name):
        assert run([*arguments, "--help"]) == 0


def test_no_session_tells_of_a_machine() -> None:
    """Home directories, temporary directories and other ports are replaced."""
    for path in (DOCS / "sessions").iterdir():
        text = path.read_text(encoding="utf-8")
        assert "/tmp" not in text
        assert "/root" not in text
        assert "\x1b" not in text
