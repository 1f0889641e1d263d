"""Which of two generations is to serve: a pure rule."""

from __future__ import annotations

from mlflow_utilities.rollout.document import Document

__all__ = ["why_behind"]


def why_behind(shown: Document, generation: int, salt: str) -> str | None:
    """Return why a document that is shown does not replace a generation, None when it does.

    Generations of one ledger only go up; a ledger with another salt was begun anew, and replaces whatever was there.
    """
    if shown.generation >= generation:
        return None
    if not shown.generation and not shown.live:
        return f"MLflow shows no rollout, so generation {generation} goes on"
    if shown.salt != salt:
        return None
    return f"MLflow shows generation {shown.generation}, older than {generation}"
