"""Artifact paths and URIs: what is sent, what is refused, what is trusted."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities._protocol.artifact_paths import check_received_name, check_upload_path, quote_path
from mlflow_utilities._protocol.uris import (
    FileLocation,
    ForeignLocation,
    Location,
    LoggedModelUri,
    ModelUri,
    ModelVersionUri,
    ProxyLocation,
    RunUri,
    join_uri,
    parse_location,
    parse_model_uri,
)
from mlflow_utilities.errors import ArtifactError, InvalidInputError


@pytest.mark.parametrize("path", ["a", "a/b.txt", "100%", "50% off?.txt", "ü/語 x", "a+b&c=d;e", "..a/b..", "~x"])
def test_a_name_the_server_keeps_is_accepted(path: str) -> None:
    """Spaces, question marks, lone percent signs and non-ASCII letters survive."""
    assert check_upload_path(path) == path
    assert unquote(quote_path(path)) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a//b",
        "a/",
        ".",
        "..",
        "a/../b",
        "a/./b",
        "a\\b",
        "C:/x",
        "c:x",
        "a#b",
        "a%20b",
        "%2e%2e/x",
        "a%2525",
        "a\nb",
        "a\x00b",
        "a\x7fb",
        "d/.artifact.uploading.x",
        "x" * 201,
        "\udcff",
    ],
)
def test_a_name_the_server_changes_or_refuses_is_refused(path: str) -> None:
    """It raises before anything is sent."""
    with pytest.raises(InvalidInputError):
        check_upload_path(path)


@given(st.text(max_size=40))
def test_an_accepted_path_stays_the_same_when_decoded_again(path: str) -> None:
    """However often the server decodes percent sequences, the name is the one that was asked for."""
    try:
        check_upload_path(path)
    except InvalidInputError:
        return
    assert unquote(path) == path == unquote(unquote(quote_path(path)))
    assert ".." not in path.split("/")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "a\0"])
def test_a_listed_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """A listing names entries of one directory only."""
    with pytest.raises(ArtifactError):
        check_received_name(name)


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("mlflow-artifacts:/0/r/artifacts", ProxyLocation("0/r/artifacts")),
        ("mlflow-artifacts:///0/r", ProxyLocation("0/r")),
        ("mlflow-artifacts://host:5000/0/r", ProxyLocation("0/r")),
        ("mlflow-artifacts:/my%20dir/r", ProxyLocation("my dir/r")),
        ("http://host:5000/api/2.0/mlflow-artifacts/artifacts/0/r", ProxyLocation("0/r")),
        ("file:///tmp/a%20b", FileLocation("/tmp/a b")),
        ("file://localhost/tmp/a", FileLocation("/tmp/a")),
        ("/tmp/a", FileLocation("/tmp/a")),
        ("./mlruns/1", FileLocation("./mlruns/1")),
    ],
)
def test_a_location_is_recognised(uri: str, location: Location) -> None:
    """Proxied and local locations are told apart by their URI."""
    assert parse_location(uri, "http://host:5000") == location


@pytest.mark.parametrize(
    "uri",
    ["mlflow-artifacts://other/0/r", "http://other/api/2.0/mlflow-artifacts/artifacts/0", "s3://bucket/x", "gs://b/x"],
)
def test_another_host_is_foreign(uri: str) -> None:
    """Credentials for one server are never sent to another."""
    assert isinstance(parse_location(uri, "http://host:5000"), ForeignLocation)


def test_files_of_another_machine_are_refused() -> None:
    """A file: URI with a host cannot be opened here."""
    with pytest.raises(ArtifactError, match="machine nas"):
        parse_location("file://nas/x", None)


@pytest.mark.parametrize(
    ("uri", "parsed"),
    [
        ("runs:/r/model/x", RunUri("r", "model/x")),
        ("runs:/r", RunUri("r", "")),
        ("models:/m-1", LoggedModelUri("m-1")),
        ("models:/n/3", ModelVersionUri("n", version="3")),
        ("models:/n@live", ModelVersionUri("n", alias="live")),
        ("s3://b/x", None),
    ],
)
def test_a_model_uri_is_recognised(uri: str, parsed: ModelUri | None) -> None:
    """Every form MLflow knows is told apart."""
    assert parse_model_uri(uri) == parsed


@pytest.mark.parametrize("uri", ["runs:/", "models:", "models://host/n/1", "models:/n/1/x", "models:/@a", "models:/n@"])
def test_a_malformed_model_uri_is_refused(uri: str) -> None:
    """It raises instead of being taken for a location."""
    with pytest.raises(InvalidInputError):
        parse_model_uri(uri)


def test_a_path_is_joined_before_the_query() -> None:
    """A root with a query keeps it at its end."""
    assert join_uri("s3://b/x?v=1", "m/y") == "s3://b/x/m/y?v=1"
    assert join_uri("mlflow-artifacts:/", "m") == "mlflow-artifacts:/m"
