"""Reading a page element by element gives what reading it whole would give, or an error."""

from __future__ import annotations

import json
import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities._clock import SystemClock
from mlflow_utilities._protocol.paging import PageReader
from mlflow_utilities._unset import UNSET
from mlflow_utilities.errors import ProtocolError
from mlflow_utilities.resources._results import Results
from mlflow_utilities.typing import Call

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.dictionaries(st.text(max_size=6).filter(lambda name: name not in ("runs", "next_page_token")), JSON)
TOKENS = st.sampled_from([[], [("next_page_token", "t")], [("next_page_token", "")], [("next_page_token", None)]])
LAYOUTS = st.sampled_from([None, 0, 2, "\t"])


@st.composite
def pages(draw: st.DrawFn) -> dict[str, Any]:
    """Return a page with its members in any order."""
    members = [*draw(MEMBERS).items(), ("runs", draw(st.lists(JSON, max_size=5))), *draw(TOKENS)]
    return dict(draw(st.permutations(members)))


def read(body: bytes) -> tuple[list[Any], str | None]:
    """Return the elements and the token of a page."""
    reader = PageReader(body, "runs")
    return list(reader), reader.token


@given(pages(), LAYOUTS, st.booleans())
def test_a_page_is_read_as_the_whole_document_would_be(page: dict[str, Any], indent: Any, ascii_only: bool) -> None:
    """In any order of members, with any white space, beside any other members."""
    body = json.dumps(page, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        whole = json.loads(body)
    except ValueError:
        return

    assert read(body) == (whole["runs"], whole.get("next_page_token") or None)


@given(pages(), st.data())
def test_a_cut_page_is_an_error_before_anything_wrong_is_yielded(page: dict[str, Any], data: st.DataObject) -> None:
    """What came before the cut is right, and the end is an error, never a shorter page."""
    body = json.dumps(page).encode()
    cut = body[: data.draw(st.integers(1, len(body) - 1))]
    seen: list[Any] = []

    with pytest.raises(ProtocolError):
        seen.extend(PageReader(cut, "runs"))

    assert seen == page["runs"][: len(seen)]


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "null",
        "<html>",
        '{"runs": [1,]}',
        '{"runs": [1 2]}',
        '{"runs": [1], }',
        '{"runs": [1]} {}',
        '{"runs": [1]}}',
        '{1: 2, "runs": []}',
        "{runs: []}",
        '{"runs": {"a": 1}}',
        '{"runs": "ab"}',
        '{"next_page_token": 7}',
        '{"runs": [' + "[" * 100_000 + "]}",
    ],
)
def test_what_is_not_a_page_is_an_error(body: str) -> None:
    """A document that a strict reader refuses, or that has another shape, is not taken for an empty page."""
    with pytest.raises(ProtocolError):
        read(body.encode())


def test_text_that_is_not_utf8_is_an_error() -> None:
    """Names are never replaced by question marks."""
    with pytest.raises(ProtocolError, match="UTF-8"):
        read(b'{"runs": ["\xff"]}')


@pytest.mark.parametrize("body", [b"{}", b'{"runs": null}', b'{"runs": []}', b'{"other": [1]}'])
def test_a_page_without_the_list_is_empty(body: bytes) -> None:
    """MLflow leaves empty lists out."""
    assert read(body) == ([], None)


def test_bare_nan_and_infinities_are_numbers() -> None:
    """MLflow's older servers write them so."""
    elements, _ = read(b'{"runs": [NaN, Infinity, -Infinity]}')

    assert math.isnan(elements[0])
    assert elements[1:] == [math.inf, -math.inf]


class TickingClock(SystemClock):
    """A clock on which each look costs a millisecond."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        """Return the time, which goes on."""
        self._now += 0.001
        return self._now


class Pages:
    """A sender that answers one page after the other."""

    def __init__(self, *bodies: object) -> None:
        self._bodies = iter(bodies)
        self.asked: list[str | None] = []

    async def send(self, call: Call, *, timeout: object = UNSET) -> bytes:
        """Return the next page, or fail with it."""
        self.asked.append(dict(call.query).get("page_token"))
        body = next(self._bodies)
        if isinstance(body, Exception):
            raise body
        return json.dumps(body).encode()


def results(sender: Any) -> Results[Any]:
    """Return the results that the sender has."""
    return Results(
        sender,
        TickingClock(),
        lambda token: Call("GET", "/runs", query=[("page_token", token)] if token else ()),
        "runs",
        lambda raw: raw,
        UNSET,
    )


@pytest.mark.anyio
async def test_pages_follow_each_other_to_the_end() -> None:
    """An empty page in between is not the end, and the last token is not asked for twice."""
    sender = Pages({"runs": [1, 2], "next_page_token": "a"}, {"next_page_token": "b"}, {"runs": [3]})

    assert [item async for item in results(sender)] == [1, 2, 3]
    assert sender.asked == [None, "a", "b"]


@pytest.mark.anyio
async def test_a_page_that_names_itself_as_the_next_one_is_an_error() -> None:
    """Some releases of the server do that; a loop without end would be worse."""
    sender = Pages({"next_page_token": "a"}, {"runs": [1], "next_page_token": "a"})

    with pytest.raises(ProtocolError, match="itself"):
        _ = [item async for item in results(sender)]


@pytest.mark.anyio
async def test_a_page_that_failed_is_asked_for_again() -> None:
    """An error ends nothing: the iteration goes on where it was."""
    iteration = results(Pages({"runs": [1], "next_page_token": "a"}, ProtocolError("cut"), {"runs": [2]}))

    assert await anext(iteration) == 1
    with pytest.raises(ProtocolError):
        await anext(iteration)
    assert [item async for item in iteration] == [2]


@pytest.mark.anyio
async def test_an_iteration_may_be_left_anywhere() -> None:
    """Nothing is asked for that is not used, and nothing has to be closed."""
    sender = Pages({"runs": [1, 2], "next_page_token": "a"})

    async for _ in results(sender):
        break

    assert sender.asked == [None]


@pytest.mark.anyio
async def test_other_tasks_go_on_while_a_long_page_is_read() -> None:
    """Of 3,000 wide runs, never more than 2 ms of reading are done in one go."""
    run = {"data": {"params": [{"key": f"p{number}", "value": "x"} for number in range(50)]}}
    iteration = results(Pages({"runs": [run] * 3000}))
    turns = 0
    ended = anyio.Event()

    async def other_task() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(other_task)
        count = sum([1 async for _ in iteration])
        ended.set()

    assert count == 3000
    assert turns >= 500
