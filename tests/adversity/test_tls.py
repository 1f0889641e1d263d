"""TLS: who is trusted, and that a certificate that does not fit is not tried again."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.errors import ConfigurationError, MlflowConnectionError
from support.clock import FakeClock
from support.stub_server import Answer, Received, StubServer, run_stub

pytestmark = pytest.mark.anyio


def version(received: Received) -> Answer:
    """Answer as GET /version does."""
    return Answer(body=b"3.17.2")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Make a certificate authority."""
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """Give the path of the authority's certificate."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    """Give the server's side."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def stub(context: ssl.SSLContext) -> Iterator[StubServer]:
    """Give a server that speaks TLS."""
    with run_stub(version, tls=context) as server:
        yield server


@pytest.fixture
def strict_stub(context: ssl.SSLContext, authority: trustme.CA) -> Iterator[StubServer]:
    """Give a server that wants a certificate of the client too."""
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    with run_stub(version, tls=context) as server:
        yield server


Connect = Callable[..., AsyncMlflowClient]


@pytest.fixture
def connect(http_library: str) -> Connect:
    """Give a function that makes a client whose environment is what the test says."""

    def connect(stub: StubServer, environ: dict[str, str] | None = None, **options: Any) -> AsyncMlflowClient:
        clock = FakeClock()
        return AsyncMlflowClient(stub.uri, environ=environ or {}, http_library=http_library, clock=clock, **options)

    return connect


async def test_a_bundle_is_trusted(stub: StubServer, connect: Connect, bundle: str) -> None:
    """`verify` may be the path of a file, as text or as a Path."""
    async with connect(stub, verify=bundle) as client, connect(stub, verify=Path(bundle)) as other:
        assert [await client.server_version(), await other.server_version()] == ["3.17.2"] * 2


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_a_bundle_of_the_environment_is_trusted(
    stub: StubServer, connect: Connect, bundle: str, name: str
) -> None:
    """The variables of MLflow's own client work."""
    async with connect(stub, {name: bundle}) as client:
        assert await client.server_version() == "3.17.2"


@pytest.mark.parametrize(
    ("environ", "options"),
    [({}, {"verify": False}), ({"MLFLOW_TRACKING_INSECURE_TLS": "true", "REQUESTS_CA_BUNDLE": "/none"}, {})],
    ids=["argument", "environment"],
)
async def test_verification_can_be_switched_off(
    stub: StubServer, connect: Connect, environ: dict[str, str], options: dict[str, Any]
) -> None:
    """For experiments."""
    async with connect(stub, environ, **options) as client:
        assert await client.server_version() == "3.17.2"


async def test_an_unknown_authority_is_refused_once(stub: StubServer, connect: Connect) -> None:
    """The error names the setting, and nothing is tried again or sent."""
    async with connect(stub) as client:
        with pytest.raises(MlflowConnectionError, match="MLFLOW_TRACKING_SERVER_CERT_PATH") as caught:
            await client.server_version()

    assert (caught.value.permanent, caught.value.sent) == (True, False)
    assert (stub.connections, stub.requests) == (1, [])


async def test_a_bundle_replaces_what_is_trusted_by_default(stub: StubServer, connect: Connect, tmp_path: Path) -> None:
    """Another authority's certificates do not help."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    async with connect(stub, verify=other) as client:
        with pytest.raises(MlflowConnectionError, match="no secure connection") as caught:
            await client.server_version()

    assert caught.value.permanent
    assert stub.connections == 1


async def test_a_certificate_for_another_host_is_refused(authority: trustme.CA, connect: Connect, bundle: str) -> None:
    """The name in the certificate counts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example.org").configure_cert(context)
    with run_stub(version, tls=context) as stub:
        async with connect(stub, verify=bundle) as client:
            with pytest.raises(MlflowConnectionError, match="no secure connection"):
                await client.server_version()
        assert stub.connections == 1


@pytest.mark.parametrize("by", ["argument", "environment"])
async def test_a_client_certificate_is_shown(
    strict_stub: StubServer, connect: Connect, authority: trustme.CA, bundle: str, tmp_path: Path, by: str
) -> None:
    """One PEM file holds the certificate and its key."""
    path = tmp_path / "client.pem"
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(path)
    environ = {"MLFLOW_TRACKING_CLIENT_CERT_PATH": str(path)} if by == "environment" else {}
    options = {"client_cert": path} if by == "argument" else {}
    async with connect(strict_stub, environ, verify=bundle, **options) as client:
        assert await client.server_version() == "3.17.2"


@contextlib.contextmanager
def alerting_server(context: ssl.SSLContext) -> Iterator[tuple[StubServer, list[object]]]:
    """Give a server that refuses handshakes with OpenSSL's own alert, and the connections it saw."""
    accepted: list[object] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, address = listener.accept()
                accepted.append(address)
                with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as connection:
                    with contextlib.suppress(ssl.SSLError):
                        connection.do_handshake()
                    # Closing with something unread would reset the connection before the alert is read.
                    while socket.socket.recv(connection, 65536):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield StubServer(uri=f"https://localhost:{listener.getsockname()[1]}"), accepted
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
async def test_a_missing_client_certificate_is_refused_once(
    context: ssl.SSLContext, authority: trustme.CA, connect: Connect, bundle: str, newest: ssl.TLSVersion
) -> None:
    """The server's refusal is final, although with TLS 1.3 it arrives only after the request was sent."""
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = newest
    authority.configure_trust(context)
    with alerting_server(context) as (server, accepted):
        async with connect(server, verify=bundle) as client:
            with pytest.raises(MlflowConnectionError, match="client_cert") as caught:
                await client.server_version()

    assert (caught.value.permanent, caught.value.sent) == (True, False)
    assert len(accepted) == 1


async def test_https_to_a_plain_server_is_refused_once(connect: Connect) -> None:
    """The wrong scheme in the tracking URI is not a passing fault."""
    with run_stub() as stub:
        stub.hello = Answer(400, b"Invalid HTTP request received.", then="close")
        stub.uri = stub.uri.replace("http:", "https:")
        async with connect(stub, verify=False) as client:
            with pytest.raises(MlflowConnectionError) as caught:
                await client.server_version()
        assert (caught.value.sent, stub.connections) == (False, 1)


@pytest.mark.parametrize("setting", ["verify", "client_cert"])
@pytest.mark.parametrize("content", [None, "no PEM"], ids=["missing", "broken"])
def test_certificates_that_cannot_be_read_are_refused_at_once(
    http_library: str, tmp_path: Path, setting: str, content: str | None
) -> None:
    """The constructor says which file it is."""
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    options: dict[str, Any] = {setting: path}

    with pytest.raises(ConfigurationError, match=r"file\.pem"):
        AsyncMlflowClient("https://localhost", environ={}, http_library=http_library, **options)


def test_an_encrypted_key_is_refused_without_asking(http_library: str, authority: trustme.CA, tmp_path: Path) -> None:
    """The library would ask the terminal for the password."""
    from cryptography.hazmat.primitives import serialization

    leaf = authority.issue_cert("client@example.org")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pw-pw")
    )
    path = tmp_path / "client.pem"
    path.write_bytes(encrypted + leaf.cert_chain_pems[0].bytes())

    with pytest.raises(ConfigurationError, match="must not be encrypted"):
        AsyncMlflowClient("https://localhost", environ={}, http_library=http_library, client_cert=path)
