"""The cache of model files on disk: what lies where, and what counts as complete. Everything here blocks.

models/<key>/manifest.json, models/<key>/files/   a complete model: it appears by one rename
partial/<key>-<random>/                           a download under way, or what is left of one
locks/<key>                                       shared by those who use a model, exclusive for its downloader
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlflow_utilities.errors import ArtifactError, ModelError
from mlflow_utilities.models.cache_values import Claim, DamagedInUse, Kept, Lease, Manifest
from mlflow_utilities.models.locks import try_lock
from mlflow_utilities.stores.files import os_errors

__all__ = ["CacheDirectory", "Claim", "DamagedInUse", "Kept", "Lease", "Manifest"]

_FORMAT = 1
_MANIFEST = "manifest.json"
_EVICTING = "evicting"
_KEY = re.compile(r"[0-9a-f]{64}")  # what has another name was put there by others, and is theirs


class CacheDirectory:
    """Models below `root`, each under a key."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._models = root / "models"
        self._partial = root / "partial"

    def _lock_path(self, key: str) -> Path:
        return self._root / "locks" / key

    def attempt(self, key: str, check_digests: bool) -> Lease | Claim | DamagedInUse | None:
        """Return the model if it is complete, else the right to download it, else None: somebody is at it.

        Raises ArtifactError when it is not there and the directory cannot be written.
        """
        wanted = self._is_complete(key, digests=False)
        try:
            lock = try_lock(self._lock_path(key), shared=wanted)
        except OSError as error:
            if self._is_complete(key, check_digests):  # a cache that is only read is never evicted by us
                return Lease(self._files(key), None)
            raise ArtifactError(
                f"cannot write the model cache {self._root}: {error}",
                hint="give another cache_dir, or set MLFLOW_UTILITIES_CACHE_DIR",
            ) from error
        if lock is None:
            return DamagedInUse() if not wanted and self._is_used(key) else None
        if self._is_complete(key, check_digests):
            if not wanted:
                lock.release()
                return None
            with suppress(OSError):
                os.utime(self._models / key / _MANIFEST)
            return Lease(self._files(key), lock)
        if not wanted:
            return Claim(key, lock)
        lock.release()
        return self.claim(key) or DamagedInUse()

    def _is_used(self, key: str) -> bool:
        """Return whether what lies there, damaged, has users: whoever downloads it excludes them."""
        lock = try_lock(self._lock_path(key), shared=True) if (self._models / key).exists() else None
        if lock is not None:
            lock.release()
        return lock is not None

    def claim(self, key: str) -> Claim | None:
        """Return the right to download a model, whether it is there or not; None while others use or download it.

        Raises OSError when the directory cannot be written.
        """
        lock = try_lock(self._lock_path(key))
        return None if lock is None else Claim(key, lock)

    def is_intact(self, key: str) -> bool:
        """Return whether a model is complete and every file has the sha256 it had after the download."""
        return self._is_complete(key, digests=True)

    def describe(self, key: str) -> Manifest | None:
        """Return what is known of a model, None when it is not there or not complete."""
        manifest = self._manifest(key)
        if manifest is None or not self._is_complete(key, digests=False):
            return None
        size = sum(item["size"] for item in manifest["files"])
        return Manifest(size, str(manifest.get("location", "")), manifest.get("renewed") is True)

    def _files(self, key: str) -> Path:
        return self._models / key / "files"

    def _manifest(self, key: str) -> Mapping[str, Any] | None:
        try:
            manifest = json.loads((self._models / key / _MANIFEST).read_bytes())
        except (OSError, ValueError):
            return None
        return manifest if isinstance(manifest, dict) and manifest.get("format") == _FORMAT else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]

    def _is_complete(self, key: str, digests: bool) -> bool:
        manifest = self._manifest(key)
        if manifest is None:
            return False
        files = self._files(key)
        try:
            return all(
                (files / item["path"]).stat().st_size == item["size"]
                and (not digests or _digest(files / item["path"]) == item["sha256"])
                for item in manifest["files"]
            )
        except (OSError, KeyError, TypeError):
            return False

    def begin(self, claim: Claim) -> Path:
        """Return an empty directory to download into; whatever is left of earlier downloads goes."""
        with os_errors(f"write the model cache {self._root}"):
            self._partial.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._clean(claim.key)
            if (self._models / claim.key).exists():  # damaged, or it would not have been claimed
                self._throw_away(claim.key)
            partial = self._partial / f"{claim.key}-{secrets.token_hex(8)}"
            (partial / "files").mkdir(parents=True, mode=0o700)
        return partial / "files"

    def clean(self) -> int:
        """Remove what is left of downloads that ended early; return how many there were.

        Raises OSError when the directory cannot be written.
        """
        return self._clean(None) if self._partial.exists() else 0

    def _clean(self, mine: str | None) -> int:
        removed = 0
        for leftover in list(self._partial.iterdir()):
            key = leftover.name.partition("-")[0]
            if not _KEY.fullmatch(key):
                continue
            lock = None if key == mine else try_lock(self._lock_path(key))
            if key == mine or lock is not None:
                shutil.rmtree(leftover, ignore_errors=True)
                removed += 1
            if lock is not None:
                lock.release()
        return removed

    def _throw_away(self, key: str) -> None:
        self._partial.mkdir(parents=True, exist_ok=True, mode=0o700)
        grave = self._partial / f"{key}-{secrets.token_hex(8)}"
        os.replace(self._models / key, grave)
        shutil.rmtree(grave, ignore_errors=True)

    def give_up(self, files: Path) -> None:
        """Remove a download that failed."""
        shutil.rmtree(files.parent, ignore_errors=True)

    def install(self, claim: Claim, files: Path, about: Mapping[str, str | bool]) -> None:
        """Make a finished download the model of its key: its manifest is written last, then it is renamed.

        Raises ModelError when the files are not a model, ArtifactError when the disk fails.
        """
        if not (files / "MLmodel").is_file():
            raise ModelError(f"there is no MLmodel file at {about['uri']}")
        with os_errors(f"write the model cache {self._root}"):
            listed = [
                {"path": file.relative_to(files).as_posix(), "size": file.stat().st_size, "sha256": _digest(file)}
                for file in _walk(files)
            ]
            manifest = {"format": _FORMAT, **about, "files": listed}
            (files.parent / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
            for path in (*_walk(files.parent), *(path for path in files.rglob("*") if path.is_dir()), files.parent):
                _sync(path)
            self._models.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.replace(files.parent, self._models / claim.key)
            _sync(self._models)

    def evict(self, max_bytes: int, keep: str) -> None:
        """Remove the models used least recently until `max_bytes` are left; never `keep` nor one that is in use."""
        with suppress(OSError):
            turn = try_lock(self._lock_path(_EVICTING))
            if turn is not None:
                try:
                    self._evict(max_bytes, keep)
                finally:
                    turn.release()

    def _evict(self, max_bytes: int, keep: str) -> None:
        found = sorted(self.contents(), key=lambda item: item.used)
        total = sum(item.size for item in found)
        for item in found:
            if total <= max_bytes:
                return
            with suppress(OSError):
                if item.key != keep and self.remove(item.key):
                    total -= item.size

    def remove(self, key: str) -> bool:
        """Remove a model, whole or damaged; False when it stays because it is in use, or being downloaded.

        Raises OSError when the directory cannot be written.
        """
        lock = try_lock(self._lock_path(key))
        if lock is None:
            return False
        try:
            self._throw_away(key)
        finally:
            lock.release()
        return True

    def is_in_use(self, key: str) -> bool:
        """Return whether somebody holds a lease on a model, or downloads it; False where that cannot be asked."""
        try:
            lock = try_lock(self._lock_path(key))
        except OSError:
            return False
        if lock is not None:
            lock.release()
        return lock is None

    def contents(self) -> Iterator[Kept]:
        """Yield what lies in the cache; a manifest that cannot be read has no size, and was never used.

        Raises OSError when there is a directory that cannot be listed.
        """
        for entry in self._models.iterdir() if self._models.exists() else ():
            if not _KEY.fullmatch(entry.name):
                continue
            manifest = self._manifest(entry.name) or {}
            about = {name: str(manifest.get(name, "")) for name in ("uri", "location", "server")}
            try:
                sizes = [int(item["size"]) for item in manifest["files"]]
                used = (entry / _MANIFEST).stat().st_mtime
            except (OSError, KeyError, TypeError, ValueError):
                sizes, used = [], 0.0
            yield Kept(entry.name, sum(sizes), len(sizes), used, self._is_complete(entry.name, digests=False), **about)


def _walk(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Make sure that the disk has it; where directories cannot be opened (Windows), that cannot be asked for."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
