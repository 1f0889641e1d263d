"""Reading the ledger: where a submodel's chain of generations ends, and which document is current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import (
    LedgerCorruptError,
    LedgerDeletedError,
    LedgerForeignError,
    LedgerMissingError,
    NotFoundError,
)
from mlflow_utilities.rollout.calls import find_runs, read_run
from mlflow_utilities.rollout.chain import SlotsView, read_index, read_slots
from mlflow_utilities.rollout.codec import decode_slot
from mlflow_utilities.rollout.document import Burnt, Document, Newer, Pointer, index_key, slot_key
from mlflow_utilities.rollout.names import (
    EXPERIMENT_TAG,
    INDEX_TAG,
    ROLE_TAG,
    SUBMODEL_TAG,
    Hint,
    control_name,
    head_tag,
    identity_time,
    read_hint,
)

__all__ = ["Control", "Ledger", "ModelExperiment", "Tip", "find_control", "missing_run"]


@dataclass(frozen=True, slots=True)
class ModelExperiment:
    """The experiment whose models are rolled out; `creation_time` in ms tells it from an earlier one of the same id."""

    experiment_id: str
    name: str
    creation_time: int | None


@dataclass(frozen=True, slots=True)
class Control:
    """The control experiment: its id, its index run, its tags when it was read."""

    experiment_id: str
    index_run: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tip:
    """Where a chain ends: the run, its free slot, and the current document (None = nothing committed yet).

    `lagging` says that the server showed less than is known to exist, `missing` which run it did not show; `newer`
    that a newer release wrote last.
    """

    run_id: str | None = None
    at_index: bool = True
    document: Document | None = None
    next_slot: int = 1
    slots: int = 0
    characters: int = 0
    newer: str | None = None
    lagging: bool = False
    missing: str | None = None
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    hint: Hint | None = None


async def find_control(client: AsyncMlflowClient, experiment: ModelExperiment) -> Control | None:
    """Return the control experiment of a model's experiment, or None when there is none yet: one request.

    Raises:
        LedgerDeletedError: it is deleted, and can be restored.
        LedgerForeignError: it belongs to an earlier experiment of the same id.
        LedgerCorruptError: it names no index run, and not exactly one can be found.

    """
    name = control_name(experiment.experiment_id)
    found = await client.get_experiment_by_name(name)
    if found is None:
        return None
    if found.lifecycle_stage == "deleted":
        raise LedgerDeletedError(
            f"the control experiment {name} is deleted", hint=f"restore_experiment({found.experiment_id!r})"
        )
    created = identity_time(found.tags.get(EXPERIMENT_TAG))
    if created is not None and created != (experiment.creation_time or 0):
        raise LedgerForeignError(
            f"the control experiment {name} was made for an experiment of {created} ms, not of this one",
            hint=f"rename experiment {found.experiment_id}, so that a new ledger can be made",
        )
    index = found.tags.get(INDEX_TAG)
    return Control(found.experiment_id, index or await _search_index(client, found.experiment_id), found.tags)


async def _search_index(client: AsyncMlflowClient, control_id: str) -> str:
    runs = await find_runs(client, control_id, f"tags.`{ROLE_TAG}` = 'index'", view="ALL")
    if len(runs) > 1:
        runs = [facts for facts in runs if facts.params]
    if len(runs) != 1:
        raise LedgerCorruptError(
            f"experiment {control_id} has {len(runs)} index runs: {[facts.run_id for facts in runs]}",
            hint=f"set its tag {INDEX_TAG} to the run that holds the params s.*",
        )
    return runs[0].run_id


class Ledger:
    """The ledger of one submodel, as one client has seen it: it only ever moves forward."""

    def __init__(self, experiment: ModelExperiment, submodel: str) -> None:
        self.experiment = experiment
        self.submodel = submodel
        self.control: Control | None = None
        self.position: str | None = None
        self.document: Document | None = None
        self.confirmed: set[tuple[str, int]] = set()
        self.lock = anyio.Lock()
        self._reached = 0

    async def walk(self, client: AsyncMlflowClient, *, fresh: bool = False) -> Tip:
        """Go to the end of the chain: one request in the steady state, 3 or 4 at first contact.

        Raises:
            LedgerDeletedError, LedgerForeignError, LedgerCorruptError: as `find_control`.
            LedgerMissingError: a run of the chain was removed for good.

        """
        if self.control is None:
            self.control = await find_control(client, self.experiment)
            if self.control is None:
                return Tip(lagging=self.document is not None, document=self.document)
        try:
            return self._accept(await self._end(client, self.control, fresh=fresh))
        except LedgerMissingError:
            control = await find_control(client, self.experiment)
            if control is None or control.experiment_id == self.control.experiment_id:
                raise
            self.move_to(control)
            return self._accept(await self._end(client, control, fresh=fresh))

    async def look_again(self, client: AsyncMlflowClient) -> None:
        """Go on in another ledger if the name leads to one by now: it was begun again while this client ran."""
        control = await find_control(client, self.experiment)
        if control is not None and self.control is not None and control.experiment_id != self.control.experiment_id:
            self.move_to(control)

    def learn(self, document: Document) -> None:
        """Take a document that is known to be on the chain, unless a later one is known."""
        if self.document is None or document.generation > self.document.generation:
            self.document = document

    def move_to(self, control: Control) -> None:
        """Go on in a ledger that was begun again."""
        self.control, self.position, self._reached = control, None, 0
        self.confirmed = set()

    def move(self, run_id: str, next_slot: int) -> None:
        """Go on from a run that the chain is known to reach, unless that would be back."""
        if next_slot > self._reached:
            self.position, self._reached = run_id, next_slot

    def _accept(self, tip: Tip) -> Tip:
        if tip.run_id is not None and not tip.at_index and not tip.lagging:
            self.move(tip.run_id, tip.next_slot)
        if tip.document is not None:
            self.learn(tip.document)
        known = self.document
        if known is not None and (tip.document is None or tip.document.generation < known.generation):
            return replace(tip, document=known, lagging=True)
        return tip

    async def _end(self, client: AsyncMlflowClient, control: Control, *, fresh: bool) -> Tip:
        tip: Tip | None = None
        if self.position is not None:
            tip = await self._follow(client, control, self.position, fresh=fresh)
        elif hint := await self._proven(client, control):
            tip = await self._follow(client, control, hint.target, fresh=fresh, hint=hint)
        if tip is None:
            tip = await self._follow(client, control, control.index_run, fresh=fresh)
            assert tip is not None
        return tip

    async def _proven(self, client: AsyncMlflowClient, control: Control) -> Hint | None:
        hint = read_hint(control.tags.get(head_tag(self.submodel)))
        if hint is None:
            return None
        try:
            source = await read_run(client, hint.source)
        except NotFoundError:
            return None
        value = params_of(source).get(hint.key)
        kind = decode_slot(value, 0) if value is not None else None
        proven = isinstance(kind, Pointer) and kind.next == hint.target and _is_in(source, control)
        return hint if proven else None

    async def _follow(
        self, client: AsyncMlflowClient, control: Control, start: str, *, fresh: bool, hint: Hint | None = None
    ) -> Tip | None:
        """Follow the pointers from `start`; None when the hint was wrong or `start` alone does not tell all."""
        run_id, tip, seen = start, Tip(), {start}
        while True:
            try:
                raw = await read_run(client, run_id, fresh=fresh)
            except NotFoundError as error:
                if run_id != start:
                    return replace(tip, lagging=True, missing=run_id)
                if hint is not None:
                    return None
                raise missing_run(run_id, control.experiment_id) from error
            if hint is not None and run_id == start and not self._is_ours(raw, control):
                return None
            at_index = run_id == control.index_run
            step = self._at_index(raw) if at_index else _at_ledger(raw, tip)
            if isinstance(step, Tip):
                if step.document is None and not at_index and start != control.index_run:
                    return None
                return step
            if step[0].next in seen:
                raise LedgerCorruptError(f"the ledger leads in a circle at run {run_id}")
            tip, run_id = step[1], step[0].next
            seen.add(run_id)

    def _at_index(self, raw: Mapping[str, Any]) -> Tip | tuple[Pointer, Tip]:
        run_id, params = str(raw["info"]["run_id"]), params_of(raw)
        here = Tip(run_id=run_id, at_index=True, params=params)
        kind = read_index(params, self.submodel)
        if isinstance(kind, Burnt):
            raise LedgerCorruptError(
                f"param {index_key(self.submodel)} of run {run_id} is not a pointer: {kind.reason}",
                hint="something else wrote to the ledger",
            )
        if isinstance(kind, Newer):
            return replace(here, newer=kind.reason)
        if kind is None:
            return here
        return kind, replace(here, hint=Hint(run_id, index_key(self.submodel), kind.next))

    def _is_ours(self, raw: Mapping[str, Any], control: Control) -> bool:
        tags = {tag.get("key"): tag.get("value") for tag in raw.get("data", {}).get("tags", ())}
        return _is_in(raw, control) and tags.get(SUBMODEL_TAG) == self.submodel


def _at_ledger(raw: Mapping[str, Any], before: Tip) -> Tip | tuple[Pointer, Tip]:
    run_id, params = str(raw["info"]["run_id"]), params_of(raw)
    view: SlotsView = read_slots(params)
    if not view.entries:
        return replace(before, lagging=True)
    newer = next((kind.reason for _, kind in view.entries if isinstance(kind, Newer)), None)
    tip = Tip(
        run_id=run_id,
        at_index=False,
        document=view.document or before.document,
        next_slot=view.next_slot,
        slots=len(view.entries),
        characters=view.characters,
        newer=newer or before.newer,
        params=params,
        hint=before.hint,
    )
    if view.pointer is None:
        return tip
    return view.pointer, replace(tip, hint=Hint(run_id, slot_key(view.last), view.pointer.next))


def missing_run(run_id: str, control_id: str) -> LedgerMissingError:
    """Return the error of a ledger of which a run was removed for good."""
    return LedgerMissingError(
        f"run {run_id} of the ledger was removed for good",
        hint=f"rename_experiment({control_id!r}, ...) out of the way, then reconcile(rebuild=True) begins a new ledger",
    )


def params_of(raw: Mapping[str, Any]) -> dict[str, str]:
    """Return the params of a run as the server's JSON has it."""
    return {str(item["key"]): str(item.get("value", "")) for item in raw.get("data", {}).get("params", ())}


def _is_in(raw: Mapping[str, Any], control: Control) -> bool:
    return str(raw.get("info", {}).get("experiment_id")) == control.experiment_id
