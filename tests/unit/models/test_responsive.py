"""Loading and destroying so that other threads go on, and the garbage collector with them."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import pickletools
import threading
import weakref
from collections.abc import Callable, Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mlflow_utilities import ModelError
from mlflow_utilities.models.loading import load_claimed, load_directory
from mlflow_utilities.models.responsive import GcPause, PythonReader, destroy, gc_paused, unpickle
from support.models import write_model

MLMODEL = "flavors:\n  sklearn: {pickled_model: model, serialization_format: pickle}\n"
MANY = 110_000  # with their lists, more than are left to collections


class Node:
    """An object that can be part of a graph."""

    def __init__(self, *below: object) -> None:
        self.below = list(below)


class Observing:
    """An object that notes, when it is unpickled, whether the garbage collector is on; or fails."""

    seen: ClassVar[list[bool]] = []

    def __init__(self, fail: bool = False) -> None:
        self.fail = fail

    def __reduce__(self) -> tuple[Any, ...]:
        return _observed, (self.fail,)


def _observed(fail: bool) -> Node:
    Observing.seen.append(gc.isenabled())
    if fail:
        raise ValueError("as it was told")
    return Node()


class FakeTimer:
    """A timer that fires when a test says so."""

    daemon = False

    def __init__(self, seconds: float, then: Callable[[], None]) -> None:
        self.seconds = seconds
        self.fire = then
        self.state = "new"

    def start(self) -> None:
        """Start."""
        self.state = "running" if self.daemon else "would keep the process"

    def cancel(self) -> None:
        """Stop."""
        self.state = "cancelled"


class Timers(list[FakeTimer]):
    """Makes timers and keeps them."""

    def make(self, seconds: float, then: Callable[[], None]) -> FakeTimer:
        """Make one."""
        self.append(FakeTimer(seconds, then))
        return self[-1]


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Check that the garbage collector is on after the test, and leave nothing frozen."""
    Observing.seen.clear()
    gc.collect()
    yield
    assert gc.isenabled()
    gc.unfreeze()


def pickled(directory: Path, model: object) -> Path:
    """Write a model that is this object."""
    return write_model(directory, MLMODEL, model=pickle.dumps(model))


@pytest.mark.parametrize("load", [load_claimed, load_directory])
def test_the_collector_is_off_while_a_model_is_loaded(tmp_path: Path, load: Callable[[Path, str], object]) -> None:
    """And on again afterwards, also when the load failed."""
    load(pickled(tmp_path / "good", Observing()), "good")
    with pytest.raises(ModelError, match="as it was told"):
        load(pickled(tmp_path / "bad", Observing(fail=True)), "bad")
    assert Observing.seen == [False, False]
    assert gc.isenabled()


def test_a_collector_that_the_application_switched_off_stays_off(tmp_path: Path) -> None:
    """During the load and after it; nothing is frozen."""
    gc.disable()
    try:
        load_directory(pickled(tmp_path / "m", [Node() for _ in range(MANY)]), "m")
        assert not gc.isenabled()
        assert gc.get_freeze_count() == 0
    finally:
        gc.enable()


def test_overlapping_loads_share_one_pause() -> None:
    """The last that ends switches the collector on."""
    pause, timers = pause_and_timers()
    first, second = pause(), pause()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not gc.isenabled()
    second.__exit__(None, None, None)
    assert gc.isenabled()
    assert [(timer.seconds, timer.state) for timer in timers] == [(7.0, "cancelled")]


def pause_and_timers() -> tuple[GcPause, Timers]:
    """Make a pause of at most seven seconds."""
    timers = Timers()
    return GcPause(7.0, timers.make), timers


def test_many_threads_that_load_leave_the_collector_on() -> None:
    """Whatever the order in which they begin and end; it is off in each of them."""
    seen: ClassVar[list[bool]] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(50):
            with gc_paused():
                seen.append(gc.isenabled())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False] * 400


def test_a_load_that_hangs_does_not_keep_the_collector_off() -> None:
    """After the longest pause it is on; a timer of an earlier load that fires late changes nothing."""
    pause, timers = pause_and_timers()
    with pause():
        pass
    with pause():
        assert timers[1].state == "running"
        timers[0].fire()
        assert not gc.isenabled()
        timers[1].fire()
        assert gc.isenabled()
    with pause():
        assert not gc.isenabled()


def test_a_child_process_forked_during_a_load_has_its_collector_on() -> None:
    """The thread that loads does not exist there."""
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    with gc_paused():
        child = context.Process(target=lambda: answer.put(gc.isenabled()))
        child.start()
        assert answer.get()
        child.join()
        assert not gc.isenabled()


@pytest.mark.parametrize(
    ("objects", "freeze", "frozen"), [(MANY, True, True), (MANY, False, False), (1_000, True, False)]
)
def test_only_a_large_model_is_kept_from_collections(tmp_path: Path, objects: int, freeze: bool, frozen: bool) -> None:
    """Until it is destroyed."""
    holder: list[Any] = [
        load_claimed(pickled(tmp_path / "m", [Node() for _ in range(objects)]), "m", gc_freeze=freeze)[0]
    ]
    assert (gc.get_freeze_count() >= objects) is frozen
    gc_paused.model_destroyed()
    assert gc.get_freeze_count() == 0
    destroy(holder)


def test_what_a_failed_load_made_is_not_frozen(tmp_path: Path) -> None:
    """It is garbage."""
    with pytest.raises(ModelError):
        load_directory(pickled(tmp_path / "m", [[Node() for _ in range(MANY)], Observing(fail=True)]), "m")
    assert gc.get_freeze_count() == 0


def test_what_the_application_froze_stays_frozen_unless_a_load_freezes() -> None:
    """Nothing is undone that was not done here."""
    pause, _ = pause_and_timers()
    gc.freeze()
    before = gc.get_freeze_count()
    with pause():
        pass
    pause.model_destroyed()
    assert gc.get_freeze_count() > before // 2


def test_other_models_stay_frozen_while_destroyed_ones_go_without_the_collector() -> None:
    """Each tenth time excepted, so that other cycles cannot pile up."""
    pause, _ = pause_and_timers()
    kept: list[Node] = []

    def freeze() -> None:
        with pause():
            kept.extend(Node() for _ in range(MANY))

    freeze()
    for _ in range(9):
        pause.model_destroyed(is_left=False)
        assert gc.get_freeze_count() > 0
    pause.model_destroyed(is_left=False)
    assert gc.get_freeze_count() == 0
    freeze()
    pause.model_destroyed(is_left=True)
    assert gc.get_freeze_count() == 0


def test_a_plain_load_thaws_when_its_object_dies(tmp_path: Path) -> None:
    """Nobody has to say so."""
    loaded: Any = load_directory(pickled(tmp_path / "m", Node(*(Node() for _ in range(MANY)))), "m")
    assert gc.get_freeze_count() >= MANY
    del loaded
    assert gc.get_freeze_count() == 0


def objects_in_a_row() -> Node:
    """Make a graph that is deep."""
    node = Node()
    for _ in range(1_000):
        node = Node(node)
    return node


def cyclic() -> Node:
    """Make a graph whose objects know those above them."""
    root = Node()
    root.below = [Node(root) for _ in range(1_000)]
    return root


@pytest.mark.parametrize(
    ("make", "is_left"),
    [(objects_in_a_row, False), (lambda: Node(*(Node(Node()) for _ in range(50_000))), False), (cyclic, True)],
)
def test_a_model_is_destroyed_unless_it_has_cycles(make: Callable[[], Node], is_left: bool) -> None:
    """Then the collector can do it, and the caller is told."""
    model = make()
    watched = weakref.ref(model)
    holder: list[Any] = [model]
    del model
    gc.disable()
    try:
        assert destroy(holder) is is_left
    finally:
        gc.enable()
    assert holder == []
    assert (watched() is not None) is is_left
    gc.collect()
    assert watched() is None


def test_destroying_goes_object_by_object() -> None:
    """Another thread can run after each: what the outer object held is still there when that is gone already."""
    order: list[tuple[int, int]] = []
    alive = 100

    class Counted(Node):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1
            order.append((len(self.below), alive))

    holder: list[Any] = [Counted(*(Counted() for _ in range(99)))]
    destroy(holder)
    assert order[0] == (99, 99)
    assert alive == 0


def test_destroying_does_not_touch_what_others_use() -> None:
    """Objects that the application has, too, live on as they are."""
    shared = Node(1, [2], {"three": 3})
    holder: list[Any] = [Node(shared, Node, threading, print)]
    destroy(holder)
    assert shared.below == [1, [2], {"three": 3}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read_in_small_pieces(tmp_path: Path, protocol: int) -> None:
    """So Python code runs, and other threads with it, for at most every 64 kB; and not for each byte."""
    content = [{"number": number, "bytes": bytes([number % 256] * 10), "text": "ä\n"} for number in range(20_000)]
    content.append({"large": b"x" * 300_000, "array": bytearray(b"y" * 300_000)})
    path = tmp_path / "f"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert unpickle(path) == content
    with BufferedReader(FileIO(path), 1_048_576) as file:
        reader = PythonReader(file)
        assert pickle.Unpickler(reader).load() == content
    size = path.stat().st_size
    assert reader.reads >= size / 80_000
    if protocol:
        assert reader.reads < size / 100


def test_a_pickle_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    """Wherever it ends."""
    whole = pickletools.optimize(pickle.dumps([Node(number) for number in range(3)]))
    path = tmp_path / "f"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises((EOFError, pickle.UnpicklingError)):
            unpickle(path)
