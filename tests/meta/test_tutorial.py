"""The tutorial: pasted into a file and run, its script prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
# Which user gets which model is a matter of each rollout.
CHOICE = re.compile(r"\] by (linear|tree)$", re.MULTILINE)


def block(language: str) -> str:
    """Return the only block of the page in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return found[0]


@pytest.mark.slow
def test_the_tutorial_is_one_script_that_prints_what_the_page_says(
    server_uri: str, unique_name: str, tmp_path: Path
) -> None:
    """The script runs as it is, the address and the experiment aside."""
    script = block("python")
    assert script.count('"http://127.0.0.1:5000"') == script.count('"breast-cancer"') == 1
    path = tmp_path / "tutorial.py"
    path.write_text(script.replace("http://127.0.0.1:5000", server_uri).replace("breast-cancer", unique_name))

    answer = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr
    assert CHOICE.sub("] by one of them", answer.stdout) == CHOICE.sub("] by one of them", block("text"))
