"""Print what the explorer visits: `PYTHONPATH=tests python -m explorer`, with `-v` also the traces of the failures."""

from __future__ import annotations

import sys
import time

from explorer.checker import explore
from explorer.scenarios import HOLDS, REJECTED


def main() -> None:
    """Explore every configuration and every rejected variant."""
    models = {name: found.model for name, found in HOLDS.items()} | {
        name: found.model for name, found in REJECTED.items()
    }
    for name, model in models.items():
        began = time.perf_counter()
        outcome = explore(model())
        seconds = time.perf_counter() - began
        print(f"{outcome.states:9,} states {seconds:6.2f} s  {name}: {outcome.violation or 'holds'}")
        if "-v" in sys.argv[1:]:
            print(*(f"{'':12}{number:3} {step}" for number, step in enumerate(outcome.trace, 1)), sep="\n")


if __name__ == "__main__":
    main()
