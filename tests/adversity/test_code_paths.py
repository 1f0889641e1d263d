"""Models that bring modules of the same names: either each runs its own code, or the second is refused."""

from __future__ import annotations

import gc
import importlib
import shutil
import sys
import threading
import uuid
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from mlflow_utilities import ArtifactError, AsyncMlflowClient, ModelError
from mlflow_utilities._clock import SystemClock
from mlflow_utilities.models import saving
from mlflow_utilities.models.code_paths import CodeClaim, CodePaths
from mlflow_utilities.models.loading import load, load_claimed, load_directory
from mlflow_utilities.models.responsive import model_destroyed
from mlflow_utilities.models.trial import try_in_process
from support.models import InstantClock, write_model

pytestmark = pytest.mark.anyio

SOURCE = """
class Model:
    def predict(self, data):
        from {name} import late
        return late.answer()
"""


@pytest.fixture
def name() -> str:
    """Give the name of a module that nobody else has."""
    return f"code_of_model_{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def modules_are_given_up() -> Iterator[None]:
    """Check that sys.path and sys.modules are, after the test, what they were before."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    model_destroyed()
    gc.collect()
    assert sys.path == path
    assert not [module for module in set(sys.modules) - modules if module.startswith("code_of_model_")]


def package(directory: Path, name: str, answer: object) -> Path:
    """Write a package whose model answers this; a module of it is imported late."""
    folder = directory / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(SOURCE.format(name=name))
    (folder / "late.py").write_text(f"def answer():\n    return {answer!r}\n")
    return folder


def model(directory: Path, name: str, answer: object) -> Path:
    """Write a model with such a package: a pickle of an object of its class."""
    package(directory / "code", name, answer)
    return write_pickle(directory, b"c%b\nModel\n)\x81." % name.encode())


def write_files(directory: Path, name: str, files: dict[str, str]) -> None:
    """Write files, whose paths have the name where it says {}."""
    for path, content in files.items():
        file = directory / path.format(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def write_pickle(directory: Path, pickled: bytes) -> Path:
    """Write the MLmodel file and the pickle."""
    (directory / "MLmodel").write_text(
        "flavors:\n  sklearn: {pickled_model: model, serialization_format: pickle, code: code}\n"
    )
    (directory / "model").write_bytes(pickled)
    return directory


def predict(loaded: object) -> object:
    """Let a model predict."""
    return cast("Any", loaded).predict(None)


def loaded_from(directory: Path) -> tuple[object, CodeClaim]:
    """Load under the directory's name."""
    return load_claimed(directory, directory.name)


@pytest.mark.parametrize("flavor", ["sklearn", "pyfunc"])
async def test_saved_models_with_the_same_module_and_other_code_are_never_mixed(
    server_uri: str, unique_name: str, tmp_path: Path, name: str, flavor: str
) -> None:
    """Saved by MLflow, loaded from a server: refused while the first is there, correct once it is gone."""
    async with AsyncMlflowClient(server_uri, clock=InstantClock()) as client:
        experiment = await client.create_experiment(unique_name)
        uris: list[str] = []
        for answer in (1, 2):
            folder = package(tmp_path / str(answer), name, answer)
            sys.path.insert(0, str(folder.parent))
            saved = await saving.save(
                client,
                importlib.import_module(name).Model(),
                experiment_id=experiment,
                registered_model_name=unique_name,
                mlflow_subpackage="sklearn",
                flavor_options={"code_paths": [str(folder)]},
            )
            uris.append(saved.model_uri)
            sys.path.remove(str(folder.parent))
            for module in (name, f"{name}.late"):
                sys.modules.pop(module, None)
        flavors = [flavor]
        first = await load(client, uris[0], cache_dir=tmp_path / "cache", flavors=flavors)
        with pytest.raises(ModelError, match=f"{uris[1]} brings another module '{name}' than {uris[0]}"):
            await load(client, uris[1], cache_dir=tmp_path / "cache", flavors=flavors)
        assert predict(first) == 1
        del first
        gc.collect()
        second = await load(client, uris[1], cache_dir=tmp_path / "cache", flavors=flavors)
        assert predict(second) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"{}.py": "a = 1"}, {"{}.py": "a = 2"}),
        ({"{}.py": "a = 1"}, {"{}/__init__.py": "a = 1"}),
        ({"{}/__init__.py": "", "{}/part/deep.py": "a = 1"}, {"{}/__init__.py": "", "{}/part/deep.py": "a = 2"}),
        ({"{}/__init__.py": "", "{}/table.csv": "1"}, {"{}/__init__.py": "", "{}/table.csv": "2"}),
        ({"{}/one.py": ""}, {"{}/two.py": ""}),
        ({"{}/__init__.py": ""}, {"{}/__init__.py": "", "{}/more.py": ""}),
    ],
)
def test_any_difference_counts(tmp_path: Path, name: str, first: dict[str, str], second: dict[str, str]) -> None:
    """Single files, packages without `__init__`, nested modules, files that are not Python; nothing is unpickled."""
    for directory, files in ((tmp_path / "first", first), (tmp_path / "second", second)):
        write_files(directory / "code", name, files)
        write_pickle(directory, b"I1\n.")
    _, claim = loaded_from(tmp_path / "first")
    (tmp_path / "second" / "model").write_bytes(b"not a pickle")
    with pytest.raises(ModelError, match=f"second brings another module '{name}' than first, .*resource_preserving"):
        loaded_from(tmp_path / "second")
    claim.release()
    with pytest.raises(ModelError, match="cannot load second"):
        loaded_from(tmp_path / "second")


def test_what_is_never_imported_makes_no_difference(tmp_path: Path, name: str) -> None:
    """Compiled files, and names that are no modules' names."""
    claims: list[CodeClaim] = []
    for number in ("1", "2"):
        other = {"{}/__pycache__/late.cpython-311.pyc": number, "{}-data/file": number, "README.md": number}
        write_files(tmp_path / number / "code", name, {"{}/__init__.py": "", **other})
        claims.append(loaded_from(write_pickle(tmp_path / number, b"I1\n."))[1])
    for claim in claims:
        claim.release()


def test_models_with_the_same_code_share_it(tmp_path: Path, name: str) -> None:
    """And what one imports late is found where the other's files are, once those of the first are removed."""
    first, first_claim = loaded_from(model(tmp_path / "first", name, 1))
    second, second_claim = loaded_from(model(tmp_path / "second", name, 1))
    assert type(first) is type(second)
    del first
    first_claim.release()
    first_claim.release()
    shutil.rmtree(tmp_path / "first")
    assert predict(second) == 1
    assert sys.modules[name].__file__ == str(tmp_path / "second" / "code" / name / "__init__.py")
    second_claim.release()
    third, third_claim = loaded_from(model(tmp_path / "third", name, 3))
    assert predict(third) == 3
    third_claim.release()


def test_a_model_that_cannot_be_loaded_holds_no_modules(tmp_path: Path, name: str) -> None:
    """The next one may bring others."""
    broken = model(tmp_path / "broken", name, 1)
    (broken / "model").write_bytes(b"c%b\nNothing\n." % name.encode())
    with pytest.raises(ModelError, match="Can't get attribute 'Nothing'"):
        load_directory(broken, "broken")
    loaded, claim = loaded_from(model(tmp_path / "good", name, 2))
    assert predict(loaded) == 2
    claim.release()


@pytest.mark.parametrize(("answer", "extra", "accepted"), [(1, False, True), (1, True, True), (2, False, False)])
def test_modules_of_the_application_are_neither_replaced_nor_removed(
    tmp_path: Path, name: str, answer: int, extra: bool, accepted: bool
) -> None:
    """A model with the same files gets the application's, which may have more; others are refused."""
    folder = package(tmp_path / "application", name, 1)
    if extra:
        (folder / "extra.py").write_text("")
    sys.path.insert(0, str(folder.parent))
    try:
        module = importlib.import_module(name)
        directory = model(tmp_path / "model", name, answer)
        if accepted:
            loaded, claim = loaded_from(directory)
            assert type(loaded) is module.Model
            assert predict(loaded) == 1
            claim.release()
        else:
            with pytest.raises(ModelError, match=f"brings another module '{name}' than the application has"):
                loaded_from(directory)
        assert sys.modules[name] is module
    finally:
        sys.path.remove(str(folder.parent))
        for found in (name, f"{name}.late"):
            sys.modules.pop(found, None)


def test_modules_that_are_built_in_cannot_be_brought(tmp_path: Path) -> None:
    """A model that brings one of their names is refused."""
    write_files(tmp_path / "m" / "code", "sys", {"{}.py": ""})
    with pytest.raises(ModelError, match="brings another module 'sys' than the application has"):
        loaded_from(write_pickle(tmp_path / "m", b"I1\n."))


def test_a_folder_outside_the_model_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything of it is looked at."""
    package(tmp_path / "code", name, 1)
    mlmodel = "flavors:\n  sklearn: {pickled_model: model, code: ../code}\n"
    with pytest.raises(ArtifactError, match="outside the model"):
        load_directory(write_model(tmp_path / "m", mlmodel, model=b"I1\n."), "m")


async def test_a_trial_does_not_find_the_modules_of_loaded_models(tmp_path: Path, name: str) -> None:
    """They may be gone by the time the model is loaded."""
    _, claim = loaded_from(model(tmp_path / "first", name, 1))
    second = model(tmp_path / "second", name, 1)
    shutil.rmtree(second / "code")
    with pytest.raises(ModelError, match=f"No module named '{name}'"):
        await try_in_process(second, "second", timeout=300, clock=SystemClock())
    claim.release()


def test_of_two_threads_that_claim_a_name_one_gets_it(tmp_path: Path, name: str) -> None:
    """However they meet."""
    paths = CodePaths()
    directories = [model(tmp_path / str(number), name, number) for number in range(4)]
    barrier = threading.Barrier(4)

    def claim(directory: Path) -> CodeClaim | None:
        barrier.wait()
        try:
            return paths.claim(directory, {"sklearn": {"code": "code"}}, directory.name)
        except ModelError:
            return None

    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            claims = [found for found in threads.map(claim, directories) if found is not None]
            assert len(claims) == 1
            claims[0].release()


def test_modules_may_be_given_up_by_the_garbage_collector_at_any_moment(tmp_path: Path, name: str) -> None:
    """Also while the same thread makes a claim."""
    paths = CodePaths()
    directory = model(tmp_path / "m", name, 1)

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    threshold = gc.get_threshold()
    gc.set_threshold(3, 1, 1)
    try:
        for _ in range(30):
            claim = paths.claim(directory, {"sklearn": {"code": "code"}}, "m")
            weakref.finalize(Cycle(), claim.release)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    other = model(tmp_path / "other", name, 2)
    paths.claim(other, {"sklearn": {"code": "code"}}, "other").release()
