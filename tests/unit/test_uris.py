"""Artifact URIs and model URIs: what they name, and which of them are refused."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


SEGMENT = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@given(st.lists(SEGMENT, min_size=1, max_size=4))
def test_a_proxied_path_survives_its_quoting(segments: list[str]) -> None:
    """Whatever characters a directory has, its URI names it."""
    path = "/".join(segments)

    assert parse_location("mlflow-artifacts:/" + quote(path), None) == ProxyLocation(path.strip("/"))
    assert parse_location("file:///" + quote(path), None) == FileLocation("/" + path)


@given(st.text(max_size=30))
def test_no_model_uri_fails_in_an_unknown_way(rest: str) -> None:
    """It is parsed, or refused as input."""
    for scheme in ("runs:", "models:"):
        try:
            parsed = parse_model_uri(scheme + rest)
        except InvalidInputError:
            continue
        assert parsed is not None


def test_a_look_alike_of_the_own_address_is_foreign() -> None:
    """A longer host name or port that begins with ours is not ours."""
    for uri in (
        "http://host:50001/api/2.0/mlflow-artifacts/artifacts/0",
        "http://host:5000/api/2.0/mlflow-artifacts/artifactsx/0",
        "mlflow-artifacts://host:5000.evil/0",
    ):
        assert isinstance(parse_location(uri, "http://host:5000"), ForeignLocation)


def test_a_windows_path_is_a_local_directory() -> None:
    """A drive letter is not a scheme."""
    assert parse_location("C:\\runs\\1", None) == FileLocation("C:\\runs\\1")
    assert parse_location("file:///C:/runs/1", None) == FileLocation("C:/runs/1")
