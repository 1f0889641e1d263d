"""Artifacts when something fails: no partial files, nothing outside the destination, nothing sent half-checked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mlflow_utilities.errors import (
    ArtifactError,
    InvalidInputError,
    MlflowConnectionError,
    NotFoundError,
    ProtocolError,
    ServerError,
)
from mlflow_utilities.stores.base import Entry
from mlflow_utilities.stores.files import opened, write_whole
from mlflow_utilities.stores.local import LocalStore
from mlflow_utilities.stores.proxy import ProxyStore, listed_entries
from mlflow_utilities.stores.transfer import download, upload_directory
from mlflow_utilities.stores.workers import for_each
from mlflow_utilities.typing import Call, Safety

pytestmark = pytest.mark.anyio


class Pieces:
    """A body that hands out pieces, then fails if told to."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self._pieces = iter(pieces)
        self._error = error

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration


class Stalled(Pieces):
    """A body that says when it is waited for, and never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = anyio.Event()

    async def __anext__(self) -> bytes:
        self.reached.set()
        await anyio.sleep_forever()
        raise AssertionError


class Recorder:
    """A store that remembers what was put, and lists what it is told."""

    def __init__(self, entries: list[Entry] | None = None) -> None:
        self.put_paths: list[str] = []
        self.listing = entries or []

    async def entries(self, path: str) -> list[Entry]:
        """Return the listing."""
        return self.listing

    async def read(self, path: str) -> bytes:
        """Return nothing."""
        return b""

    async def fetch(self, path: str, destination: Path, size: int | None) -> None:
        """Write three bytes."""
        await write_whole(destination, Pieces(b"abc"), size)

    async def put(self, path: str, content: Callable[[], AsyncIterator[bytes]], size: int) -> None:
        """Remember the path."""
        self.put_paths.append(path)


async def test_a_short_file_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """Fewer bytes than announced are not a file."""
    with pytest.raises(ArtifactError, match="10 bytes"):
        await write_whole(tmp_path / "x", Pieces(b"abc"), 10)
    assert list(tmp_path.iterdir()) == []


async def test_a_cut_connection_keeps_its_error_and_leaves_nothing(tmp_path: Path) -> None:
    """The transport's error comes through unchanged; an older file stays."""
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(MlflowConnectionError):
        await write_whole(tmp_path / "x", Pieces(b"a" * (2 << 20), error=MlflowConnectionError("cut")), None)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x", b"old")]


async def test_a_cancelled_download_leaves_nothing(tmp_path: Path) -> None:
    """The temporary file goes with the task."""
    body = Stalled()
    async with anyio.create_task_group() as group:
        group.start_soon(write_whole, tmp_path / "x", body, None)
        await body.reached.wait()
        assert len(list(tmp_path.iterdir())) == 1
        group.cancel_scope.cancel()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../evil", "..\\evil"])
async def test_a_listing_cannot_lead_out_of_the_destination(tmp_path: Path, name: str) -> None:
    """Neither a bare name nor a whole path of a listing is trusted."""
    for relative in (True, False):
        with pytest.raises(ArtifactError):
            listed_entries({"files": [{"path": name, "file_size": 3}]}, "", relative=relative)
    with pytest.raises(ArtifactError):
        await download(Recorder([Entry("../evil", is_dir=False, size=3)]), "", tmp_path / "here")
    assert list(tmp_path.iterdir()) == []


async def test_directories_without_end_are_given_up(tmp_path: Path) -> None:
    """A listing that contains itself ends with an error."""
    with pytest.raises(ArtifactError, match="levels"):
        await download(Recorder([Entry("d", is_dir=True, size=None)]), "", tmp_path)


async def test_one_bad_name_stops_a_directory_before_anything_is_sent(tmp_path: Path) -> None:
    """All names are checked first."""
    for name in ("a", "b#c", "d"):
        (tmp_path / name).write_text("x")
    store = Recorder()
    with pytest.raises(InvalidInputError, match="#"):
        await upload_directory(store, tmp_path, "")
    assert store.put_paths == []


async def test_a_link_out_of_the_directory_is_refused_and_one_inside_followed(tmp_path: Path) -> None:
    """Nothing outside the named directory is uploaded."""
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "real").write_text("x")
    (folder / "inner").symlink_to("real")
    store = Recorder()
    await upload_directory(store, folder, "")
    assert sorted(store.put_paths) == ["inner", "real"]
    (tmp_path / "secret").write_text("s")
    (folder / "outer").symlink_to("../secret")
    with pytest.raises(InvalidInputError, match="leads out"):
        await upload_directory(store, folder, "")


async def test_the_mlmodel_file_is_uploaded_last(tmp_path: Path) -> None:
    """A model uploaded half-way cannot be loaded."""
    for name in ("MLmodel", "a", "z"):
        (tmp_path / name).write_text("x")
    store = Recorder()
    await upload_directory(store, tmp_path, "m")
    assert store.put_paths[-1] == "m/MLmodel"


async def test_a_file_that_grows_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    """Its announced size would not be the truth."""
    file = tmp_path / "x"
    file.write_bytes(b"a")
    async with opened(file) as (content, size):
        file.write_bytes(b"abc")
        with pytest.raises(ArtifactError, match="changed"):
            _ = [piece async for piece in content()]
    assert size == 1


async def test_the_first_failure_is_raised_as_it_is() -> None:
    """No exception group reaches the caller, and the other work ends."""
    started: list[int] = []

    async def work(number: int) -> None:
        started.append(number)
        if number == 3:
            raise ArtifactError("three")
        await anyio.sleep_forever()

    with pytest.raises(ArtifactError, match="three"):
        await for_each(range(100), work)
    assert len(started) <= 16


async def test_a_local_store_keeps_bytes_and_lists_one_level(tmp_path: Path) -> None:
    """What was put is listed, read and downloaded."""
    (tmp_path / "src" / "d").mkdir(parents=True)
    (tmp_path / "src" / "d" / "x.bin").write_bytes(b"abc" * 1_000_000)
    store = LocalStore(tmp_path / "root")
    await upload_directory(store, tmp_path / "src", "")
    assert await store.entries("d") == [Entry("d/x.bin", is_dir=False, size=3_000_000)]
    assert (await download(store, "d", tmp_path / "out")).joinpath("x.bin").read_bytes() == b"abc" * 1_000_000
    with pytest.raises(ArtifactError):
        await download(store, "missing", tmp_path / "out")


class Script:
    """A sender that answers with what it was given, one after the other."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self._answers = iter(answers)
        self.safeties: list[Safety] = []

    async def send(self, call: Call, **options: object) -> bytes:
        """Return or raise the next answer."""
        self.safeties.append(call.safety)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


MISSING = ServerError("[Errno 2] No such file or directory: '/x'", status=500, error_code="INTERNAL_ERROR")
BUSY = ServerError("database is locked", status=500, error_code="INTERNAL_ERROR")


async def test_a_missing_file_is_said_at_once_also_by_old_servers() -> None:
    """Servers 2.x call it an internal error, which would be repeated for seconds."""
    sender = Script(MISSING)

    with pytest.raises(NotFoundError, match="/x"):
        await ProxyStore(sender, "root").read("x")  # type: ignore[arg-type]

    assert sender.safeties == [Safety.CREATE]


@pytest.mark.parametrize("failure", [BUSY, MlflowConnectionError("cut")], ids=["busy", "cut"])
async def test_another_failure_of_the_first_try_is_repeated_as_a_read(failure: Exception) -> None:
    """As often as the retry policy allows."""
    sender = Script(failure, b"x")

    assert await ProxyStore(sender, "root").read("x") == b"x"  # type: ignore[arg-type]
    assert sender.safeties == [Safety.CREATE, Safety.READ]


async def test_a_server_that_cannot_be_reached_is_not_tried_twice_as_long() -> None:
    """The transport has repeated that already."""
    sender = Script(MlflowConnectionError("refused", sent=False))

    with pytest.raises(MlflowConnectionError):
        await ProxyStore(sender, "root").read("x")  # type: ignore[arg-type]


@pytest.mark.parametrize("item", [None, "a", {}, {"is_dir": True}, ["path"]], ids=repr)
async def test_a_listing_of_another_shape_is_a_protocol_error(item: object) -> None:
    """It is neither guessed at nor left out."""
    with pytest.raises(ProtocolError, match="listing"):
        listed_entries({"files": [item]}, "d", relative=True)


async def test_sixteen_files_move_at_a_time_and_no_more() -> None:
    """A directory of thousands of files opens neither thousands of files nor of connections."""
    moving = 0
    moved = 0
    go_on = anyio.Event()

    async def move(number: int) -> None:
        nonlocal moving, moved
        moving += 1
        assert moving <= 16
        await go_on.wait()
        await anyio.lowlevel.checkpoint()
        moving -= 1
        moved += 1

    async with anyio.create_task_group() as group:
        group.start_soon(for_each, range(100), move)
        await anyio.wait_all_tasks_blocked()
        at_once = moving
        go_on.set()

    assert (at_once, moved) == (16, 100)
