"""Commits: writers that claim the next slot with a document or a pointer, readers, foreign values, orphan cleaners.

Values are real ones: `encode_document` and `encode_pointer` write them, `read_slots` and `read_index` read them, so
validity, burnt slots and pointers are those of the package. Each writer makes one wish, a run that is to be live.

Modelled: the walk (one request for each run), commits in place and by pointer, the read-back of a pointer's target,
equal bytes again or a new call after a lost answer, plans on the winner's document, adoption, lagging reads, delayed
writes, crashes; `commit_rules` has the invariants. Not modelled: the kinds of verbs (every wish is planned again),
hints and kept positions of writers, projections (see `statuses`), the read-back in place, how a writer tells the
reasons of a 400 apart. A writer that lost five times reports that it makes no progress, which must not happen with the
few rivals here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from explorer.checker import TIMEOUT, Script
from mlflow_utilities.rollout.chain import SlotsView, read_index, read_slots
from mlflow_utilities.rollout.codec import encode_document, encode_pointer
from mlflow_utilities.rollout.document import Document, LiveEntry, Pointer, index_key, slot_key
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.rollout.status import ModelStatus

__all__ = [
    "INDEX",
    "Writer",
    "call",
    "cleaner",
    "foreigner",
    "index_pointer",
    "next_run",
    "planned",
    "reader",
    "slots_of",
]

SUBMODEL = "m"
INDEX = index_key(SUBMODEL)
MOST_ATTEMPTS = 5
Params = tuple[tuple[str, str], ...]


class Writer(NamedTuple):
    """One call of a verb: who makes it, which run it wants live, how many slots it lets a ledger run have."""

    name: str
    wish: str
    capacity: int = 1
    variant: str = ""
    legacy: bool = False


class Claim(NamedTuple):
    """A document on its way into slot `number`, which `key` of `run` stands for."""

    attempt: int
    run: str
    key: str
    number: int
    value: str
    op: str
    current: str

    def moved(self, run: str, number: int) -> Claim:
        """Return the same document on its way into another slot."""
        document = read_slots({slot_key(self.number): self.value}).document
        assert document
        value = encode_document(replace(document, generation=number))
        return self._replace(run=run, key=slot_key(number), number=number, value=value)


def call(me: Writer, attempt: int = 0, lost: int = 0) -> Script:
    """Walk to the end of the chain, plan there; `lost` is a slot that must be visible before."""
    if attempt > MOST_ATTEMPTS:
        yield ("broken", f"{me.name} makes no progress")
    run, document, number, slots = "index", None, 1, 0
    pointer = index_pointer((yield ("get-run", "index")))
    while pointer:
        params = yield ("get-run", pointer.next)
        if is_behind(params, me.variant):
            return call, (me, attempt, lost)
        run, view, pointer = pointer.next, slots_of(params, me.variant), next_run(params, me.variant)
        document, number, slots = view.document or document, view.next_slot, view.last - view.first + 1
    if number <= lost:
        return call, (me, attempt, lost)
    if me.variant == "burnt slots do not count" and document:
        number = document.generation + 1
    if document and document.find(me.wish):
        yield ("told", me.wish)
        return None
    op = "same" if me.variant == "same op" else f"{me.name}{attempt}"
    wish = "adopted" if me.legacy and not document else me.wish
    value = encode_document(planned(document, number, op, wish))
    key = INDEX if run == "index" else slot_key(number)
    claim = Claim(attempt, run, key, number, value, op, encode_document(document) if document else "")
    return (in_place if 0 < slots < me.capacity else new_run), (me, claim)


def in_place(me: Writer, claim: Claim) -> Script:
    """Claim the slot with the document itself; when the answer is lost, the same bytes again or a new call."""
    told = yield ("claim", claim.run, claim.key, claim.value)
    if told == "won":
        return committed, (me, claim)
    if told != TIMEOUT:
        return call, (me, claim.attempt + 1, claim.number)
    if me.variant == "next slot after a lost answer":
        return in_place, (me, claim.moved(claim.run, claim.number + 1))
    if (yield ("choose", "the same bytes", "a new call")) == "the same bytes":
        return in_place, (me, claim)
    return call, (me, claim.attempt + 1)


def new_run(me: Writer, claim: Claim, created: int = 0) -> Script:
    """Create the run that will hold the document; another one when the answer is lost."""
    run = f"{claim.op}.{created}" if me.variant != "same op" else f"{me.name}.{created}"
    if (yield ("create-run", run, "control", claim.number)) == TIMEOUT:
        return new_run, (me, claim, created + 1)
    return fill, (me, claim, run)


def fill(me: Writer, claim: Claim, run: str) -> Script:
    """Write the document there and see that it is, before anything points to it."""
    if me.variant == "seed, go on after the pointer":
        yield ("claim", run, slot_key(claim.number - 1), claim.current)
        return point, (me, claim, run)
    yield ("claim", run, slot_key(claim.number), claim.value)
    params: Params | None = yield ("get-run", run)
    if (slot_key(claim.number), claim.value) not in (params or ()):
        return fill, (me, claim, run)
    return point, (me, claim, run)


def point(me: Writer, claim: Claim, run: str) -> Script:
    """Claim the slot with the pointer. Only a lost claim makes the new run an orphan that may be deleted."""
    key = "next" if me.variant == "next is a key of its own" and claim.run != "index" else claim.key
    told = yield ("claim", claim.run, key, encode_pointer(Pointer(run, claim.op)))
    if told == "won" and me.variant == "seed, go on after the pointer":
        return in_place, (me, claim.moved(run, claim.number + 1))
    if told == "won":
        return committed, (me, claim)
    if told == TIMEOUT:
        if (yield ("choose", "the same bytes", "a new call")) == "the same bytes":
            return point, (me, claim, run)
        if me.variant == "orphan deleted without an answer":
            yield ("delete-run", run)
        return call, (me, claim.attempt + 1)
    yield ("delete-run", run)
    return call, (me, claim.attempt + 1, claim.number)


def committed(me: Writer, claim: Claim) -> Script:
    """Report the commit; an adoption goes on with the wish itself."""
    yield ("remark", "won", claim.number, me.name, claim.op)
    if me.legacy and claim.number == 1:
        return call, (me, claim.attempt + 1)
    yield ("told", me.wish)
    return None


def reader(run: str = "index", generation: int = 0, variant: str = "") -> Script:
    """Poll for ever from the position kept; accept what is newer than what was accepted."""
    params = yield ("get-run", run)
    pointer, document = (index_pointer(params), None) if run == "index" else (None, None)
    while True:
        if run != "index" and params is not None:
            view, pointer = slots_of(params, variant), next_run(params, variant)
            document = view.document or document
        if not pointer:
            break
        params = yield ("get-run", pointer.next)
        if is_behind(params, variant):
            break
        run = pointer.next
    if document and document.generation > generation:
        yield ("shown", document.generation, document.op)
        generation = document.generation
    return reader, (run, generation, variant)


def foreigner() -> Script:
    """Fill the slot after the last one of some ledger run with rubbish, even after a pointer."""
    found = yield ("search-runs", "control")
    run = yield ("choose", *(run for run, _ in found), "none")
    params = (yield ("get-run", run)) if run != "none" else None
    if params:
        yield ("claim", run, slot_key(max(int(key[2:]) for key, _ in params) + 1), "rubbish")
    return None


def cleaner(variant: str = "") -> Script:
    """Delete orphans: list the runs, then walk, then delete those whose own slot is filled by another run."""
    found = yield ("search-runs", "control")
    pointer, chain, last = index_pointer((yield ("get-run", "index"))), set[str](), 0
    while pointer:
        chain.add(pointer.next)
        params = yield ("get-run", pointer.next)
        if is_behind(params, variant):
            return None
        last, pointer = slots_of(params, "").last, next_run(params, "")
    for run, first in found:
        if run not in chain and (first <= last or variant == "no fence"):
            yield ("delete-run", run)
    return None


@cache
def slots_of(params: Params, variant: str) -> SlotsView:
    """Return what a ledger run holds, as the package reads it."""
    view = read_slots(dict(params))
    if (
        variant == "only a pointer in the last slot counts"
        and view.pointer
        and slot_key(view.next_slot) in dict(params)
    ):
        return replace(view, pointer=None, last=view.last + 1, next_slot=view.next_slot + 1)
    return view


def is_behind(params: Params | None, variant: str) -> bool:
    """Return whether a replica does not show yet what the pointer to this run promises: its first slot."""
    return params is None or (not params and variant != "a run without slots is the end")


def next_run(params: Params, variant: str) -> Pointer | None:
    """Return the pointer that leads out of a ledger run."""
    if variant == "next is a key of its own":
        return index_pointer(tuple((INDEX, value) for key, value in params if key == "next"))
    return slots_of(params, variant).pointer


@cache
def index_pointer(params: Params) -> Pointer | None:
    """Return where the chain begins."""
    found = read_index(dict(params), SUBMODEL)
    return found if isinstance(found, Pointer) else None


@cache
def _entry(wish: str) -> tuple[LiveEntry, ...]:
    return (LiveEntry(wish, ModelStatus.Active, ((0, TOTAL),), 0),)


def planned(document: Document | None, number: int, op: str, wish: str) -> Document:
    """Return the next document: what is live, and the wish in a version of its own."""
    live: Mapping[str, tuple[LiveEntry, ...]] = {**(document.live if document else {}), f"1.0.0-{wish}": _entry(wish)}
    parent = document.generation if document else 0
    return Document(number, parent, op, "enable_run", "", wish, "", "00000000", live)
