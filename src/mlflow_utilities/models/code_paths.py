"""The code saved along with models (`code_paths`): a process holds one module of a name, so clashes are refused."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import all_suffixes
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from mlflow_utilities.errors import ModelError
from mlflow_utilities.models.mlmodel import inside

__all__ = ["CodeClaim", "CodePaths", "ModuleClashError", "code_paths"]

_NEVER_IMPORTED = frozenset({"__init__", "__main__", "__pycache__"})
_HINT = (
    "rename the package, install it as a distribution instead of saving it as code_paths, or load with the policy "
    '"resource_preserving", which unloads the other model first'
)


class ModuleClashError(ModelError):
    """A model brings other modules of the same names; `other` is the URI of the loaded model that has them, if one."""

    def __init__(self, message: str, other: str | None = None) -> None:
        super().__init__(message, hint=_HINT)
        self.other = other


@dataclass(slots=True, eq=False)
class CodeClaim:
    """The right of a loaded model to the modules saved along with it; none for most models."""

    uri: str
    folders: tuple[str, ...]
    modules: Mapping[str, Path]
    _owner: CodePaths = field(repr=False)
    _released: bool = False

    def release(self) -> None:
        """Give the modules up once the model is destroyed; may be called twice, and from any thread or finaliser.

        The model's folder leaves sys.path, and modules that no other model holds leave sys.modules, so that another
        version of them can be loaded.
        """
        if not self._released:
            self._released = True
            self._owner.release(self)


@dataclass(slots=True)
class _Held:
    """A top-level module, the digest of its files, the claims on it, and whether the application imported it first."""

    digest: str
    foreign: bool
    claims: list[CodeClaim] = field(default_factory=list[CodeClaim])


class CodePaths:
    """Which loaded model holds which top-level modules. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._folders: dict[str, int] = {}
        self._released: deque[CodeClaim] = deque()

    def claim(self, directory: Path, flavors: Mapping[str, Mapping[str, Any]], uri: str) -> CodeClaim:
        """Claim the modules in the `code` folders that these flavors of the model in `directory` name.

        Call it before anything of the model is loaded. Models with the same files of a module share it. A folder
        counts as a package whether or not it has an `__init__`, with all files in it but `__pycache__`.

        Raises:
            ModelError: a module has the name, but not the content, of one of another loaded model or of one that the
                application has imported; nothing is claimed then.
            ArtifactError: a folder lies outside the model.

        """
        folders = _folders(directory, flavors)
        modules = {name: path for folder in folders for name, path in _modules(Path(folder))}
        digests = {name: _digest(path) for name, path in modules.items()}
        with self._lock:
            self._settle()
            for name, path in modules.items():
                self._check(name, path, digests[name], uri)
            claim = CodeClaim(uri, folders, modules, self)
            for name, digest in digests.items():
                held = self._held.setdefault(name, _Held(digest, name in sys.modules))
                held.claims.append(claim)
            on_path = {os.path.realpath(entry) for entry in sys.path if entry}
            for folder in folders:
                if folder in self._folders or folder not in on_path:
                    self._folders[folder] = self._folders.get(folder, 0) + 1
        return claim

    def release(self, claim: CodeClaim) -> None:
        """Give up what was claimed; see `CodeClaim.release`."""
        self._released.append(claim)
        # A finaliser may run while this very thread holds the lock; the next claim settles it then.
        if self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def forked(self) -> None:
        """Let a child process go on, whose parent may have had another thread in here; the claims are kept."""
        self._lock = threading.Lock()

    def folders(self) -> frozenset[str]:
        """Return the folders that are on sys.path for the sake of loaded models."""
        with self._lock:
            return frozenset(self._folders)

    def _check(self, name: str, path: Path, digest: str, uri: str) -> None:
        held = self._held.get(name)
        if held is not None and not held.foreign:
            if held.digest != digest:
                other = held.claims[0].uri
                raise ModuleClashError(f"{uri} brings another module {name!r} than {other}, which is loaded", other)
        elif (module := sys.modules.get(name)) is not None and not _has_all_files(module, path):
            where = getattr(module, "__file__", None) or "built in"
            raise ModuleClashError(f"{uri} brings another module {name!r} than the application has ({where})")

    def _settle(self) -> None:
        while self._released:
            claim = self._released.popleft()
            for folder in claim.folders:
                self._leave(folder)
            for name in claim.modules:
                held = self._held[name]
                held.claims.remove(claim)
                if not held.claims:
                    del self._held[name]
                if held.foreign:
                    continue
                if held.claims:
                    _relocate(name, claim.modules[name], held.claims[0].modules[name])
                else:
                    _purge(name)

    def _leave(self, folder: str) -> None:
        if folder not in self._folders:
            return
        self._folders[folder] -= 1
        if not self._folders[folder]:
            del self._folders[folder]
            sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != folder]
            for entry in [entry for entry in sys.path_importer_cache if os.path.realpath(entry) == folder]:
                sys.path_importer_cache.pop(entry, None)
            importlib.invalidate_caches()


code_paths = CodePaths()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=code_paths.forked)


def _folders(directory: Path, flavors: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    named = [settings.get("code") for settings in flavors.values()]
    found = dict.fromkeys(str(inside(directory, code)) for code in named if code)
    return tuple(folder for folder in found if os.path.isdir(folder))


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what can be imported from the folder: its name and where it is."""
    for path in sorted(folder.iterdir()):
        name = path.name if path.is_dir() else _module_name(path.name)
        if name and name.isidentifier() and name not in _NEVER_IMPORTED:
            yield name, path


def _module_name(file: str) -> str | None:
    suffixes = sorted(all_suffixes(), key=len, reverse=True)
    return next((file.removesuffix(suffix) for suffix in suffixes if file.endswith(suffix)), None)


def _files(path: Path) -> dict[str, str]:
    """Return the sha256 of each file of a module, by its path relative to the module."""
    if path.is_file():
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    found: dict[str, str] = {}
    for parent, directories, files in os.walk(path):
        directories[:] = [name for name in directories if name != "__pycache__"]
        for file in (Path(parent, name) for name in files):
            found[file.relative_to(path).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def _digest(path: Path) -> str:
    return hashlib.sha256(repr((path.is_file(), sorted(_files(path).items()))).encode()).hexdigest()


def _has_all_files(module: ModuleType, path: Path) -> bool:
    """Return whether what the application has imported has each file of the module at `path`, with its content."""
    wanted = _files(path)
    return any(wanted.items() <= _files(place).items() for place in _places(module, path.is_file()))


def _places(module: ModuleType, single: bool) -> list[Path]:
    if single:
        file = getattr(module, "__file__", None)
        return [Path(file)] if file and not hasattr(module, "__path__") else []
    return [Path(entry) for entry in getattr(module, "__path__", ()) if os.path.isdir(entry)]


def _ours(name: str) -> list[str]:
    return [module for module in list(sys.modules) if module == name or module.startswith(f"{name}.")]


def _purge(name: str) -> None:
    for module in _ours(name):
        sys.modules.pop(module, None)


def _relocate(name: str, old: Path, new: Path) -> None:
    """Let modules find their files where a model that is left has them; those of the other may be removed."""
    for module in [sys.modules[module] for module in _ours(name)]:
        if isinstance(file := getattr(module, "__file__", None), str):
            module.__file__ = _moved(file, old, new)
        if isinstance(entries := getattr(module, "__path__", None), list):
            entries[:] = [_moved(entry, old, new) for entry in cast("list[str]", entries)]


def _moved(path: str, old: Path, new: Path) -> str:
    real = Path(os.path.realpath(path))
    return str(new / real.relative_to(old)) if real.is_relative_to(old) else path
