"""The parts of docs/reference/cli.md that the commands themselves say: exit codes, options, every command.

`python -m tools.command_line_page` writes them into the page; with `--check` it fails if they are not what is there.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from mlflow_utilities.cli.app import PROGRAM, app
from mlflow_utilities.cli.exits import Exit
from mlflow_utilities.cli.options import common_options, experiment_options, writing_options

__all__ = ["PAGE", "parts", "rewritten"]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
SHARED = {
    "options of every command": common_options,
    "options that name the experiment": experiment_options,
    "options of a change": writing_options,
}


def parts() -> dict[str, str]:
    """Return the text of each marked part of the page."""
    return {
        "exit codes": "\n".join(["| code | meaning |", "|---|---|", *(f"| {c.value} | {c.meaning} |" for c in Exit)]),
        **{name: _table(_options_of(decorate)) for name, decorate in SHARED.items()},
        "commands": "\n\n".join(_commands()),
    }


def _options_of(decorate: Callable[[Callable[..., None]], Callable[..., None]]) -> list[tuple[str, str]]:
    def nothing(**_: object) -> None:
        """Do nothing."""

    command = click.command()(decorate(nothing))
    return list(_records(command))


def _records(command: click.Command) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=PROGRAM)
    for parameter in command.params:
        record = parameter.get_help_record(context)
        if record is not None and record[1]:
            yield record


def _table(records: Iterable[tuple[str, str]]) -> str:
    # A bracket would begin a link.
    rows = [f"| `{_cell(names)}` | " + _cell(text).replace("[", "\\[") + " |" for names, text in records]
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _commands() -> Iterator[str]:
    context = click.Context(app, info_name=PROGRAM)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        assert command is not None
        yield from _described(command, name, context, "###")


def _described(command: click.Command, name: str, parent: click.Context, heading: str) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    path = context.command_path.removeprefix(f"{PROGRAM} ")
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"{heading} {path}"
    yield re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.help or ""))
    yield f"```console\n$ {context.command_path} {usage}\n```"
    shared = {record for decorate in SHARED.values() for record in _options_of(decorate)}
    own = [record for record in _records(command) if record not in shared]
    if own:
        yield _table(own)
    if isinstance(command, click.Group):
        for sub in command.list_commands(context):
            child = command.get_command(context, sub)
            assert child is not None
            yield from _described(child, sub, context, heading + "#")


def rewritten(page: str) -> str:
    """Return the page with its marked parts as they should be."""
    for name, text in parts().items():
        pattern = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)", flags=re.DOTALL)
        page, found = pattern.subn(lambda match, text=text: f"{match[1]}\n{text}\n\n{match[2]}", page)
        assert found == 1, f"the page has {found} parts named {name!r}"
    return page


def main() -> int:
    """Write the page, or compare it."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = rewritten(page)
    if "--check" in sys.argv[1:]:
        if page != wanted:
            print("docs/reference/cli.md is not what the commands say: run python -m tools.command_line_page")
        return int(page != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
