"""`cache`: what is listed, what goes, and that models in use stay."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_utilities.cli.cleaning import age, age_of, bytes_of, size, to_prune
from mlflow_utilities.models.cache_directory import CacheDirectory
from mlflow_utilities.models.cache_values import Claim, Kept, Lease
from support.command_line import CommandLine

OLD, NEW = "a" * 64, "b" * 64
DAY = 86400.0


@pytest.fixture
def directory(tmp_path: Path) -> CacheDirectory:
    """Give a cache with a model used ten days ago and one used now, 13 bytes each."""
    os.environ["MLFLOW_UTILITIES_CACHE_DIR"] = str(tmp_path)
    cache = CacheDirectory(tmp_path)
    for key, days in ((OLD, 10), (NEW, 0)):
        claim = cache.attempt(key, check_digests=False)
        assert isinstance(claim, Claim)
        with claim:
            files = cache.begin(claim)
            (files / "MLmodel").write_text("flavors: {}\n")
            (files / "a").write_text("a")
            about = {"uri": f"models:/m-{key[0]}", "location": "mlflow-artifacts:/1", "server": "http://s"}
            cache.install(claim, files, about)
        moment = time.time() - days * DAY
        os.utime(tmp_path / "models" / key / "manifest.json", (moment, moment))
    return cache


@pytest.fixture
def in_use(directory: CacheDirectory) -> Callable[[str], Lease]:
    """Give a function that uses a model until its lease is released, without counting as a use."""

    def use(key: str) -> Lease:
        manifest = directory._models / key / "manifest.json"
        before = manifest.stat().st_mtime
        lease = directory.attempt(key, check_digests=False)
        assert isinstance(lease, Lease)
        os.utime(manifest, (before, before))
        return lease

    return use


def keys(directory: CacheDirectory) -> set[str]:
    """Return what is kept."""
    return {item.key for item in directory.contents()}


def test_the_list_says_what_is_kept_and_what_is_in_use(
    command_line: CommandLine, directory: CacheDirectory, in_use: Callable[[str], Lease], tmp_path: Path
) -> None:
    """Used last first, as a table and as JSON."""
    lease = in_use(OLD)

    table, listed = command_line("cache", "list"), command_line("cache", "list", "--json").json

    lease.release()
    assert [line.split()[0] for line in table.out.splitlines()] == ["MODEL", "models:/m-b", "models:/m-a"]
    assert "10 d ago" in table.out
    assert [(item["state"], item["size"], item["files"]) for item in listed] == [("idle", 13, 2), ("in use", 13, 2)]
    assert listed[0]["path"] == str(tmp_path / "models" / NEW / "files")


def test_size_and_path(command_line: CommandLine, directory: CacheDirectory, tmp_path: Path) -> None:
    """Bytes of all models, and where they are; another directory may be named."""
    assert command_line("cache", "size").out.startswith("26 B in 2 models; ")
    assert command_line("cache", "size", "--json").json["size"] == 26
    assert command_line("cache", "path").out == f"{tmp_path}\n"
    other = tmp_path / "other"
    assert command_line("cache", "--cache-dir", str(other), "path", "--json").json == {"path": str(other)}
    assert command_line("cache", "--cache-dir", str(other), "list").err == f"no models in {other}\n"
    assert not other.exists()


def test_an_empty_directory_is_not_this_one(command_line: CommandLine) -> None:
    """A variable of a script that is not set must not clear `./models`."""
    ended = command_line("cache", "--cache-dir", "", "clear", "--yes")

    assert (ended.code, ended.out) == (2, "")
    assert "it is empty" in ended.err


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--older-than", "9d"], {NEW}),
        (["--older-than", "11d"], {OLD, NEW}),
        (["--max-bytes", "13"], {NEW}),
        (["--max-bytes", "0"], set()),
        (["--older-than", "9d", "--dry-run"], {OLD, NEW}),
    ],
)
def test_prune_removes_what_is_old_or_too_much(
    command_line: CommandLine, directory: CacheDirectory, options: list[str], left: set[str]
) -> None:
    """Used least recently first; a dry run removes nothing."""
    ended = command_line("cache", "prune", *options, "--yes")

    assert ended.code == 0
    assert keys(directory) == left


@pytest.mark.parametrize("subcommand", [["clear"], ["prune", "--older-than", "1d"]])
def test_models_in_use_stay(
    command_line: CommandLine, directory: CacheDirectory, in_use: Callable[[str], Lease], subcommand: list[str]
) -> None:
    """Whoever holds a lease keeps the files; the output counts them."""
    lease = in_use(OLD)

    ended = command_line("cache", *subcommand, "--yes")

    assert OLD in keys(directory)
    assert "1 in use" in ended.out
    assert directory.is_intact(OLD)
    lease.release()


def test_nothing_is_removed_without_a_yes(command_line: CommandLine, directory: CacheDirectory) -> None:
    """Without a terminal to ask on, the command is refused, with what would go."""
    ended = command_line("cache", "clear")

    assert ended.code == 9
    assert "this removes models" in ended.err
    assert "models:/m-a" in ended.err
    assert keys(directory) == {OLD, NEW}


def test_clear_removes_what_downloads_left(
    command_line: CommandLine, directory: CacheDirectory, tmp_path: Path
) -> None:
    """A process that died during a download leaves files that nobody needs."""
    (tmp_path / "partial" / f"{OLD}-1").mkdir(parents=True)

    removed = command_line("cache", "clear", "--yes", "--json").json

    assert {item["model_uri"] for item in removed["removed"]} == {"models:/m-a", "models:/m-b"}
    assert list((tmp_path / "partial").iterdir()) == []
    assert keys(directory) == set()


def test_prune_wants_to_know_what_goes(command_line: CommandLine, directory: CacheDirectory) -> None:
    """A command that would do nothing is a mistake of its user; so are sizes and ages that are none."""
    for options in ([], ["--older-than", "soon"], ["--max-bytes", "much"]):
        assert command_line("cache", "prune", *options).code == 2
    assert keys(directory) == {OLD, NEW}


def test_verify_finds_a_changed_byte(command_line: CommandLine, directory: CacheDirectory, tmp_path: Path) -> None:
    """Of the same size too; with --remove it goes, so that it is downloaded again."""
    assert command_line("cache", "verify").code == 0
    (tmp_path / "models" / OLD / "files" / "a").write_text("b")

    found, as_json = command_line("cache", "verify"), command_line("cache", "verify", "--json")

    assert (found.code, as_json.code) == (1, 1)
    assert "models:/m-a" in found.out
    assert "1 of 2 models are intact" in found.out
    assert [item["model_uri"] for item in as_json.json["damaged"]] == ["models:/m-a"]
    assert command_line("cache", "verify", "--remove").code == 1
    assert keys(directory) == {NEW}
    assert command_line("cache", "verify").code == 0


def kept(key: str, used: float, size: int = 10, *, complete: bool = True) -> Kept:
    """Return a model of the cache."""
    return Kept(key, size, 1, used, complete, "", "", "")


def test_pruning_passes_over_what_is_in_use_and_takes_what_is_damaged() -> None:
    """The bytes of models in use count, although they stay."""
    found = [kept("a", 1), kept("b", 2), kept("c", 3), kept("d", 4, complete=False)]

    assert [item.key for item in to_prune(found, {"a"}, 5, None, 20)] == ["b", "c", "d"]
    assert [item.key for item in to_prune(found, {"a"}, 5, 3.5, None)] == ["d"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10GB", 10**10), ("1.5 MiB", 3 * 2**19), ("7", 7), ("3k", 3000), ("GB", None), ("-1", None), ("1XB", None)],
)
def test_sizes_are_read(text: str, expected: int | None) -> None:
    """Decimal and binary units, with or without the B."""
    assert bytes_of(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("2w", 14 * DAY), ("1.5h", 5400), ("9", None), ("d", None)])
def test_ages_are_read(text: str, expected: float | None) -> None:
    """An age has a unit."""
    assert age_of(text) == expected


def test_sizes_and_ages_are_written_for_people() -> None:
    """With the unit that fits."""
    assert [size(count) for count in (999, 1000, 1_234_567, 10**14)] == ["999 B", "1.0 kB", "1.2 MB", "100.0 TB"]
    assert [age(seconds) for seconds in (5, 61, 7200, 3 * DAY)] == ["just now", "1 min ago", "2 h ago", "3 d ago"]
