"""The status of a run: what operators decide, what crashes leave unprojected, what a listing shows.

Plans and documents are those of the package (`planner`, `draft`, `status_rule.decide`); a commit is one write to one
ledger run, for `commit` explores that part. The history is the truth: what the verbs on the chain say, in order.

Modelled: finishing the predecessor's projection, one write for each run, delayed and late projections, crashes between
any two writes, listings. Not modelled: shares, canaries, deleted runs, several versions, several submodels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

from explorer.checker import TIMEOUT, Facts, Model, Process, Request, Script
from explorer.server import LOCAL, READS, Answers, answer
from mlflow_utilities.rollout.chain import read_slots
from mlflow_utilities.rollout.codec import encode_document
from mlflow_utilities.rollout.document import Document, slot_key
from mlflow_utilities.rollout.draft import Change, Heading, State, build, changed_runs, is_fulfilled
from mlflow_utilities.rollout.facts import RunFacts, read_facts
from mlflow_utilities.rollout.planner import disable, enable
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.status_rule import decide

__all__ = ["Operator", "call", "lister", "statuses"]

RUNS = ("R", "S", "T")
Metric = tuple[int, int] | None


class Operator(NamedTuple):
    """Calls one after the other, e.g. `enable R`."""

    name: str
    calls: tuple[str, ...]
    variant: str = ""


def call(me: Operator, attempt: int = 0) -> Script:
    """Read the document, finish its projection, plan, claim the next slot."""
    if not me.calls:
        return None
    verb, run = me.calls[0].split()
    document = document_in((yield ("get-run", "ledger")))
    confirmed: set[tuple[str, int]] = set()
    for entry in document.off if document else ():
        if (yield projection(me, entry.run, entry.generation, entry.status)) == 200:
            confirmed.add((entry.run, entry.generation))
    state = State(document, {run: facts_of(run, (yield read_of(me, run)))}, "1", "m")
    change = wanted(verb, run, state)
    if is_fulfilled(state, change):
        return call, (me._replace(calls=me.calls[1:]), attempt)
    generation = document.generation + 1 if document else 1
    heading = Heading(generation, generation - 1, f"{me.name}{attempt}", verb, "", run, "", "00000000")
    after = build(state, change, heading, confirmed)
    if me.variant == "no off":
        after = replace(after, off=())
    shown = tuple((run, generation, status) for run, (status, _) in sorted(changed_runs(document, after).items()))
    return commit, (me, attempt, generation, encode_document(after), shown)


def commit(me: Operator, attempt: int, generation: int, value: str, shown: tuple[tuple[str, int, int], ...]) -> Script:
    """Claim the slot, the same bytes again while no answer arrives."""
    told = yield ("claim", "ledger", slot_key(generation), value)
    if told == TIMEOUT:
        return commit, (me, attempt, generation, value, shown)
    if told == "lost":
        return call, (me, attempt + 1)
    return project, (me._replace(calls=me.calls[1:]), attempt + 1, shown)


def project(me: Operator, attempt: int, shown: tuple[tuple[str, int, int], ...]) -> Script:
    """Write the status of every run that the generation changed."""
    if not shown:
        return call, (me, attempt)
    yield projection(me, *shown[0])
    return project, (me, attempt, shown[1:])


def lister(variant: str = "") -> Script:
    """List the runs: the document first, then the runs; again when a run is of a later generation."""
    document, metrics = None, dict[str, Metric]()
    if variant != "runs first":
        document = document_in((yield ("get-run", "ledger")))
    for run in RUNS:
        metrics[run] = yield ("get-metric", run)
    if variant == "runs first":
        document = document_in((yield ("get-run", "ledger")))
    generation = document.generation if document else 0
    if any(metric and metric[0] > generation for metric in metrics.values()):
        return lister, (variant,)
    yield ("listed", generation, tuple(decided(run, document, metrics[run]) for run in RUNS))
    return None


def projection(me: Operator, run: str, generation: int, status: int) -> Request:
    """Return the write that shows a run's status to people, and to the status rule."""
    if me.variant == "tag":
        return ("set-tag", run, "active_state", (generation, int(status)))
    return ("log-metric", run, generation, int(status))


def read_of(me: Operator, run: str) -> Request:
    """Return the read of what `projection` wrote."""
    return ("get-tag", run, "active_state") if me.variant == "tag" else ("get-metric", run)


def wanted(verb: str, run: str, state: State) -> Change:
    """Return the change that a call makes."""
    if verb == "enable":
        return enable(state, run)
    return disable(state, run, ModelStatus.New if verb == "reset" else ModelStatus.Disabled)


@cache
def document_in(params: tuple[tuple[str, str], ...]) -> Document | None:
    """Return the current document."""
    return read_slots(dict(params)).document


@cache
def facts_of(run: str, metric: Metric) -> RunFacts:
    """Return a run of the model as the server's JSON has it."""
    points = [{"key": "active_state", "value": metric[1], "step": metric[0]}] if metric else []
    params = [{"key": "submodel_name", "value": "m"}, {"key": "version", "value": "1.0.0"}]
    info = {"run_id": run, "experiment_id": "1", "status": "FINISHED", "lifecycle_stage": "active"}
    return read_facts({"info": info, "data": {"metrics": points, "params": params}})


def decided(run: str, document: Document | None, metric: Metric) -> ModelStatus:
    """Return what the package says of a run."""
    return decide(run, document, float(metric[1]) if metric else None)[0]


def told_by(documents: Iterable[Document]) -> dict[str, ModelStatus]:
    """Return the truth: what the verbs say, one after the other."""
    truth: dict[str, ModelStatus] = dict.fromkeys(RUNS, ModelStatus.New)
    for document in documents:
        if document.verb == "enable":
            truth.update((run, ModelStatus.Disabled) for run, status in truth.items() if status is ModelStatus.Active)
        verbs = {"enable": ModelStatus.Active, "disable": ModelStatus.Disabled, "reset": ModelStatus.New}
        truth[document.why] = verbs[document.verb]
    return truth


@cache
def history(params: tuple[tuple[str, str], ...]) -> tuple[Document, ...]:
    """Return all documents of the ledger."""
    return tuple(kind for _, kind in read_slots(dict(params)).entries if isinstance(kind, Document))


def statuses(*processes: Process, variant: str = "", delays: int = 0, crashes: int = 0) -> Model:
    """Return the model of operators and listings on an empty ledger."""
    server = Facts({("params", "ledger"): (), ("run", "ledger"): ("control", True, 1)})
    check = partial(_check, variant)
    return Model(_carry_out, check, server, processes, READS, LOCAL | {"listed"}, delays, crashes)


def _carry_out(facts: Facts, request: Request) -> Answers:
    match request:
        case ("listed", generation, shown):
            truth = told_by(history(facts["params", "ledger"])[:generation])
            text = f"a listing of generation {generation} shows {shown}, the history says {truth}"
            return [(facts if list(shown) == list(truth.values()) else facts.but((("broken",), text)), None)]
        case _:
            return answer(facts, request)


def _check(variant: str, facts: Facts) -> str | None:
    documents = history(facts["params", "ledger"])
    for run, truth in told_by(documents).items():
        metric = facts.get(("tag", run, "active_state") if variant == "tag" else ("metric", run))
        status = decided(run, documents[-1] if documents else None, metric)
        if status is not truth:
            return f"{run} is {truth.name} by the history and shown as {status.name}"
    return facts.get(("broken",))
