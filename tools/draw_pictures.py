"""Draw the pictures and tables of the documentation that come from the code.

`python -m tools.draw_pictures` writes them; `--check` writes nothing and fails when one is not what the code says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tools import architecture, rollout_story, status_table

__all__ = ["drawn", "main"]

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURES: Mapping[str, Callable[[], str]] = {
    "pictures/architecture.svg": architecture.picture,
    "pictures/rollout.svg": rollout_story.picture,
}
TABLES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "explanation/architecture.md": {"packages": architecture.table},
    "explanation/statuses.md": {
        "from status to status": status_table.matrix,
        "transitions": status_table.transitions,
        "refusals": status_table.refusals,
        "refused runs": status_table.refused_runs,
        "rollout": rollout_story.table,
    },
}


def drawn() -> dict[Path, str]:
    """Return the text of every file that is drawn, or holds a drawn part."""
    files = {DOCS / name: draw() for name, draw in PICTURES.items()}
    for name, tables in TABLES.items():
        text = (DOCS / name).read_text()
        for title, draw in tables.items():
            text = replaced(text, title, draw())
        files[DOCS / name] = text
    return files


def replaced(text: str, title: str, content: str) -> str:
    """Return a page with other content between `<!-- drawn: title -->` and `<!-- end: title -->`.

    Raises ValueError when the page has not exactly one such place.
    """
    begin, end = f"<!-- drawn: {title} -->", f"<!-- end: {title} -->"
    place = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    result, number = place.subn(lambda _: f"{begin}\n\n{content}\n\n{end}", text)
    if number != 1:
        raise ValueError(f"{number} places for {title!r} between {begin} and {end}: one is needed")
    return result


def main(arguments: list[str]) -> int:
    """Write what changed, or with `--check` name it; return the exit code."""
    changed = [path for path, text in drawn().items() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in changed:
            print(f"{path.relative_to(DOCS.parent)} is not what the code says: python -m tools.draw_pictures")
        return bool(changed)
    for path in changed:
        path.write_text(drawn()[path])
        print(f"drew {path.relative_to(DOCS.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
