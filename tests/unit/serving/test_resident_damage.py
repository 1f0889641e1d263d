"""Files that arrive damaged, or become so: the old models stay, one more download, then a pause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from mlflow_utilities.serving.residents import LoadFailedError, Residents
from support.artifact_memory import ArtifactMemory
from support.clock import FakeClock
from support.served_models import FLAVORS, Failing, Thing, pickled, running

pytestmark = pytest.mark.anyio

DAMAGES: dict[str, Callable[[bytes], bytes | httpx.Response]] = {
    "a byte flipped": lambda content: bytes([content[0] ^ 0x40]) + content[1:],
    "the tail cut": lambda content: content[:-9],
    "one byte cut": lambda content: content[:-1],
    "empty with 200": lambda content: b"",
    "an error page with 200": lambda content: b"<html>busy</html>".ljust(len(content))[: len(content)],
    "cut by the connection": lambda content: httpx.Response(
        200, headers={"content-length": str(len(content))}, stream=Cut(content[:10])
    ),
}


class Cut(httpx.AsyncByteStream):
    """A body whose connection breaks."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self):
        """Give the beginning."""
        yield self._content
        raise httpx.ReadError("cut by the test")


class Damage:
    """Spoils files, so often."""

    def __init__(self, name: str, file: str, times: int) -> None:
        self.left = times
        self._spoil = DAMAGES[name]
        self._file = file

    def __call__(self, path: str, content: bytes) -> bytes | httpx.Response:
        """Spoil one of the files."""
        if not path.endswith(self._file) or not path.startswith("new") or self.left == 0:
            return content
        self.left -= 1
        return self._spoil(content)


async def serving_old(residents: Residents, server: ArtifactMemory) -> None:
    """Load and keep a model that is fine."""
    await residents.ensure([server.add("old", FLAVORS, pickled(Thing("old")))])
    residents.keep(["old"])


def check_old(residents: Residents) -> None:
    """Check that it serves."""
    assert residents.get("old").hold().loaded.label == "old"


@pytest.mark.parametrize("file", ["MLmodel", "model.pkl"])
@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "cut by the connection"])
async def test_a_file_damaged_on_its_way_is_downloaded_once_more(tmp_path: Path, damage: str, file: str) -> None:
    """Whether its size says so, or only that it cannot be loaded; nobody hears of it."""
    server, clock = ArtifactMemory(), FakeClock()
    async with running(server.client(clock), cache_dir=tmp_path) as residents:
        await serving_old(residents, server)
        server.spoil = Damage(damage, file, 1)
        wanted = server.add("new", FLAVORS, pickled(Thing("new")))
        assert (await residents.ensure([wanted]))["new"].hold().loaded.label == "new"
        assert (server.asked[f"new/{file}"], dict(residents.failures)) == (2, {})
        check_old(residents)


@pytest.mark.parametrize("file", ["MLmodel", "model.pkl"])
@pytest.mark.parametrize("damage", list(DAMAGES))
async def test_a_file_that_stays_damaged_is_not_asked_for_all_the_time(tmp_path: Path, damage: str, file: str) -> None:
    """Two downloads, then a pause in which nothing is asked; the old model serves, and nothing partial is left."""
    server, clock = ArtifactMemory(), FakeClock()
    async with running(server.client(clock), cache_dir=tmp_path) as residents:
        await serving_old(residents, server)
        server.spoil = Damage(damage, file, -1)
        wanted = server.add("new", FLAVORS, pickled(Thing("new")))
        with pytest.raises(LoadFailedError):
            await residents.ensure([wanted])
        asked = server.asked[f"new/{file}"]
        for _ in range(3):
            with pytest.raises(LoadFailedError):
                await residents.ensure([wanted])
        assert asked <= 2
        assert server.asked[f"new/{file}"] == asked
        assert set(residents.failures) == {"new"}
        assert residents.bytes_loaded == residents.get("old").bytes
        assert list((tmp_path / "partial").iterdir()) == []
        check_old(residents)
        clock.advance(60)
        with pytest.raises(LoadFailedError):
            await residents.ensure([wanted])
        assert server.asked[f"new/{file}"] <= asked + 2


@pytest.mark.parametrize("damage", ["a byte flipped", "the tail cut"])
async def test_damage_in_the_cache_is_found_when_the_model_cannot_be_loaded(tmp_path: Path, damage: str) -> None:
    """The files are downloaded again."""
    server, clock = ArtifactMemory(), FakeClock()
    wanted = server.add("new", FLAVORS, pickled(Thing("new")))
    async with running(server.client(clock), cache_dir=tmp_path) as residents:
        directory = (await residents.ensure([wanted]))["new"].directory
    spoilt = DAMAGES[damage]((directory / "model.pkl").read_bytes())
    assert isinstance(spoilt, bytes)
    (directory / "model.pkl").write_bytes(spoilt)
    async with running(server.client(clock), cache_dir=tmp_path) as residents:
        assert (await residents.ensure([wanted]))["new"].hold().loaded.label == "new"
    assert server.asked["new/model.pkl"] == 2


async def test_a_byte_that_loading_does_not_notice_is_found_by_digests(tmp_path: Path) -> None:
    """When they are to be checked before each load."""
    server, clock = ArtifactMemory(), FakeClock()
    wanted = server.add("new", FLAVORS, pickled(Thing("new")))
    async with running(server.client(clock), cache_dir=tmp_path) as residents:
        directory = (await residents.ensure([wanted]))["new"].directory
    content = (directory / "model.pkl").read_bytes()
    (directory / "model.pkl").write_bytes(content.replace(b"new", b"old"))
    async with running(server.client(clock), cache_dir=tmp_path, check_digests=True) as residents:
        assert (await residents.ensure([wanted]))["new"].hold().loaded.label == "new"


async def test_a_model_at_fault_itself_is_downloaded_twice_and_never_again(tmp_path: Path) -> None:
    """Not when its pause is over, nor by another process: the second download showed that the files are right."""
    server, clock = ArtifactMemory(), FakeClock()
    wanted = server.add("new", FLAVORS, pickled(Failing()))
    for _ in range(2):
        async with running(server.client(clock), cache_dir=tmp_path) as residents:
            for _ in range(3):
                with pytest.raises(LoadFailedError, match="made to fail"):
                    await residents.ensure([wanted])
                clock.advance(3600)
    assert server.asked["new/model.pkl"] == 2


async def test_a_restart_without_the_server_loads_from_the_cache(tmp_path: Path) -> None:
    """By the location that the resident named before: no request at all."""
    server, clock = ArtifactMemory(), FakeClock()
    wanted = server.add("new", FLAVORS, pickled(Thing("new")))
    async with running(server.client(clock), cache_dir=tmp_path, memory_budget=10_000) as residents:
        location = (await residents.ensure([wanted]))["new"].location
    server.asked.clear()
    again = type(wanted)("new", "runs:/new/model", location)
    async with running(server.client(clock), cache_dir=tmp_path, memory_budget=10_000) as residents:
        assert (await residents.ensure([again], jitter=True))["new"].hold().loaded.label == "new"
    assert (server.asked.total(), clock.slept) == (0, [])


async def test_the_files_of_a_model_are_not_evicted_while_it_is_in_memory(tmp_path: Path) -> None:
    """And may be once it is destroyed."""
    server, clock = ArtifactMemory(), FakeClock()
    runs = [server.add(run, FLAVORS, pickled(Thing(run))) for run in ("a", "b", "c")]
    async with running(server.client(clock), cache_dir=tmp_path, max_bytes=0) as residents:
        found = await residents.ensure(runs[:2])
        residents.keep(["a", "b"])
        directories = [found[run].directory for run in ("a", "b")]
        assert all(directory.exists() for directory in directories)
    async with running(server.client(clock), cache_dir=tmp_path, max_bytes=0) as residents:
        await residents.ensure(runs[2:])
        assert not any(directory.exists() for directory in directories)
