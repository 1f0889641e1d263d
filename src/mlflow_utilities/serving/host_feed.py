"""One poller for all processes of a host: whoever holds a lock asks the server, the others read its file."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from mlflow_utilities._clock import Clock
from mlflow_utilities.models.locks import FileLock, try_lock
from mlflow_utilities.models.threads import in_file_thread
from mlflow_utilities.rollout.codec import decode_slot, encode_document
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.serving.values import PollError

__all__ = ["HostFeed", "Shared", "Turn"]

_log = logging.getLogger("mlflow_utilities.serving")

_FORMAT = 1
_CHECKSUM = 64
_PATIENCE = 5.0
T = TypeVar("T")


class Turn(Enum):
    """What a process shall do that has nothing to read."""

    POLL = "ask the server"
    WAIT = "look again soon: another process has just begun to ask"


@dataclass(frozen=True, slots=True)
class Shared:
    """What the polling process knows: the document, when it was fetched (monotonic; None: never), the last error."""

    document: Document | None
    fetched_at: float | None
    error: PollError | None


class HostFeed:
    """The file and the lock that processes of one host share for one ledger.

    The monotonic clock is the same for all of them. A file of an earlier start of the machine, or of another host, is
    too old or from the future: it is not used. A disk that fails costs requests, nothing else.
    """

    def __init__(self, directory: Path, identity: str, clock: Clock) -> None:
        name = sha256(identity.encode()).hexdigest()[:32]
        self._path = directory / "polls" / f"{name}.json"
        self._lock_path = directory / "polls" / f"{name}.lock"
        self._identity = identity
        self._clock = clock
        self._lock: FileLock | None = None
        self._lacking_since: float | None = None
        self._warned = False

    async def look(self) -> Shared | Turn:
        """Return what another process met, or what to do instead.

        The one that holds the lock, or gets it now, polls; each of them does when the holder has stopped writing.
        """
        now = self._clock.monotonic()
        found = await self._on_disk(lambda: self._look(now))
        if found is None:
            return Turn.POLL
        if isinstance(found, Shared) or self._lock is not None:
            self._lacking_since = None
            return found
        if self._lacking_since is None:
            self._lacking_since = now
        return Turn.WAIT if found is Turn.WAIT and now - self._lacking_since < _PATIENCE else Turn.POLL

    def _look(self, now: float) -> Shared | Turn:
        if self._lock is None:
            self._lock = try_lock(self._lock_path)
            if self._lock is not None:
                self._clear()
        if self._lock is not None:
            return Turn.POLL
        return self._read(now) or Turn.WAIT

    def _read(self, now: float) -> Shared | None:
        try:
            return self._understood(_unsealed(self._path.read_text("ascii")), now)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # nothing, or nothing of ours
            return None

    def _understood(self, fields: dict[str, Any], now: float) -> Shared | None:
        if fields["format"] != _FORMAT or fields["identity"] != self._identity:
            return None
        if not fields["at"] <= now <= fields["until"]:
            return None
        document = None if fields["document"] is None else decode_slot(fields["document"], fields["generation"])
        error = None if fields["error"] is None else PollError(**fields["error"])
        if document is None or isinstance(document, Document):
            return Shared(document, fields["fetched_at"], error)
        return None

    async def tell(self, shared: Shared, *, valid: float) -> None:
        """Let the others read what this process knows, for `valid` seconds."""
        now = self._clock.monotonic()
        document = shared.document
        body = {
            "format": _FORMAT,
            "identity": self._identity,
            "at": now,
            "until": now + valid,
            "fetched_at": shared.fetched_at,
            "generation": document.generation if document else None,
            "document": encode_document(document) if document else None,
            "error": asdict(shared.error) if shared.error else None,
        }
        await self._on_disk(lambda: self._write(_sealed(body)))

    def _write(self, text: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix=f"{self._path.stem}.", suffix=".tmp", dir=self._path.parent)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(text)
            os.replace(name, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _clear(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        for left in self._path.parent.glob(f"{self._path.stem}.*.tmp"):
            with contextlib.suppress(OSError):
                left.unlink()

    def release(self) -> None:
        """Let another process poll."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    async def _on_disk(self, work: Callable[[], T]) -> T | None:
        try:
            return await in_file_thread(work)
        except Exception as error:
            if not self._warned:
                _log.warning("polls cannot be shared with other processes, each polls for itself: %s", error)
            self._warned = True
            return None


def _sealed(body: dict[str, Any]) -> str:
    text = json.dumps(body)
    return sha256(text.encode()).hexdigest() + text


def _unsealed(text: str) -> dict[str, Any]:
    """Return what `_sealed` was given; raise ValueError when it is damaged."""
    body = text[_CHECKSUM:]
    if sha256(body.encode()).hexdigest() != text[:_CHECKSUM]:
        raise ValueError("the checksum does not match")
    return cast("dict[str, Any]", json.loads(body))
