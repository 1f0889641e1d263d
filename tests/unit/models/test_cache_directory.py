"""What lies where in the cache, and who may touch it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlflow_utilities import ConfigurationError
from mlflow_utilities.models.cache import default_cache_dir
from mlflow_utilities.models.cache_directory import CacheDirectory, Claim, DamagedInUse, Lease
from mlflow_utilities.models.locks import try_lock

KEY, OTHER = "a" * 64, "b" * 64
ABOUT = {"server": "http://s", "uri": "models:/m-1", "location": "mlflow-artifacts:/1"}


@pytest.fixture
def cache(tmp_path: Path) -> CacheDirectory:
    """Give an empty cache."""
    return CacheDirectory(tmp_path)


def put(cache: CacheDirectory, key: str = KEY) -> None:
    """Put a model of 13 bytes into the cache."""
    with claimed(cache, key) as claim:
        files = cache.begin(claim)
        (files / "MLmodel").write_text("flavors: {}\n")
        (files / "deep").mkdir()
        (files / "deep" / "a").write_text("a")
        cache.install(claim, files, ABOUT)


def claimed(cache: CacheDirectory, key: str = KEY) -> Claim:
    """Claim the download of a model."""
    claim = cache.attempt(key, check_digests=False)
    assert isinstance(claim, Claim)
    return claim


def leased(cache: CacheDirectory, key: str = KEY) -> Lease:
    """Get a model that is there."""
    lease = cache.attempt(key, check_digests=False)
    assert isinstance(lease, Lease)
    return lease


def test_one_downloads_while_the_others_wait(cache: CacheDirectory) -> None:
    """Whoever asks first; afterwards everybody may use the model at once."""
    with claimed(cache):
        assert cache.attempt(KEY, check_digests=False) is None
        with claimed(cache, OTHER):
            pass
    put(cache)
    first, second = leased(cache), leased(cache)
    assert first.path == second.path
    assert (first.path / "deep" / "a").read_text() == "a"


def test_the_manifest_says_what_and_from_where(cache: CacheDirectory, tmp_path: Path) -> None:
    """With size and sha256 of each file."""
    put(cache)
    manifest = json.loads((tmp_path / "models" / KEY / "manifest.json").read_text())
    assert ABOUT.items() <= manifest.items()
    assert [(file["path"], file["size"]) for file in manifest["files"]] == [("MLmodel", 12), ("deep/a", 1)]
    assert manifest["files"][1]["sha256"] == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


def test_directories_are_for_their_owner_alone(cache: CacheDirectory, tmp_path: Path) -> None:
    """Who can write there can run code in whoever loads a model."""
    put(cache)
    for directory in (tmp_path / "models", tmp_path / "models" / KEY / "files", tmp_path / "locks"):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_model_in_use_is_not_claimed_even_when_it_is_damaged(cache: CacheDirectory) -> None:
    """Its files stay until nobody uses them any more; who wants it learns why it has to wait."""
    put(cache)
    lease = leased(cache)
    (lease.path / "deep" / "a").write_text("b")
    assert isinstance(cache.attempt(KEY, check_digests=True), DamagedInUse)
    (lease.path / "deep" / "a").write_text("longer")
    assert isinstance(cache.attempt(KEY, check_digests=False), DamagedInUse)
    lease.release()
    with claimed(cache):
        pass


def test_what_is_left_of_a_download_goes_unless_it_is_under_way(cache: CacheDirectory, tmp_path: Path) -> None:
    """Whoever downloads holds its lock."""
    abandoned, under_way = claimed(cache), claimed(cache, OTHER)
    left, written = cache.begin(abandoned), cache.begin(under_way)
    assert left.exists()
    abandoned.lock.release()
    third = "c" * 64
    put(cache, third)
    assert not left.exists()
    assert written.exists()
    under_way.lock.release()
    put(cache, OTHER)
    assert list((tmp_path / "partial").iterdir()) == []


@pytest.mark.parametrize(
    "manifest", ["[]", '{"format": 2, "files": []}', '{"format": 1}', '{"format": 1, "files": [1]}']
)
def test_a_manifest_of_another_kind_counts_as_none(cache: CacheDirectory, tmp_path: Path, manifest: str) -> None:
    """The model is downloaded again."""
    put(cache)
    (tmp_path / "models" / KEY / "manifest.json").write_text(manifest)
    with claimed(cache):
        pass


def test_eviction_passes_over_what_is_in_use_and_what_is_not_a_model(cache: CacheDirectory, tmp_path: Path) -> None:
    """One process at a time removes."""
    put(cache)
    put(cache, OTHER)
    (tmp_path / "models" / ("d" * 64)).mkdir()
    lease = leased(cache)
    turn = try_lock(tmp_path / "locks" / "evicting")
    assert turn is not None
    cache.evict(0, keep="")
    assert len(list((tmp_path / "models").iterdir())) == 3
    turn.release()
    cache.evict(13, keep="")
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == [KEY]
    lease.release()


def test_eviction_of_nothing_does_nothing(cache: CacheDirectory) -> None:
    """Also when there is no cache yet."""
    cache.evict(0, keep=KEY)


def test_a_lock_is_shared_or_exclusive_and_freed_once(tmp_path: Path) -> None:
    """Also within one process."""
    path = tmp_path / "deep" / "lock"
    first, second = try_lock(path, shared=True), try_lock(path, shared=True)
    assert first is not None
    assert second is not None
    assert try_lock(path) is None
    first.release()
    first.release()
    assert try_lock(path) is None
    second.release()
    alone = try_lock(path)
    assert alone is not None
    assert try_lock(path, shared=True) is None


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({"MLFLOW_UTILITIES_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x"}, "linux", "/c"),
        ({"XDG_CACHE_HOME": "/x"}, "linux", "/x/mlflow-utilities"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", "~/.cache/mlflow-utilities"),
        ({}, "linux", "~/.cache/mlflow-utilities"),
        ({}, "darwin", "~/Library/Caches/mlflow-utilities"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/mlflow-utilities/Cache"),
    ],
)
def test_the_cache_lies_in_the_cache_directory_of_the_user(
    environ: dict[str, str], platform: str, expected: str
) -> None:
    """As each system has it, unless the variable of this package says otherwise."""
    assert default_cache_dir(environ, platform) == Path(expected).expanduser()


def test_without_a_home_directory_the_cache_must_be_named(clean_environ: None) -> None:
    """A place that everybody can write to is not taken instead."""
    os.environ["HOME"] = "nowhere"
    with pytest.raises(ConfigurationError, match="MLFLOW_UTILITIES_CACHE_DIR"):
        default_cache_dir({}, "linux")


def test_the_contents_say_what_is_kept_and_what_of_it_is_in_use(cache: CacheDirectory, tmp_path: Path) -> None:
    """Also what is damaged is listed, so that it can be removed."""
    put(cache)
    (tmp_path / "models" / OTHER).mkdir()
    (tmp_path / "models" / OTHER / "manifest.json").write_text('{"format": 1, "files": [{}]}')
    lease = leased(cache)

    kept = {item.key: item for item in cache.contents()}

    assert (kept[KEY].size, kept[KEY].files, kept[KEY].complete, kept[KEY].uri) == (13, 2, True, ABOUT["uri"])
    assert (kept[OTHER].size, kept[OTHER].used, kept[OTHER].complete) == (0, 0.0, False)
    assert cache.is_in_use(KEY)
    assert not cache.is_in_use(OTHER)
    lease.release()
    assert not cache.is_in_use(KEY)


def test_a_model_in_use_is_not_removed(cache: CacheDirectory, tmp_path: Path) -> None:
    """It is once its lease is released."""
    put(cache)
    lease = leased(cache)
    assert not cache.remove(KEY)
    assert cache.is_intact(KEY)
    lease.release()
    assert cache.remove(KEY)
    assert list(cache.contents()) == []
    assert list((tmp_path / "partial").iterdir()) == []


def test_what_others_put_there_is_theirs(cache: CacheDirectory, tmp_path: Path) -> None:
    """A directory that is no cache may have `models` and `partial` too: nothing in it is listed, evicted or cleaned."""
    for folder in ("models", "partial"):
        (tmp_path / folder / "resnet-50").mkdir(parents=True)
    put(cache)

    cache.evict(0, keep=OTHER)

    assert list(cache.contents()) == []
    assert cache.clean() == 0
    assert (tmp_path / "models" / "resnet-50").exists()
    assert (tmp_path / "partial" / "resnet-50").exists()


def test_cleaning_leaves_downloads_under_way(cache: CacheDirectory, tmp_path: Path) -> None:
    """What a process left that died goes."""
    assert cache.clean() == 0
    with claimed(cache) as claim:
        cache.begin(claim)
        (tmp_path / "partial" / f"{OTHER}-1").mkdir()
        assert cache.clean() == 1
        assert len(list((tmp_path / "partial").iterdir())) == 1
    assert cache.clean() == 1
