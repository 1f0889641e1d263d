"""What an installation consists of: the package and everything that it requires, as this environment has it."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from benchmarks.contenders import MLFLOW, ROOT, SKINNY

Found = dict[str, float]
PACKAGES = {MLFLOW: "mlflow", SKINNY: "mlflow-skinny"}
NAME = re.compile(r"[A-Za-z0-9._-]+")


def installed(contender: str, uri: str, times: int) -> Found:
    """Return how many packages an installation has, and the bytes of their files without compiled ones."""
    found: dict[str, importlib.metadata.Distribution] = {}
    _collect(PACKAGES.get(contender, "mlflow-utilities"), found)
    return {"packages": float(len(found)), "bytes": float(sum(_bytes(package) for package in found.values()))}


def _collect(name: str, found: dict[str, importlib.metadata.Distribution]) -> None:
    """Add a package and what it requires here, extras apart."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return
    try:
        package = importlib.metadata.distribution(key)
    except importlib.metadata.PackageNotFoundError:  # for another platform
        return
    found[key] = package
    for line in package.requires or ():
        requirement, _, marker = line.partition(";")
        match = NAME.match(requirement)
        if match and "extra" not in marker:
            _collect(match[0], found)


def _bytes(package: importlib.metadata.Distribution) -> int:
    """Return the size of a package's files; those of this one are in the source folder."""
    files = [Path(str(package.locate_file(file))) for file in package.files or ()]
    if package.metadata["Name"] == "mlflow-utilities":
        files += (ROOT / "src" / "mlflow_utilities").rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file() and path.suffix != ".pyc")
