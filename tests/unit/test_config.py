"""Settings: arguments first, then MLflow's environment variables, then the credentials file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mlflow_utilities import Timeout
from mlflow_utilities._transport.library import load_library
from mlflow_utilities.config import as_timeout, proxy_for, read_settings
from mlflow_utilities.errors import ConfigurationError, InvalidInputError, MissingDependencyError
from mlflow_utilities.retry import RetryPolicy

URI = "http://mlflow.test"
BASIC = {"MLFLOW_TRACKING_USERNAME": "eva", "MLFLOW_TRACKING_PASSWORD": "env-password"}


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Give an environment whose home directory has a credentials file."""
    folder = tmp_path / ".mlflow"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = fred\nmlflow_tracking_password = file%password\n"
    )
    return {"HOME": str(tmp_path)}


@pytest.fixture
def empty(tmp_path: Path) -> dict[str, str]:
    """Give an environment without credentials."""
    return {"HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("given", "uri"),
    [
        ("http://host", "http://host"),
        (" http://host:5000/ ", "http://host:5000"),
        ("https://Host/pre/fix/", "https://host/pre/fix"),
        ("http://ana:pw@host:5000", "http://host:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_the_tracking_uri_is_put_right(empty: dict[str, str], given: str, uri: str) -> None:
    """From the argument or from MLFLOW_TRACKING_URI; a path prefix is kept."""
    assert read_settings(empty, tracking_uri=given).tracking_uri == uri
    assert read_settings({**empty, "MLFLOW_TRACKING_URI": given}).tracking_uri == uri


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (None, "no tracking URI"),
        ("", "no tracking URI"),
        ("sqlite:///mlflow.db", "only http"),
        ("databricks", "only http"),
        ("http://", "only http"),
        ("http://ho st", "only http"),
        ("http://host:port", "only http"),
        ("http://host?x=1", "a query or a fragment"),
        ("http://host#x", "a query or a fragment"),
    ],
)
def test_what_is_no_server_is_refused(empty: dict[str, str], given: str | None, match: str) -> None:
    """The error says what to give instead."""
    with pytest.raises(ConfigurationError, match=match):
        read_settings(empty, tracking_uri=given)


@pytest.mark.parametrize(
    ("arguments", "environ", "credentials"),
    [
        ({"username": "a", "password": "b"}, BASIC, ("a", "b", None)),
        ({"token": "t"}, BASIC, (None, None, "t")),
        ({"tracking_uri": "http://u%40x:p%2F@host"}, BASIC, ("u@x", "p/", None)),
        ({"tracking_uri": "http://u@host"}, {}, ("u", "", None)),
        ({"tracking_uri": "http://u:p@host", "token": "t"}, {}, (None, None, "t")),
        ({"tracking_uri": "http://u:p@host", "username": "a", "password": "b"}, {}, ("a", "b", None)),
        ({}, {**BASIC, "MLFLOW_TRACKING_TOKEN": "t"}, ("eva", "env-password", None)),
        ({}, {"MLFLOW_TRACKING_TOKEN": "t"}, ("fred", "file%password", None)),
        ({}, {"MLFLOW_TRACKING_USERNAME": "eva"}, ("eva", "file%password", None)),
        ({}, {}, ("fred", "file%password", None)),
    ],
    ids=range(10),
)
def test_credentials_have_mlflows_precedence(
    home: dict[str, str], arguments: dict[str, Any], environ: dict[str, str], credentials: tuple[Any, ...]
) -> None:
    """Arguments, the URI, the environment's user, the file's user; the token comes last."""
    settings = read_settings({**home, **environ}, **{"tracking_uri": URI, **arguments})
    assert (settings.username, settings.password, settings.token) == credentials


def test_a_token_of_the_environment_is_used_when_there_is_no_user(empty: dict[str, str]) -> None:
    """Half a pair of user and password does not count."""
    environ = {**empty, "MLFLOW_TRACKING_TOKEN": "t", "MLFLOW_TRACKING_USERNAME": "eva"}
    assert read_settings(environ, tracking_uri=URI).token == "t"


@pytest.mark.parametrize("content", ["no section", "[mlflow\n", "\xff\xfe"], ids=range(3))
def test_a_credentials_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    """Rather than connecting as nobody."""
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(content, encoding="latin-1")
    with pytest.raises(ConfigurationError, match="credentials"):
        read_settings({"HOME": str(tmp_path)}, tracking_uri=URI)


def test_a_credentials_file_of_others_is_left_alone(tmp_path: Path) -> None:
    """A file without the section [mlflow] says nothing."""
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text("[other]\nx = 1\n")
    assert read_settings({"USERPROFILE": str(tmp_path)}, tracking_uri=URI).username is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"username": "a"}, "without password"),
        ({"password": "b"}, "without username"),
        ({"username": "a", "password": "b", "token": "t"}, "both username and token"),
        ({"token": ""}, "the token is empty"),
        ({"token": b"t"}, "or a bytes"),
        ({"workspace": "a\nb"}, "the workspace is"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"max_retries": 21}, "from 0 to 20"),
        ({"max_retries": 1.5}, "max_retries is 1.5"),
        ({"max_retries": True}, "max_retries is True"),
        ({"timeout": 0}, "the timeout is 0"),
        ({"timeout": -1.5}, "the timeout is -1.5"),
        ({"timeout": float("nan")}, "the timeout is nan"),
        ({"timeout": float("inf")}, "the timeout is inf"),
        ({"timeout": True}, "the timeout is True"),
        ({"timeout": "5"}, "the timeout is '5'"),
        ({"timeout": Timeout(read=-1)}, "the read timeout is -1"),
        ({"timeout": Timeout(total=False)}, "the total timeout is False"),
    ],
    ids=range(18),
)
def test_arguments_that_cannot_work_are_refused(empty: dict[str, str], arguments: dict[str, Any], match: str) -> None:
    """The error names the argument and its value."""
    with pytest.raises(ConfigurationError, match=match):
        read_settings(empty, **{"tracking_uri": URI, **arguments})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "many"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "-1"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1.5"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "100"),
        ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "nan"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "0"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "-5"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "inf"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "soon"),
        ("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", "maybe"),
        ("MLFLOW_TRACKING_INSECURE_TLS", "yes"),
        ("MLFLOW_TRACKING_AWS_SIGV4", "true"),
        ("MLFLOW_TRACKING_AUTH", "kubernetes"),
        ("MLFLOW_REGISTRY_URI", "http://other"),
        ("MLFLOW_REGISTRY_URI", "databricks-uc"),
    ],
)
def test_variables_that_cannot_work_are_refused(empty: dict[str, str], name: str, value: str) -> None:
    """The error names the variable."""
    with pytest.raises(ConfigurationError, match=name):
        read_settings({**empty, name: value}, tracking_uri=URI)


def test_a_registry_at_the_same_server_is_fine(empty: dict[str, str]) -> None:
    """However it is written."""
    for registry in ("", URI, "http://ana:pw@MLFLOW.test/"):
        assert read_settings({**empty, "MLFLOW_REGISTRY_URI": registry}, tracking_uri=URI).tracking_uri == URI


def test_authentication_plugins_do_not_matter_to_explicit_credentials(empty: dict[str, str]) -> None:
    """Arguments come first."""
    environ = {**empty, "MLFLOW_TRACKING_AUTH": "kubernetes", "MLFLOW_TRACKING_AWS_SIGV4": "false"}
    assert read_settings(environ, tracking_uri=URI, token="t").token == "t"


def test_time_limits_and_retries_come_from_the_environment(empty: dict[str, str]) -> None:
    """A longer limit for one answer makes the whole call longer too."""
    environ = {
        **empty,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1.5",
        "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "False",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "600",
        "MLFLOW_WORKSPACE": "team-a",
    }
    settings = read_settings(environ, tracking_uri=URI)

    assert settings.retry == RetryPolicy(3, 1.5, 30.0, respect_retry_after=False)
    assert settings.timeout == Timeout(10.0, 600.0, 600.0, 60.0, 600.0)
    assert settings.workspace == "team-a"
    overridden = read_settings(environ, tracking_uri=URI, max_retries=0, timeout=5, workspace="team-b")
    assert (overridden.retry.max_retries, overridden.timeout.total, overridden.workspace) == (0, 5.0, "team-b")
    assert read_settings({**empty, "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}, tracking_uri=URI).timeout.total == 120.0


@pytest.mark.parametrize(
    ("timeout", "limits"),
    [
        (5, Timeout(5.0, 5.0, 5.0, 5.0, 5.0)),
        (300.0, Timeout(10.0, 300.0, 300.0, 300.0, 300.0)),
        (None, Timeout(10.0, None, None, None, None)),
        (Timeout(read=1), Timeout(read=1)),
    ],
)
def test_a_time_limit_is_for_the_whole_call(timeout: Any, limits: Timeout) -> None:
    """A number bounds the call and all its parts; None lifts every limit but the one for connecting."""
    assert as_timeout(timeout, Timeout()) == limits


def test_a_time_limit_of_a_call_that_cannot_work_is_bad_input() -> None:
    """It is an argument of the call, not a setting."""
    with pytest.raises(InvalidInputError, match="the timeout is -1"):
        as_timeout(-1, Timeout())


@pytest.mark.parametrize(
    ("environ", "verify"),
    [
        ({}, True),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "true"}, False),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "1", "REQUESTS_CA_BUNDLE": "b"}, False),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "false"}, True),
        ({"MLFLOW_TRACKING_SERVER_CERT_PATH": "a", "REQUESTS_CA_BUNDLE": "b"}, "a"),
        ({"REQUESTS_CA_BUNDLE": "b", "CURL_CA_BUNDLE": "c"}, "b"),
        ({"CURL_CA_BUNDLE": "c"}, "c"),
    ],
)
def test_verification_comes_from_the_environment(
    empty: dict[str, str], environ: dict[str, str], verify: bool | str
) -> None:
    """MLflow's variables before those of requests and curl; an argument before all."""
    assert read_settings({**empty, **environ}, tracking_uri=URI).verify == verify
    assert read_settings({**empty, **environ}, tracking_uri=URI, verify="/x").verify == "/x"


def test_contradicting_tls_variables_are_refused(empty: dict[str, str]) -> None:
    """As MLflow does."""
    environ = {**empty, "MLFLOW_TRACKING_INSECURE_TLS": "true", "MLFLOW_TRACKING_SERVER_CERT_PATH": "a"}
    with pytest.raises(ConfigurationError, match="contradict"):
        read_settings(environ, tracking_uri=URI)


@pytest.mark.parametrize(
    ("uri", "environ", "proxy"),
    [
        ("http://host", {}, None),
        ("http://host", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://host", {"http_proxy": "p:1"}, "http://p:1"),
        ("https://host", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://host", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://host", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("http://host", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "*"}, None),
        ("http://host:5000", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "other, host"}, None),
        ("http://a.host", {"HTTP_PROXY": "http://p:1", "NO_PROXY": ".host"}, None),
        ("http://a.host:1", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "host:1"}, None),
        ("http://ahost", {"HTTP_PROXY": "http://p:1", "NO_PROXY": "host"}, "http://p:1"),
        ("http://host", {"HTTP_PROXY": "http://p:1", "NO_PROXY": " , "}, "http://p:1"),
    ],
)
def test_proxies_come_from_the_environment(uri: str, environ: dict[str, str], proxy: str | None) -> None:
    """By the scheme of the server; NO_PROXY lists hosts and domains."""
    assert proxy_for(uri, environ) == proxy


def test_httpx2_is_preferred_when_it_is_installed() -> None:
    """Else httpx; a name chooses."""
    assert load_library(None).__name__ == "httpx2"
    assert load_library("httpx").__name__ == "httpx"


def test_httpx_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httpx2, httpx is used, and asking for httpx2 says how to get it."""
    monkeypatch.setitem(sys.modules, "httpx2", None)

    assert load_library(None).__name__ == "httpx"
    with pytest.raises(MissingDependencyError, match=r"mlflow-utilities\[httpx2\]"):
        load_library("httpx2")
