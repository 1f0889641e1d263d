"""What must hold of a chain of commits, whatever was delayed, lost or crashed, and the ledger that they begin with.

One author for each generation; no gap where the chain goes on in another run; each document planned on the one before
it; no wish applied twice; what was reported or shown is on the chain, and stays there; no run of the chain is deleted.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from explorer.checker import Facts, Model, Process, Request
from explorer.commit import INDEX, index_pointer, next_run, planned, slots_of
from explorer.server import LOCAL, READS, Answers, answer
from mlflow_utilities.rollout.codec import encode_document, encode_pointer
from mlflow_utilities.rollout.document import Document, Pointer, slot_key

__all__ = ["commits"]

OTHER_NUMBERING = ("next is a key of its own", "seed, go on after the pointer")


def commits(
    *processes: Process,
    generations: int = 1,
    variant: str = "",
    delays: int = 0,
    crashes: int = 0,
    lagging: tuple[int, ...] = (),
) -> Model:
    """Return the model of commits on a ledger that has a number of generations in its first run."""
    params: list[tuple[str, str]] = []
    document: Document | None = None
    for number in range(1, generations + 1):
        document = planned(document, number, f"start{number}", f"start{number}")
        params.append((slot_key(number), encode_document(document)))
    start = ((INDEX, encode_pointer(Pointer("first", "start"))),) if generations else ()
    server = Facts({("params", "index"): start, ("run", "index"): ("control", True, 0)})
    if generations:
        server = server.but((("params", "first"), tuple(params)), (("run", "first"), ("control", True, 1)))
    carry_out, check = partial(_carry_out, variant), partial(_check, variant)
    return Model(carry_out, check, server, processes, READS, LOCAL | {"told", "shown"}, delays, crashes, lagging)


def _carry_out(variant: str, facts: Facts, request: Request) -> Answers:
    match request:
        case ("told", wish):
            said = any(document.find(wish) for document in _documents(facts, variant)[-1:])
            text = f"{wish} was reported as live and is not"
        case ("shown", generation, op):
            said = any(
                (document.generation, document.op) == (generation, op) for document in _documents(facts, variant)
            )
            text = f"a reader shows generation {generation} by {op}, which is not on the chain"
        case _:
            return answer(facts, request)
    return [(facts if said else facts.but((("broken",), text)), None)]


def _runs(facts: Facts, variant: str) -> list[str]:
    runs: list[str] = []
    pointer = index_pointer(facts["params", "index"])
    while pointer:
        runs.append(pointer.next)
        pointer = next_run(facts["params", pointer.next], variant)
    return runs


def _documents(facts: Facts, variant: str) -> list[Document]:
    views = (slots_of(facts["params", run], variant) for run in _runs(facts, variant))
    found = (kind for view in views for _, kind in view.entries if isinstance(kind, Document))
    return list({document.op: document for document in found}.values())


def _check(variant: str, facts: Facts) -> str | None:
    if ("broken",) in facts:
        return str(facts["broken",])
    runs, documents = _runs(facts, variant), _documents(facts, variant)
    for run in runs:
        if not facts["run", run][1]:
            return f"{run} is on the chain and deleted"
    views = [slots_of(facts["params", run], variant) for run in runs]
    for left, right in pairwise(views):
        if left.last != right.first and variant not in OTHER_NUMBERING:
            return f"the chain leaves a run at slot {left.last} and goes on at {right.first}"
    for before, after in zip([None, *documents], documents, strict=False):
        parent, live = (before.generation, set(before.live)) if before else (0, set[str]())
        if after.parent != parent or not live < set(after.live):
            return f"generation {after.generation} was not planned on generation {parent}: a lost update"
    owners: dict[int, str] = {}
    for fact in facts:
        if fact[0] == "won":
            _, number, name, op = fact
            if owners.setdefault(number, name) != name:
                return f"two writers were told that generation {number} is theirs"
            if not any((document.generation, document.op) == (number, op) for document in documents):
                return f"generation {number} by {name} was acknowledged and is not on the chain"
    whys = [document.why for document in documents]
    return None if len(set(whys)) == len(whys) else f"a wish was applied twice: {whys}"
