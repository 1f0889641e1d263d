"""The runs behind a generation: asked for once, and remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidInputError, ModelError
from mlflow_utilities.rollout.calls import check_run_id, runs_by_id
from mlflow_utilities.rollout.document import LiveEntry
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.listing import Listed
from mlflow_utilities.rollout.status_rule import fraction_of
from mlflow_utilities.rollout.versioned_runs import model_uri_of, versioned_fields
from mlflow_utilities.serving.served_model import Hold, ServedModel

__all__ = ["KnownRuns", "UnusableRunsError", "model_uri_of", "served_model"]


class UnusableRunsError(ModelError):
    """Live runs whose models cannot be had; `failures` has the reason for each run id."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"run {run_id} {reason}" for run_id, reason in failures.items()))
        self.failures = dict(failures)


class KnownRuns:
    """Remembers runs by id, the `limit` that were asked for last.

    What it knows of a run is as of when the run was first seen: metadata that changes later does not show, and a run
    that is deleted later stays known. Its version and its submodel are params, which never change.
    """

    def __init__(self, limit: int = 1000) -> None:
        self._limit = limit
        self._known: OrderedDict[str, RunFacts] = OrderedDict()
        self._lock = anyio.Lock()

    async def get(self, client: AsyncMlflowClient, experiment_id: str, run_ids: Collection[str]) -> dict[str, RunFacts]:
        """Return the runs: one request when some are not known yet, none else. Those that are usable are remembered.

        Raises:
            UnusableRunsError: (a ModelError) a run does not exist, is deleted, or was not saved as a model with a
                version; it names all of them.

        """
        found = self._those_known(run_ids)
        if missing := [run_id for run_id in run_ids if run_id not in found]:
            async with self._lock:  # somebody else may be asking for the same ones
                found.update(await self._ask(client, experiment_id, missing))
        return {run_id: found[run_id] for run_id in run_ids}

    def unknown(self, run_ids: Collection[str]) -> set[str]:
        """Return the runs that would have to be asked for."""
        return set(run_ids) - self._known.keys()

    def learn(self, facts: Mapping[str, RunFacts]) -> None:
        """Remember runs, by id, that were read elsewhere, e.g. from a file; those that are known stay as they are."""
        for run_id, item in facts.items():
            self._known.setdefault(run_id, item)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)

    async def _ask(
        self, client: AsyncMlflowClient, experiment_id: str, run_ids: Collection[str]
    ) -> dict[str, RunFacts]:
        usable = self._those_known(run_ids)
        unknown = [run_id for run_id in run_ids if run_id not in usable]
        found = await runs_by_id(client, experiment_id, list(filter(_is_run_id, unknown)))
        reasons = {run_id: _reason(found.get(run_id)) for run_id in unknown}
        usable.update((run_id, facts) for run_id, facts in found.items() if reasons.get(run_id) is None)
        self.learn(usable)
        failures = {run_id: reason for run_id, reason in reasons.items() if reason is not None}
        if failures:
            raise UnusableRunsError(failures)
        return usable

    def _those_known(self, run_ids: Collection[str]) -> dict[str, RunFacts]:
        found = {run_id: self._known[run_id] for run_id in run_ids if run_id in self._known}
        for run_id in found:
            self._known.move_to_end(run_id)
        return found


def _is_run_id(text: str) -> bool:
    try:
        check_run_id(text)
    except InvalidInputError:
        return False
    return True


def _reason(facts: RunFacts | None) -> str | None:
    if facts is None:
        return "does not exist"
    if facts.deleted:
        return "is deleted"
    if facts.version is None or facts.submodel is None:
        return "was not saved with a submodel name and a version"
    return None


def served_model(
    facts: RunFacts, entry: LiveEntry, generation: int, hold: Hold, client: AsyncMlflowClient | None
) -> ServedModel:
    """Return the model of a live run as a service hands it out.

    Args:
        facts: the run.
        entry: its entry in the document, which has its status and share.
        generation: the generation of that document.
        hold: keeps the loaded object.
        client: with which `load` and `download` of the model work, if anybody calls them.

    Raises:
        UnusableRunsError: the run was not saved as a model with a version.

    """
    reason = _reason(facts)
    if facts.version is None or reason is not None:
        raise UnusableRunsError({facts.run_id: str(reason)})
    listed = Listed(facts, facts.version, entry.status, fraction_of(entry))
    return ServedModel(
        model_uri=model_uri_of(facts), generation=generation, _client=client, _hold=hold, **versioned_fields(listed)
    )
