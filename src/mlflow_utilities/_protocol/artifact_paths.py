"""Which artifact paths may be sent to a server, and which may be taken from one."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from mlflow_utilities.errors import ArtifactError, InvalidInputError

__all__ = ["as_text", "check_received_name", "check_upload_path", "join_path", "quote_path"]

_RESERVED = ".artifact.uploading."
_LONGEST_NAME = 200  # bytes: servers put a prefix and a suffix around it in a file system that takes 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE = re.compile(r"[A-Za-z]:")


def join_path(*parts: str | None) -> str:
    """Return the non-empty parts joined with slashes."""
    return "/".join(part.strip("/") for part in parts if part and part.strip("/"))


def quote_path(path: str) -> str:
    """Return the path as it is written into a URL; slashes stay."""
    return quote(path, safe="/~")


def as_text(path: object) -> str:
    """Return a path on the server when it is text; a `Path` has the separators of this machine.

    Raises InvalidInputError otherwise.
    """
    if not isinstance(path, str):
        raise InvalidInputError(f"the artifact path {path!r} is not text", hint="write it with slashes, as str")
    return path


def check_upload_path(path: str) -> str:
    """Return `path`, relative and slash-separated, when every MLflow server stores it under exactly this name.

    Raises InvalidInputError otherwise: MLflow decodes percent signs repeatedly, strips control characters, and refuses
    '#', '..' and absolute paths.
    """
    reason = _refusal(as_text(path))
    if reason is not None:
        raise InvalidInputError(f"artifact path {path!r} {reason}")
    return path


def _refusal(path: str) -> str | None:
    if not path:
        return "is empty"
    if path.startswith("/") or _DRIVE.match(path):
        return "is absolute"
    if "\\" in path:
        return "contains a backslash; separate directories with '/'"
    if "#" in path:
        return "contains '#', which MLflow refuses"
    if _CONTROL.search(path):
        return "contains a control character, which MLflow would remove"
    if unquote(path) != path:
        return "contains a percent sequence, which MLflow would decode"
    return next((reason for segment in path.split("/") if (reason := _segment_refusal(segment))), None)


def _segment_refusal(segment: str) -> str | None:
    if segment in ("", ".", ".."):
        return "contains an empty, '.' or '..' segment"
    if segment.startswith(_RESERVED):
        return f"contains a name starting with {_RESERVED!r}, which MLflow reserves"
    try:
        length = len(segment.encode())
    except UnicodeEncodeError:
        return "cannot be written as UTF-8"
    return f"contains a name longer than {_LONGEST_NAME} bytes" if length > _LONGEST_NAME else None


def check_received_name(name: str) -> str:
    """Return a file name of a listing when it names exactly one entry of a directory.

    Raises ArtifactError for a name that could lead out of the destination.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ArtifactError(f"the server lists {name!r}, which is not a file name; nothing was written for it")
    return name
