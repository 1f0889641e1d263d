"""What is printed: tables with and without a terminal, JSON for programs."""

from __future__ import annotations

import contextlib
import io
import json
import os

import pytest

from mlflow_utilities.cli.options import Common
from mlflow_utilities.cli.printing import fraction, moment, print_json, print_table, say


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def on_terminal(common: Common, *rows: tuple[str, ...], columns: str = "60") -> str:
    """Return what a table sends to a terminal."""
    os.environ.update(TERM="xterm-256color", COLUMNS=columns)
    os.environ.pop("NO_COLOR", None)
    terminal = Terminal()
    with contextlib.redirect_stdout(terminal):
        print_table(common, ("run", "status"), rows)
    return terminal.getvalue()


def test_a_table_without_a_terminal_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are aligned, heads are capitals, empty cells stay empty, and no line ends in spaces."""
    print_table(Common(), ("run", "status"), [("a" * 10, "Active"), ("b", None)])

    assert capsys.readouterr().out == "RUN         STATUS\naaaaaaaaaa  Active\nb\n"


def test_a_table_on_a_terminal_has_colours_unless_they_are_off() -> None:
    """A status has its colour; --no-color leaves the table and takes the colours away."""
    coloured = on_terminal(Common(), ("a", "Active"))
    plain = on_terminal(Common(color=False), ("a", "Active"))

    assert "\x1b[32mActive" in coloured
    assert "\x1b[32m" not in plain
    assert "Active" in plain


def test_what_a_server_stores_cannot_control_the_terminal() -> None:
    """Escape sequences and markup in names are shown as they are written."""
    seen = on_terminal(Common(color=False), ("\x1b]0;owned\x07", "[red]New[/red]"))

    assert "\\x1b]0;owned\\x07" in seen
    assert "[red]New[/red]" in seen


@pytest.mark.parametrize("columns", ["12", "40", "43", "60"])
def test_a_run_id_stays_whole(columns: str) -> None:
    """An id can be copied from a terminal of any width: a table that would tear it is printed as aligned text."""
    run_id = "0123456789abcdef" * 2

    seen = on_terminal(Common(color=False), (run_id, "Active 0.5 and more"), columns=columns)

    assert run_id in seen
    assert "…" not in seen
    assert ("RUN" in seen) == (int(columns) < 44)


def test_a_line_end_in_a_cell_makes_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    """What a tag holds cannot pass for another row."""
    print_table(Common(), ("run",), [("a\nb",)])

    assert capsys.readouterr().out == "RUN\na\\nb\n"


def test_an_empty_table_says_so_beside_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    """What people are told about nothing is no output for programs."""
    print_table(Common(), ("run",), [], empty="nothing is live")

    assert capsys.readouterr() == ("", "nothing is live\n")


def test_json_is_strict(capsys: pytest.CaptureFixture[str]) -> None:
    """NaN and infinities are text, as in MLflow's JSON, and any reader can parse the rest, in any encoding."""
    print_json({"a": float("nan"), "b": [float("inf"), (float("-inf"), 1.5)], "c": "é"})

    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out, parse_constant=lambda name: pytest.fail(name)) == {
        "a": "NaN", "b": ["Infinity", ["-Infinity", 1.5]], "c": "é",
    }  # fmt: skip


def test_messages_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """What is said to people is not on standard output, and cannot control the terminal."""
    say("done\x07")

    assert capsys.readouterr() == ("", "done\\x07\n")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1.0, "1"), (0.7, "0.7"), (0.3334, "0.3334"), (0.0001, "0.0001"), (10.0, "10")]
)
def test_shares_are_short(value: float, text: str) -> None:
    """A share is written as an operator writes it."""
    assert fraction(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, ""), (0, "1970-01-01 00:00:00"), (10**18, "1000000000000000000")])
def test_times_are_utc(value: int | None, text: str) -> None:
    """A time in ms is shown in UTC; what is no date is shown as it is stored."""
    assert moment(value) == text
