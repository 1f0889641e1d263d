"""The poller: one for each ledger of a client, whoever needs it, and however the server behaves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.experiments import check_names, find_ledger
from mlflow_utilities.rollout.reader import Ledger
from mlflow_utilities.serving.host_feed import HostFeed, Shared, Turn
from mlflow_utilities.serving.ledger_poll import LedgerPoll, polling_client
from mlflow_utilities.serving.reports import describe, is_slow, retry_after
from mlflow_utilities.serving.schedule import Schedule
from mlflow_utilities.serving.values import PollError

__all__ = ["Feed", "Fetched", "feed_of", "locate"]

_log = logging.getLogger("mlflow_utilities.serving")

_FEEDS = "serving.feeds"
_SPREAD = "serving.spread"
_INTERVAL = 30.0
_GLANCE = 1.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """What poll `number` found, `at` seconds of the client's clock; `document` is None where nothing was rolled out."""

    number: int
    document: Document | None
    at: float


class Feed:
    """Follows one ledger: `latest` only ever moves forward, and stays whatever polls meet.

    `last_error` is what the last poll met, None when it succeeded. `last_success` and `next_poll` are in seconds of the
    client's clock. `polls` counts those that ended, the last `took` so many seconds. All tasks are of one event
    loop, as the client is.
    """

    def __init__(
        self, client: AsyncMlflowClient, ledger: Ledger, *, share_dir: Path | None = None, delay: bool = True
    ) -> None:
        self.latest: Fetched | None = None
        self.last_error: PollError | None = None
        self.last_success: float | None = None
        self.next_poll: float | None = None
        self.polls = 0
        self.took = 0.0
        self._clock = client.clock
        self._ledger = ledger
        self._poll = LedgerPoll(client, ledger)
        self._share: HostFeed | None = None
        self._delay = delay
        self._schedule = Schedule(_INTERVAL)
        self._intervals: list[float] = []
        self._driving = anyio.Lock()
        self._polling = anyio.Lock()
        self._begun = 0
        self._under_way: int | None = None
        self._asked = 0
        self._met: Exception | None = None
        self._ended = anyio.Event()
        self._moved = anyio.Event()
        if share_dir is not None:
            self.share(client, share_dir)

    def share(self, client: AsyncMlflowClient, directory: Path) -> None:
        """Poll for all processes of this host that share a directory, or read what another one of them polled."""
        if self._share is None:
            experiment = self._ledger.experiment
            identity = (client.tracking_uri, experiment.experiment_id, experiment.creation_time, self._ledger.submodel)
            self._share = HostFeed(directory, repr(identity), self._clock)

    @property
    def exception(self) -> Exception | None:
        """What the last poll raised, None when it succeeded."""
        return self._met

    @contextmanager
    def subscribe(self, interval: float) -> Generator[None]:
        """Poll at least every `interval` seconds until the block ends; the shortest of all subscribers' is used.

        Raises InvalidInputError when it is not a finite number above 0.
        """
        Schedule(interval)
        self._intervals.append(interval)
        self._change()
        try:
            yield
        finally:
            self._intervals.remove(interval)
            self._change()

    def _change(self) -> None:
        before = self._schedule.interval
        self._schedule.change(min(self._intervals, default=_INTERVAL))
        if self._schedule.interval < before and self.next_poll is not None and not self._schedule.failing:
            sooner = self._clock.monotonic() + self._schedule.phase(self._clock.random())
            self._plan_at(min(self.next_poll, sooner))

    async def drive(self) -> None:
        """Poll until cancelled; while another task does, stand by, and take over when that one is cancelled."""
        async with self._driving:
            try:
                if self.next_poll is None:
                    wait = self._schedule.first(self._clock.random()) if self._delay else 0.0
                    self._plan_at(self._clock.monotonic() + wait)
                while True:
                    await self._until_due()
                    await self._tick()
            finally:
                if self._share is not None:
                    self._share.release()

    async def wait(self, seen: int) -> int:
        """Return the number of polls that ended, as soon as it is another than `seen`."""
        while self.polls == seen:
            await self._ended.wait()
        return self.polls

    async def refresh(self) -> Fetched:
        """Ask the server now, or wait for the answer that another task is waiting for, and return what is known then.

        Raises:
            MlflowUtilitiesError: what that poll met; `latest` is still there.

        """
        wanted = self._under_way or self._begun + 1
        async with self._polling:
            if self._asked < wanted:
                await self._ask()
        if self._met is not None:
            raise self._met
        assert self.latest is not None
        return self.latest

    async def _until_due(self) -> None:
        while (wait := (self.next_poll or 0.0) - self._clock.monotonic()) > 0:
            with self._clock.time_limit(wait):
                await self._moved.wait()

    async def _tick(self) -> None:
        due = self.next_poll
        async with self._polling:
            if self.next_poll != due:  # a refresh came first
                return
            turn = await self._share.look() if self._share is not None else Turn.POLL
            if turn is Turn.WAIT:
                self._plan_at(self._clock.monotonic() + _GLANCE * (0.5 + self._clock.random()))
            elif isinstance(turn, Shared):
                self._adopt(turn)
            else:
                await self._ask()

    async def _ask(self) -> None:
        """Ask the server; only cancellation ends it early, and then the poll counts as never made."""
        self._begun += 1
        number = self._under_way = self._begun
        start = self._clock.monotonic()
        try:
            repeat = self.latest is not None and not self._schedule.failing
            polled = await self._poll.poll(repeat=repeat)
            now = self._clock.monotonic()
            self._install(Fetched(number, polled.document, now))
            problem = polled.problem
            report = None if problem is None else describe(problem, self._clock.now_ms())
            hint = polled.document.poll if polled.document else None
            wait = self._schedule.succeeded(self._clock.random(), hint)
            self._met, self.last_success = None, now
        except Exception as error:
            self._install_known(number)
            report = describe(error, self._clock.now_ms())
            slow, asked = is_slow(error), retry_after(error)
            wait = self._schedule.failed(self._clock.random(), slow=slow, retry_after=asked)
            self._met = error
        finally:
            self._under_way = None
        self._asked = number
        self.took = self._clock.monotonic() - start
        self._end(report, wait)
        await self._tell(wait)

    def _install_known(self, number: int) -> None:
        """Take what was learnt before a poll failed, e.g. the last document before one of a newer format."""
        document, known = self._ledger.document, self.latest
        if document is not None and (known is None or document.generation > _generation(known)):
            self._install(Fetched(number, document, self._clock.monotonic()))

    def _install(self, fetched: Fetched) -> None:
        """Take an answer, unless it is late or shows less than is known."""
        known = self.latest
        if known is None or (fetched.number >= known.number and _generation(fetched) >= _generation(known)):
            self.latest = fetched

    def _adopt(self, shared: Shared) -> None:
        """Take what another process of this host met."""
        if shared.fetched_at is not None:
            self._begun += 1
            self._install(Fetched(self._begun, shared.document, shared.fetched_at))
            if shared.document is not None:
                self._ledger.learn(shared.document)
            self.last_success = shared.fetched_at
        if shared.error is None:
            self._met = None
        hint = shared.document.poll if shared.document else None
        self._end(shared.error, self._schedule.succeeded(self._clock.random(), hint))

    async def _tell(self, wait: float) -> None:
        if self._share is not None:
            latest = self.latest
            document = latest.document if latest else None
            await self._share.tell(
                Shared(document, self.last_success, self.last_error), valid=max(2 * self._schedule.interval, wait * 1.5)
            )

    def _end(self, error: PollError | None, wait: float) -> None:
        if error is not None and (self.last_error is None or self.last_error.message != error.message):
            _log.warning("poll of %s: %s: %s", self._ledger.submodel, error.kind, error.message)
        self.last_error = error
        self.polls += 1
        self._plan_at(self._clock.monotonic() + wait)
        ended, self._ended = self._ended, anyio.Event()
        ended.set()

    def _plan_at(self, moment: float) -> None:
        self.next_poll = moment
        moved, self._moved = self._moved, anyio.Event()
        moved.set()


def _generation(fetched: Fetched) -> int:
    return fetched.document.generation if fetched.document else 0


def feed_of(client: AsyncMlflowClient, ledger: Ledger, *, share_dir: Path | None = None) -> Feed:
    """Return the feed of a ledger, the same one for all that use this client.

    `share_dir`: a directory of this host; of the processes that name the same one, one polls for all.
    """
    key = (ledger.experiment.experiment_id, ledger.submodel)
    feeds = cast("dict[tuple[str, str], Feed]", client.state.setdefault(_FEEDS, {}))
    if key not in feeds:
        spread = cast("set[tuple[str, str]]", client.state.get(_SPREAD, set()))
        feeds[key] = Feed(client, ledger, delay=key not in spread)
    if share_dir is not None:
        feeds[key].share(client, share_dir)
    return feeds[key]


async def locate(
    client: AsyncMlflowClient,
    experiment_id: str | None,
    experiment_name: str | None,
    submodel_name: str | None,
    *,
    on_error: Callable[[PollError, Exception], None],
    interval: float,
) -> Ledger:
    """Return the ledger of a submodel, once the server shows its experiment; tries again for ever, as polls do.

    `on_error` is told of each attempt that failed; an experiment that does not exist (yet) is such a failure.
    `interval` is the seconds between polls. The feed of the ledger needs no delay of its own afterwards.

    Raises:
        InvalidInputError: the names, or the interval, cannot be.

    """
    check_names(experiment_id, experiment_name, submodel_name)
    schedule, clock = Schedule(interval), client.clock
    asking = polling_client(client)
    wait = schedule.first(clock.random())
    while True:
        await clock.sleep(wait)
        try:
            ledger = await find_ledger(asking, experiment_id, experiment_name, submodel_name)
        except Exception as error:
            wait = schedule.failed(clock.random(), slow=is_slow(error), retry_after=retry_after(error))
            _report(on_error, describe(error, clock.now_ms()), error)
        else:
            spread = cast("set[tuple[str, str]]", client.state.setdefault(_SPREAD, set()))
            spread.add((ledger.experiment.experiment_id, ledger.submodel))
            return ledger


def _report(on_error: Callable[[PollError, Exception], None], report: PollError, error: Exception) -> None:
    try:
        on_error(report, error)
    except Exception:
        _log.exception("the handler of a failed poll raised")
