"""Write the figures of results/latest.json into README.md and docs: python -m benchmarks.figures; --check compares.

docs/reference/benchmarks.md is made whole; README.md and docs/why.md have the short table between two markers.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.contenders import MLFLOW, OWN, ROOT
from benchmarks.rows import ROWS, SHORT, WHY_MISSED
from benchmarks.table import Place, Results, measured, ratio_of, table, times_text

RESULTS = ROOT / "benchmarks" / "results" / "latest.json"
PAGES = (ROOT / "README.md", ROOT / "docs" / "why.md")
WHOLE = ROOT / "docs" / "reference" / "benchmarks.md"
BETWEEN = re.compile(r"(<!-- figures:[^\n]*-->\n).*?(<!-- end of figures -->)", re.DOTALL)
PAGE = """# Benchmarks

`make bench` makes this page: it measures every contender in a process of its own, round after round so that noise meets
all of them alike, and takes the median of the ratios of the rounds.

Versions: {versions}.

## How to read it

- *result* is the first contender's figure over the second's, or the figure itself where nothing stands in "over what".
  *measured* has the medians behind it. Ratios hold on other machines within about 10 %; absolute figures do not.
- *SDK (httpx)* and *SDK (httpx2)* are this package on either HTTP library; *raw* is the library alone, its answer read
  by `.json()`; *imports* is `import httpx, pydantic, anyio`; *to_thread* is `asyncio.to_thread` around `MlflowClient`.
- The stub answers from memory in a process of its own, so what clients cost is left. Each environment has what it
  measures and nothing else: no trio, click or rich beside this package, which httpx would import.
- Calls on a real server are where `MlflowClient` and raw clients wait for the kernel: MLflow sends head and body of an
  answer apart, and [this package acknowledges the head at once](../explanation/decisions/0008-acknowledge-at-once.md).
- "Saving" differs in what is done, too: `mlflow.sklearn.log_model` starts a process to find out which packages the
  model needs unless it is told, this package records the versions of those that its flavor needs.
- For a rollout, `MlflowClient` sets tags run by run. That lacks one write which readers see whole or not at all, a
  history, a rollback, a refusal when somebody else changed the rollout first, and shares that keep users with their
  model.

## The table

{table}

## What is not where it must be

{missed}
"""


def short_table(results: Results) -> str:
    """Return how many times as slow the others are."""
    lines = ["| how many times as slow as this SDK on httpx / httpx2 | MlflowClient | the HTTP library alone |"]
    lines.append("|---|---|---|")
    for title, (official, raw) in SHORT.items():
        cells = [_both(official, official.contender, results)]
        cells.append(_both(official, "raw", results) if raw else "")
        note = "" if official.contender == MLFLOW else " (mlflow-skinny)"
        lines.append(f"| {title}{note} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _both(place: Place, contender: str, results: Results) -> str:
    found: list[str] = []
    for own, library in OWN.items():
        other = f"raw {library}" if contender == "raw" else contender
        ratio = ratio_of(Place(place.case, other, place.what), Place(place.case, own, place.what), results)
        found.append("?" if ratio is None else f"{ratio:.1f}")
    return " / ".join(found)


def missed(results: Results) -> str:
    """Return what is not where it must be, and why."""
    lines: list[str] = []
    for row in ROWS:
        found = measured(row, results)
        if found is None or found.met is not False:
            continue
        base = f" over {row.base.contender}" if row.base else ""
        bound = row.at_least if row.at_least is not None else row.at_most
        place = f"{row.title}: {row.measured.contender}{base}"
        lines.append(f"- {place} is {times_text(found.result)}, must be {times_text(bound or 0.0)}. {_why(row.title)}")
    return "\n".join(line.rstrip() for line in lines) or "Nothing."


def _why(title: str) -> str:
    return WHY_MISSED.get(title, "")


def wanted_texts(versions: Mapping[str, str], results: Results) -> dict[Path, str]:
    """Return what each file must say."""
    found = {
        path: BETWEEN.sub(lambda match: f"{match[1]}\n{short_table(results)}\n\n{match[2]}", path.read_text())
        for path in PAGES
        if path.exists()
    }
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return found | {WHOLE: PAGE.format(versions=named, table=table(ROWS, results), missed=missed(results))}


def main() -> None:
    """Write, or with --check fail when a file says something else."""
    stored = json.loads(RESULTS.read_text())
    wanted = wanted_texts(stored["versions"], stored["measured"])
    if "--check" not in sys.argv[1:]:
        for path, text in wanted.items():
            path.write_text(text)
        return
    stale = [
        str(path.relative_to(ROOT)) for path, text in wanted.items() if not path.exists() or path.read_text() != text
    ]
    if stale:
        sys.exit(
            f"{', '.join(stale)}: not the figures of results/latest.json; python -m benchmarks.figures writes them"
        )


if __name__ == "__main__":
    main()
