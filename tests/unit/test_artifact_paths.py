"""Artifact paths: what is sent, what is refused, what is trusted."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_utilities._protocol.artifact_paths import as_text, check_received_name, check_upload_path, quote_path
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


@pytest.mark.parametrize("path", [Path("a/b"), b"a", 7])
def test_a_path_on_the_server_is_text(path: object) -> None:
    """A Path would be written with the separators of this machine."""
    with pytest.raises(InvalidInputError, match=r"is not text.*slashes"):
        as_text(path)
    with pytest.raises(InvalidInputError, match="is not text"):
        check_upload_path(path)  # type: ignore[arg-type]
