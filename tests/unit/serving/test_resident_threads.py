"""Holds that die on any thread, at any moment, and in forked children; processes that load in our place."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mlflow_utilities.serving.residents import LoadFailedError
from support.served_models import FLAVORS, Thing, Unloaded, comes_true, local_model, running

pytestmark = pytest.mark.anyio


class Aborting:
    """An object whose unpickling takes the process down."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.abort, ()


async def test_holds_may_die_anywhere(tmp_path: Path) -> None:
    """On many threads at once, and by the garbage collector in the middle of taking another one."""
    wanted = local_model(tmp_path / "a", Thing("a"))
    async with running() as residents:
        resident = (await residents.ensure([wanted]))["a"]
        unloaded = Unloaded(resident.hold().loaded)

        def take_and_drop() -> None:
            for _ in range(200):
                cycle: list[Any] = [resident.hold()]
                cycle.append(cycle)
                del cycle
                if not _ % 20:
                    gc.collect()

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(anyio.to_thread.run_sync, take_and_drop)
        residents.keep(["a"])
        assert not unloaded.happened
        residents.keep([])
        gc.collect()
        await unloaded.wait()
        await comes_true(lambda: residents.bytes_loaded == 0)
    assert unloaded.thread not in (threading.get_ident(), None)


def test_a_forked_child_destroys_its_own_copy(tmp_path: Path) -> None:
    """On a thread of its own, as its parent does."""
    done = subprocess.run(
        [sys.executable, "-m", "support.forked_resident", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["['child'] other", "['parent'] other"]


async def test_a_model_that_takes_its_process_down_is_tried_elsewhere(tmp_path: Path) -> None:
    """Its failure says how it ended, and the service lives on; a good one is loaded here after its trial."""
    bad, good = local_model(tmp_path / "bad", Aborting()), local_model(tmp_path / "good", Thing("good"))
    async with running(trial=True) as residents:
        with pytest.raises(LoadFailedError, match="SIGABRT"):
            await residents.ensure([bad])
        assert (await residents.ensure([good]))["good"].hold().loaded.label == "good"


def model_with_module(directory: Path, module: str, label: str) -> Any:
    """Write a model whose class is in a module saved along with it."""
    wanted = local_model(directory, None)
    settings = '"pickled_model": "model.pkl", "code": "code"'
    (directory / "MLmodel").write_text(FLAVORS.replace('"pickled_model": "model.pkl"', settings))
    (directory / "code").mkdir()
    (directory / "code" / f"{module}.py").write_text(f"class Model:\n    label = {label!r}\n")
    (directory / "model.pkl").write_bytes(b"\x80\x02c" + module.encode() + b"\nModel\n)\x81.")
    return wanted


@pytest.mark.parametrize("policy", ["availability_preserving", "resource_preserving"])
async def test_models_whose_modules_clash_take_turns_where_the_policy_allows_it(
    tmp_path: Path, unique_name: str, policy: str
) -> None:
    """One that is only kept for a rollback goes in any case, one that serves by the policy resource_preserving."""
    module = unique_name.replace("-", "_")
    one, two, three = (model_with_module(tmp_path / label, module, label) for label in ("one", "two", "three"))
    plain = local_model(tmp_path / "plain", Thing("plain"))
    told: list[tuple[str, ...]] = []
    async with running(policy=policy, on_unload=told.append) as residents:
        await residents.ensure([one, plain])
        residents.keep(["plain"], spare=["one"])
        hold = (await residents.ensure([two]))["two"].hold()
        assert (hold.loaded.label, told) == ("two", [("one",)])
        residents.keep(["plain", "two"])
        if policy == "availability_preserving":
            with pytest.raises(LoadFailedError, match="brings another module"):
                await residents.ensure([three])
            assert hold.loaded.label == "two"
        else:
            del hold
            assert (await residents.ensure([three]))["three"].hold().loaded.label == "three"
            assert told[1:] == [("two",)]
        assert residents.is_loaded("plain")
