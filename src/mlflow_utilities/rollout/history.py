"""Every generation of a rollout, from the first one."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, LedgerCorruptError, LedgerMissingError, NotFoundError
from mlflow_utilities.rollout.calls import read_run
from mlflow_utilities.rollout.chain import read_index, read_slots
from mlflow_utilities.rollout.document import Document, Pointer, SlotValue, index_key, slot_key
from mlflow_utilities.rollout.names import Hint
from mlflow_utilities.rollout.reader import Control, Ledger, find_control, params_of

__all__ = ["Slot", "generation_before", "newest", "read_chain", "read_hops"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of the chain: its number, what it holds, and the run it is in."""

    number: int
    value: SlotValue
    run_id: str


async def read_chain(client: AsyncMlflowClient, ledger: Ledger, control: Control | None = None) -> list[Slot]:
    """Return the slots of the whole chain, oldest first, pointers left out: one request for each 16 generations.

    Raises:
        LedgerMissingError: a run of the chain was removed for good.
        LedgerCorruptError: the chain leads in a circle.

    """
    control = control or ledger.control or await find_control(client, ledger.experiment)
    return [] if control is None else (await read_hops(client, ledger, control))[0]


async def read_hops(client: AsyncMlflowClient, ledger: Ledger, control: Control) -> tuple[list[Slot], Hint | None]:
    """Return likewise, and the last pointer of the chain."""
    run_id, key = control.index_run, index_key(ledger.submodel)
    first = read_index(params_of(await _run(client, run_id)), ledger.submodel)
    found: list[Slot] = []
    seen = {run_id}
    hint: Hint | None = None
    pointer = first if isinstance(first, Pointer) else None
    while pointer is not None:
        hint = Hint(run_id, key, pointer.next)
        run_id = pointer.next
        if run_id in seen:
            raise LedgerCorruptError(f"the ledger leads in a circle at run {run_id}")
        seen.add(run_id)
        view = read_slots(params_of(await _run(client, run_id)))
        found.extend(Slot(number, value, run_id) for number, value in view.entries if not isinstance(value, Pointer))
        pointer, key = view.pointer, slot_key(view.last)
    return found, hint


async def _run(client: AsyncMlflowClient, run_id: str) -> dict[str, object]:
    try:
        return dict(await read_run(client, run_id))
    except NotFoundError as error:
        raise LedgerMissingError(f"run {run_id} of the ledger was removed for good") from error


def newest(slots: list[Slot]) -> Document | None:
    """Return the current document of a chain."""
    return next((slot.value for slot in reversed(slots) if isinstance(slot.value, Document)), None)


def generation_before(slots: list[Slot], to_generation: int | None, at: int | None) -> Document:
    """Return the document to go back to: `to_generation`, or the one before what generation `at` (the newest) shows.

    What a rollback restored counts as itself: going back twice goes two steps back, never forth.

    Raises:
        InvalidInputError: there is no such generation, or nothing before it.

    """
    documents = {slot.number: slot.value for slot in slots if isinstance(slot.value, Document)}
    if not documents:
        raise InvalidInputError("there is no rollout to go back in", hint="enable_run or update_active_runs begins one")
    if to_generation is not None:
        if to_generation not in documents:
            raise InvalidInputError(
                f"there is no generation {to_generation}", hint=f"rollout_history shows 1 to {max(documents)}"
            )
        return documents[to_generation]
    current = documents.get(max(documents) if at is None else at)
    if current is None:
        raise InvalidInputError(f"there is no generation {at}", hint=f"the newest one is {max(documents)}")
    while current.restores is not None and current.restores in documents:
        current = documents[current.restores]
    before = documents.get(current.parent)
    if before is None:
        raise InvalidInputError(
            f"nothing was live before generation {current.generation}", hint="give to_generation, or use disable_run"
        )
    return before
