"""Write the figures of results/latest.json into README.md: python -m benchmarks.figures; --check only compares."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "latest.json"
README = ROOT / "README.md"
BETWEEN = re.compile(r"(<!-- figures:[^\n]*-->\n).*?(<!-- end of figures -->)", re.DOTALL)
ROWS = {
    "start": "import and construct a client",
    "call": "one small call on a stub, decoded",
    "live": "one small call on a real MLflow server",
    "page": "fetch and decode 1,000 runs",
}


def table(results: dict[str, dict[str, float]]) -> str:
    """Return the table: how many times the time of this SDK the others take."""
    lines = ["| | raw httpx over this SDK | MlflowClient over this SDK |", "|---|---|---|"]
    for case, title in ROWS.items():
        medians = results[case]
        raw = f"{medians['raw httpx'] / medians['httpx']:.1f}" if "raw httpx" in medians else ""
        lines.append(f"| {title} | {raw} | {medians['MlflowClient'] / medians['httpx']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Write, or with --check fail when README says something else."""
    text = README.read_text()
    figures = table(json.loads(RESULTS.read_text())["median_seconds"])
    wanted = BETWEEN.sub(lambda match: f"{match[1]}\n{figures}\n\n{match[2]}", text)
    if "--check" in sys.argv[1:]:
        sys.exit(None if text == wanted else "README.md does not have the figures of results/latest.json")
    README.write_text(wanted)


if __name__ == "__main__":
    main()
