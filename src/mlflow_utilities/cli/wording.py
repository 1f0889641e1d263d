"""The package's hints in the words of the command line: `enable` where Python says `enable_run`."""

from __future__ import annotations

import re

__all__ = ["as_commands"]

_WORDS = {
    "enable_run": "enable",
    "disable_run": "disable",
    "canary_run": "canary",
    "update_active_runs": "split",
    "change_test_fractions": "split",
    "change_status": "canary --share",
    "revoke_run": "revoke",
    "rollout_history": "history",
    "list_runs": "runs",
    "to_generation": "--to",
    "expected_generation": "--expected-generation",
    "submodel_name": "--submodel",
    "experiment_name": "--experiment",
    "experiment_id": "--experiment-id",
    "new_test_fraction": "--share",
    "tracking_uri=": "--tracking-uri",
}
_WORD = re.compile("|".join(rf"\b{re.escape(word)}(?!\w)" for word in sorted(_WORDS, key=len, reverse=True)))


def as_commands(text: str) -> str:
    """Return a hint with commands and options in place of functions and arguments."""
    return _WORD.sub(lambda found: _WORDS[found[0]], text)
