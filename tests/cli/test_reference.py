"""The page on the command line says what the commands say, and its JSON is of the real shapes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mlflow_utilities import ModelStatus, Version
from mlflow_utilities.cli.shapes import rollout_shape, run_shape
from mlflow_utilities.mlflow_api import Rollout
from mlflow_utilities.rollout.listing import Listed
from mlflow_utilities.rollout.versioned_runs import model_of
from support.rollouts import facts

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "cli.md"


def shown_json() -> list[dict[str, Any]]:
    """Return the JSON documents of the page."""
    blocks = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [json.loads(block) for block in blocks]


def test_the_page_has_every_command_option_and_exit_code() -> None:
    """What the commands say of themselves is on the page, word for word."""
    command = [sys.executable, "-m", "tools.command_line_page", "--check"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (answer.returncode, answer.stdout) == (0, ""), answer.stderr


def test_the_shape_of_a_run_is_the_real_one() -> None:
    """The page shows every key of a model, in order."""
    run = facts("r", "1.2.0")
    model = model_of(Listed(run, Version.parse("1.2.0"), ModelStatus.Active, 0.7), None)

    assert list(shown_json()[0]) == list(run_shape(model))


def test_the_shape_of_a_rollout_is_the_real_one() -> None:
    """The page shows every key of what a change leaves, in order; `before` comes with a dry run alone."""
    rollout = Rollout(generation=1, experiment_id="7", submodel_name="fraud")

    assert list(shown_json()[1]) == list(rollout_shape(rollout))
    assert list(rollout_shape(rollout, rollout)["before"]) == ["generation", "live"]
