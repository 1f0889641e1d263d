"""Requests: built of parts made once, and yet what the library would have made of the whole address."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest

from mlflow_utilities._transport.requests import RequestBuilder
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.typing import Call, Timeout

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2])
CALLS = [
    Call("GET", "/api/2.0/mlflow/runs/get", query=(("run_id", "a b/ü&=?#%+~"), ("run_id", ""))),
    Call("POST", "/api/2.0/mlflow/runs/search", body={"filter": ""}),
    Call("GET", "/api/2.0/mlflow-artifacts/artifacts/a%20b/c%2Fd/[x]{y}|z"),
    Call("GET", "/version"),
    Call("GET", "/a?b", query=(("c", "d"),)),
    Call("PUT", "/artifact", headers=(("Content-Length", "3"), ("X-Other", "1"))),
]


def build(library: Any, base: str, call: Call, authorization: bytes | None = None) -> Any:
    """Return the request that a fresh builder makes the second time."""
    builder = RequestBuilder(library, base, "tests", None)
    content = b"{}" if call.body is not None else None
    builder.build(call, authorization, Timeout(), content)
    return builder.build(call, authorization, Timeout(), content)


@LIBRARIES
@pytest.mark.parametrize("base", ["http://127.0.0.1:5000", "https://user.example/prefix", "http://[::1]:5000"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.path)
def test_the_address_is_what_the_library_reads_in_the_text(library: Any, base: str, call: Call) -> None:
    """Whatever is asked of it: transports ask for its raw parts, test doubles for anything."""
    found = build(library, base, call).url
    query = library.QueryParams(list(call.query))
    text = base + call.path
    wanted = library.URL(f"{text}?{query}" if call.query else text)
    if "?" in call.path:
        wanted = library.URL(f"{text}?c=d")
    for name in ("raw_scheme", "raw_host", "port", "host", "scheme", "path", "netloc"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert library.QueryParams(found.query) == library.QueryParams(wanted.query)
    assert library.URL(str(found)).raw_path == found.raw_path
    assert found == library.URL(str(found))
    assert found.copy_with(host="other").host == "other"


@LIBRARIES
def test_a_url_has_no_attributes_that_the_library_does_not_know(library: Any) -> None:
    """What it learns by parsing is what the library's own URLs have."""
    with pytest.raises(AttributeError, match="other"):
        _ = build(library, "http://host", CALLS[0]).url.other


@LIBRARIES
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.path)
def test_headers_that_are_remembered_are_those_of_the_call(library: Any, call: Call) -> None:
    """Credentials and the type of the body are sent with the calls that have them, each header once."""
    headers = build(library, "http://host:1", call, b"Bearer abc").headers
    assert headers["authorization"] == "Bearer abc"
    assert headers["host"] == "host:1"
    assert ("content-type" in headers) == (call.body is not None)
    assert len(headers.raw) == len({name for name, _ in headers.raw})


@LIBRARIES
def test_a_request_does_not_change_the_headers_of_the_next(library: Any) -> None:
    """What one request adds to its headers stays with it."""
    builder = RequestBuilder(library, "http://host", "tests", None)
    first = builder.build(CALLS[3], None, Timeout(), None)
    first.headers["x-mine"] = "1"
    assert "x-mine" not in builder.build(CALLS[3], None, Timeout(), None).headers


def test_half_a_character_is_refused() -> None:
    """What a shell passes on, and is in no encoding, is no text that can be sent."""
    with pytest.raises(InvalidInputError, match="half of a character"):
        build(httpx, "http://host", Call("GET", "/a", query=(("name", "\udcff"),)))
