"""Reading what one run of the ledger holds: its slots, from the lowest number to the first gap."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlflow_utilities.rollout.codec import decode_slot
from mlflow_utilities.rollout.document import (
    Burnt,
    Document,
    Newer,
    Pointer,
    SlotValue,
    index_key,
    slot_key,
)

__all__ = ["SlotsView", "read_index", "read_slots"]

_KEY = re.compile(r"g\.([0-9]{9})")


@dataclass(frozen=True, slots=True)
class SlotsView:
    """The contiguous slots of one ledger run.

    `first` and `last` are 0 when the run has no slot. `document` is the last valid one before any `newer` value,
    `pointer` is set when the run's part of the chain ends with one, `characters` is the length of all the values.
    """

    first: int
    last: int
    entries: tuple[tuple[int, SlotValue], ...]
    document: Document | None
    pointer: Pointer | None
    next_slot: int
    newer: bool
    characters: int


def read_slots(params: Mapping[str, str]) -> SlotsView:
    """Return the slots among a ledger run's params; burnt ones count, what lies beyond a gap or a pointer does not."""
    numbers = {int(match[1]) for key in params if (match := _KEY.fullmatch(key))} - {0}
    first = min(numbers, default=0)
    entries: list[tuple[int, SlotValue]] = []
    document: Document | None = None
    pointer: Pointer | None = None
    newer = False
    characters = 0
    number = first
    # The chain leaves the run at the first pointer: a foreign value after it must not bring the chain back.
    while number in numbers and not pointer:
        value = params[slot_key(number)]
        kind = decode_slot(value, number)
        entries.append((number, kind))
        characters += len(value)
        newer = newer or isinstance(kind, Newer)
        if isinstance(kind, Document) and not newer:
            document = kind
        if isinstance(kind, Pointer) and not newer:
            pointer = kind
        number += 1
    last = entries[-1][0] if entries else 0
    return SlotsView(first, last, tuple(entries), document, pointer, last + 1, newer, characters)


def read_index(params: Mapping[str, str], submodel: str) -> Pointer | Newer | Burnt | None:
    """Return the pointer to a submodel's first ledger run, or None when it has no ledger yet."""
    value = params.get(index_key(submodel))
    if value is None:
        return None
    kind = decode_slot(value, 0)
    return Burnt("a document stands in the index") if isinstance(kind, Document) else kind
