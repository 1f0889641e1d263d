"""One poll of a ledger: what the server shows, weighed against what is known."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import (
    LedgerCorruptError,
    LedgerNewerFormatError,
    MlflowConnectionError,
    MlflowTimeoutError,
    ProtocolError,
    RateLimitedError,
    RolloutError,
    ServerError,
)
from mlflow_utilities.rollout.codec import decode_slot
from mlflow_utilities.rollout.document import Burnt, Document, slot_key
from mlflow_utilities.rollout.reader import Ledger, Tip, missing_run
from mlflow_utilities.typing import Timeout

__all__ = ["LedgerPoll", "Polled", "polling_client"]

_TIMEOUT = Timeout(connect=2.0, read=5.0, write=5.0, pool=5.0, total=5.0)
_LAGS = 3
_BETWEEN_LOOKS = 600.0


def polling_client(client: AsyncMlflowClient) -> AsyncMlflowClient:
    """Return the client with the limits of polls: 2 seconds to connect, 5 for a request, which is not repeated."""
    return client.with_options(timeout=_TIMEOUT, max_retries=0)


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll found: the document (None: nothing was ever rolled out), and what is wrong although it is usable."""

    document: Document | None
    problem: ProtocolError | None = None


class LedgerPoll:
    """Asks for the end of one ledger: one GET in the steady state, and one more about every ten minutes.

    That one looks whether the ledger was begun anew under the same name; the run that is read would never show it.
    """

    def __init__(self, client: AsyncMlflowClient, ledger: Ledger) -> None:
        self._client = polling_client(client)
        self._ledger = ledger
        self._lags = 0
        self._look_at = self._next_look()

    async def poll(self, *, repeat: bool) -> Polled:
        """Return what the server shows, or what is known where the server shows less.

        `repeat` says to ask again at once when the connection broke: it may have been an idle one that the server had
        given up.

        Raises:
            LedgerNewerFormatError: a newer release wrote last.
            LedgerError: the ledger is deleted, removed, foreign or corrupt.
            RolloutError: the server shows less than is known, several times in a row, or not all of the ledger.
            ProtocolError: no slot of the ledger can be read.

        """
        before = self._ledger.control
        tip = await self._walk(repeat=repeat)
        if before is not None and (control := self._ledger.control) is not None and control is not before:
            self._ledger.move_to(control)  # begun anew meanwhile: the walk may have left its position in the old one
            tip = await self._ledger.walk(self._client)
        self._lags = self._lags + 1 if tip.lagging else 0
        if (self._lags > _LAGS or self._client.clock.monotonic() >= self._look_at) and await self._look():
            tip = await self._ledger.walk(self._client)
        return self._judged(tip)

    async def _look(self) -> bool:
        """Look whether the ledger was begun anew; a server that fails just then has answered the poll all the same."""
        try:
            anew = await self._begun_anew()
        except (MlflowConnectionError, MlflowTimeoutError, RateLimitedError, ServerError):
            anew = False
        self._look_at = self._next_look()  # a ledger that is deleted is looked for again with each poll
        return anew

    async def _walk(self, *, repeat: bool) -> Tip:
        try:
            return await self._ledger.walk(self._client)
        except MlflowConnectionError as error:
            if not repeat or not error.sent:
                raise
        except LedgerCorruptError:
            if self._ledger.control is None or not await self._begun_anew():
                raise
        return await self._ledger.walk(self._client)

    async def _begun_anew(self) -> bool:
        before = self._ledger.control
        await self._ledger.look_again(self._client)
        return self._ledger.control is not before

    def _next_look(self) -> float:
        clock = self._client.clock
        return clock.monotonic() + _BETWEEN_LOOKS * (0.5 + clock.random())

    def _judged(self, tip: Tip) -> Polled:
        if tip.newer:
            raise LedgerNewerFormatError(
                f"a newer release wrote the ledger: {tip.newer}", hint="update mlflow-utilities in this service"
            )
        problem = _problem(tip)
        if tip.document is None and (problem or tip.lagging):
            raise problem or RolloutError(
                f"the server does not show all of the ledger of {self._ledger.submodel} yet",
                hint="is this a read replica that lags behind?",
            )
        if self._lags > _LAGS and not problem:
            raise self._lost(tip)
        return Polled(tip.document, problem)

    def _lost(self, tip: Tip) -> RolloutError:
        if tip.missing and self._ledger.control:
            return missing_run(tip.missing, self._ledger.control.experiment_id)
        known = tip.document.generation if tip.document else 0
        return RolloutError(
            f"the server shows slots up to {tip.next_slot - 1}, although generation {known} exists",
            hint="does its read replica lag behind, or was its database restored from an older copy?",
        )


def _problem(tip: Tip) -> ProtocolError | None:
    """Return what is wrong with the last slot. Writers and readers skip one that says nothing."""
    value = None if tip.at_index else tip.params.get(slot_key(tip.next_slot - 1))
    kind = None if value is None else decode_slot(value, tip.next_slot - 1)
    if not isinstance(kind, Burnt):
        return None
    return ProtocolError(
        f"slot {tip.next_slot - 1} of run {tip.run_id} cannot be read: {kind.reason}",
        hint="the generation before it is in force; commit again",
    )
