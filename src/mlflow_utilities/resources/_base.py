"""What the methods share: sending, decoding, paging, and settling a creation whose answer was lost."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mlflow_utilities._clock import Clock
from mlflow_utilities._protocol.paging import PageReader
from mlflow_utilities._protocol.values import identifier
from mlflow_utilities.errors import (
    BadRequestError,
    EndpointNotFoundError,
    InvalidInputError,
    MlflowConnectionError,
    MlflowTimeoutError,
    NotFoundError,
    ProtocolError,
    ServerError,
)
from mlflow_utilities.resources._results import Results, Turns
from mlflow_utilities.typing import Call, JsonObject, Safety, Sender, TimeoutArgument

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mlflow_utilities.entities import Page
    from mlflow_utilities.filters import Filter

__all__ = [
    "API",
    "CREATE_ID",
    "Api",
    "decoded",
    "filter_text",
    "ids_list",
    "new_create_id",
    "order_list",
    "part",
    "view_name",
    "without_create_id",
]

API = "/api/2.0/mlflow/"
CREATE_ID = "mlflow_utilities.create_id"
_LOOKS = (0.0, 0.25, 1.0)
_VIEWS = {1: "ACTIVE_ONLY", 2: "DELETED_ONLY", 3: "ALL"}

T = TypeVar("T")
E = TypeVar("E", bound="BaseModel")


class Api:
    """Base of the groups of methods."""

    _sender: Sender
    _clock: Clock

    async def _get(self, path: str, timeout: TimeoutArgument, /, **query: str) -> JsonObject:
        return await self._sender.send_json(Call("GET", API + path, query=tuple(query.items())), timeout=timeout)

    async def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        timeout: TimeoutArgument,
        safety: Safety = Safety.IDEMPOTENT,
    ) -> JsonObject:
        return await self._sender.send_json(Call(method, API + path, body=body, safety=safety), timeout=timeout)

    async def _page(self, call: Call, key: str, decode: Callable[[Any], T], timeout: TimeoutArgument) -> Page[T]:
        from mlflow_utilities.entities import Page

        reader = PageReader(await self._sender.send(call, timeout=timeout), key)
        turns = Turns(self._clock)
        items: list[T] = []
        for raw in reader:
            items.append(decode(raw))
            await turns.take()
        return Page(items, reader.token)

    def _iterate(
        self,
        call: Callable[[str | None], Call],
        key: str,
        decode: Callable[[Any], T],
        timeout: TimeoutArgument,
    ) -> AsyncIterator[T]:
        return Results(self._sender, self._clock, call, key, decode, timeout)

    async def _create(
        self,
        path: str,
        body: Mapping[str, Any],
        read: Callable[[JsonObject], T],
        find: Callable[[], Awaitable[T | None]],
        timeout: TimeoutArgument,
    ) -> T:
        """Create, and settle a lost answer by looking: the request is not sent again once it may have arrived."""
        try:
            return read(await self._write("POST", path, body, timeout, Safety.CREATE))
        except (MlflowConnectionError, MlflowTimeoutError, ServerError) as error:
            if not getattr(error, "sent", True):
                raise
            for pause in _LOOKS:
                if pause:
                    await self._clock.sleep(pause)
                found = await find()
                if found is not None:
                    return found
            raise

    async def _once(self, method: str, path: str, body: Mapping[str, Any], timeout: TimeoutArgument) -> None:
        """Make a change that the server refuses as "not there" the second time.

        A lost answer is settled by making the call again: then "not there" means that the first one arrived.
        """
        try:
            await self._write(method, path, body, timeout, Safety.CREATE)
        except (MlflowConnectionError, MlflowTimeoutError, ServerError, BadRequestError) as error:
            if not getattr(error, "sent", True):
                raise
            try:
                await self._write(method, path, body, timeout)
            except EndpointNotFoundError:
                raise
            except NotFoundError:
                return


def decoded(entity: type[E], value: Any) -> E:
    """Return the entity that a raw value is.

    Raises:
        ProtocolError: the value has another shape.

    """
    try:
        return entity.model_validate(value)
    except ValueError as error:
        raise ProtocolError(f"the answer is not a {entity.__name__}: {error}") from error


def part(answer: JsonObject, name: str) -> Any:
    """Return a member of an answer.

    Raises:
        ProtocolError: it is missing.

    """
    try:
        return answer[name]
    except KeyError:
        raise ProtocolError(f"the answer has no {name}: {str(answer)[:80]}") from None


def new_create_id() -> str:
    """Return a value by which something just created can be found."""
    return uuid.uuid4().hex


def view_name(view_type: object) -> str:
    """Return the name of a ViewType of ours or of MLflow's."""
    if isinstance(view_type, int) and view_type in _VIEWS:
        return _VIEWS[view_type]
    if view_type in _VIEWS.values():
        return str(view_type)
    raise InvalidInputError(f"the view type is {view_type!r}", hint="use a ViewType")


def order_list(order_by: Sequence[str] | None) -> list[str]:
    """Return the order of a search as a list."""
    if order_by is None:
        return []
    if isinstance(order_by, str):
        raise InvalidInputError(f"order_by is {order_by!r}", hint="give a list of texts")
    return [identifier(item, "an item of order_by") for item in order_by]


def ids_list(experiment_ids: Sequence[str]) -> list[str]:
    """Return the experiments of a search as a list."""
    if isinstance(experiment_ids, str):
        raise InvalidInputError(f"experiment_ids is {experiment_ids!r}", hint="give a list of ids")
    return [identifier(item, "an experiment id") for item in experiment_ids]


def without_create_id(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags that may be given to something else."""
    return {key: value for key, value in tags.items() if key != CREATE_ID}


def filter_text(value: str | Filter | None, search: str) -> str:
    """Return a filter as MLflow's text; a plain text is passed on as it is."""
    if value is None or isinstance(value, str):
        return value or ""
    from mlflow_utilities.filters import render_filter

    return render_filter(value, search)
