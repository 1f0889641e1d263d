"""Who should answer whom: computed from the documents of a ledger, independently of the service."""

from __future__ import annotations

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.experiments import find_ledger
from mlflow_utilities.rollout.history import read_chain
from mlflow_utilities.rollout.slots import slot_of

__all__ = ["documents_of", "owner"]


async def documents_of(client: AsyncMlflowClient, experiment_name: str) -> dict[int, Document]:
    """Return the document of every generation."""
    ledger = await find_ledger(client, None, experiment_name, None)
    slots = await read_chain(client, ledger)
    return {slot.number: slot.value for slot in slots if isinstance(slot.value, Document)}


def owner(document: Document, key: str, version: str = "1.0.0") -> str:
    """Return the run whose slots hold that of the key."""
    slot = slot_of(document.salt, key)
    [run] = [entry.run for entry in document.live[version] if any(start <= slot < end for start, end in entry.slots)]
    return run
