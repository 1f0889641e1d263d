"""Names, tags and notes of the experiments and runs that hold a ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mlflow_utilities.rollout.document import Document, LiveEntry, submodel_hash
from mlflow_utilities.rollout.slots import TOTAL, count
from mlflow_utilities.rollout.status import ModelStatus

__all__ = [
    "EXPERIMENT_TAG",
    "FIRST_GENERATION_TAG",
    "INDEX_TAG",
    "NOTE_TAG",
    "OP_TAG",
    "ROLE_TAG",
    "SUBMODEL_TAG",
    "Hint",
    "control_name",
    "control_note",
    "head_tag",
    "identity",
    "identity_time",
    "ledger_run_name",
    "ledger_run_tags",
    "read_hint",
    "rollout_note",
]

INDEX_TAG = "rollouts.index"
EXPERIMENT_TAG = "rollouts.experiment"
ROLE_TAG = "rollouts.role"
SUBMODEL_TAG = "rollouts.submodel"
FIRST_GENERATION_TAG = "rollouts.first_generation"
OP_TAG = "rollouts.op"
NOTE_TAG = "mlflow.note.content"


@dataclass(frozen=True, slots=True)
class Hint:
    """Where a chain was seen to go on: param `key` of run `source` points to `target`. To be proven, not trusted."""

    source: str
    key: str
    target: str

    def text(self) -> str:
        """Return the tag's value."""
        return json.dumps(
            {"from": self.source, "key": self.key, "run": self.target}, sort_keys=True, separators=(",", ":")
        )


def read_hint(value: str | None) -> Hint | None:
    """Return the hint of a tag's value, None for anything else."""
    try:
        parsed: Any = json.loads(value or "")
        parts = [parsed["from"], parsed["key"], parsed["run"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return Hint(*parts) if all(isinstance(part, str) and part for part in parts) else None


def control_name(experiment_id: str) -> str:
    """Return the name of the control experiment of a model's experiment."""
    return f"mlflow-utilities/rollouts/{experiment_id}"


def head_tag(submodel: str) -> str:
    """Return the tag of the control experiment that hints at the end of a submodel's chain."""
    return f"rollouts.head.{submodel_hash(submodel)}"


def identity(experiment_id: str, name: str, creation_time: int | None) -> str:
    """Return the value that says which experiment a ledger belongs to."""
    return json.dumps(
        {"creation_time": creation_time or 0, "id": experiment_id, "name": name}, sort_keys=True, separators=(",", ":")
    )


def identity_time(value: str | None) -> int | None:
    """Return the creation time that an identity names, None when it names none."""
    try:
        found: Any = json.loads(value or "")["creation_time"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def control_note(experiment_id: str, name: str) -> str:
    """Return the description that people see of a control experiment."""
    return (
        f"Rollout ledger of experiment {experiment_id} ({name}), written by mlflow-utilities. It decides which models "
        "are live. Do not edit, rename or delete. Read it with: "
        f"mlflow-utilities history --experiment-id {experiment_id}."
    )


def ledger_run_name(submodel: str, generation: int) -> str:
    """Return the name of a ledger run."""
    return f"{submodel[:200]}: from generation {generation}"


def ledger_run_tags(submodel: str, document: Document) -> dict[str, str]:
    """Return the tags of a ledger run that begins with a document."""
    return {
        ROLE_TAG: "ledger",
        SUBMODEL_TAG: submodel,
        FIRST_GENERATION_TAG: str(document.generation),
        OP_TAG: document.op,
        NOTE_TAG: rollout_note(document),
    }


def rollout_note(document: Document) -> str:
    """Return a rollout as people read it, one line a version."""
    signature = f"{document.who}: {document.why}" if document.why else document.who
    lines = [
        f"generation {document.generation} · {version}: {', '.join(map(_share_text, entries))} · {signature}"
        for version, entries in document.live.items()
    ]
    return ("\n".join(lines) or f"generation {document.generation} · nothing is live · {signature}")[:5000]


def _share_text(entry: LiveEntry) -> str:
    run = entry.run[:8]
    if entry.status is ModelStatus.Canary:
        return f"canary {run} ({entry.mirror * 100 / TOTAL:g} %)"
    return f"{count(entry.slots) * 100 / TOTAL:g} % {run}"
