"""Copies of inputs: deep, taken at once, each one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlflow_utilities.serving.input_copy import take


class Callback:
    """An object that pickle refuses, because it holds a lambda."""

    def __init__(self) -> None:
        self.values = [1.0]
        self.function = lambda: self.values


def spoil_array(array: Any) -> None:
    """Change an array."""
    array[0] = -1.0


def spoil_frame(frame: Any) -> None:
    """Change a number, and a list that a cell holds."""
    frame.loc[0, "a"] = -1.0
    frame.loc[0, "b"].append("changed")


CASES: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "nested": ({"a": [1.0, {"b": 2}]}, lambda data: data["a"][1].update(b=-1), lambda data: data["a"][1]["b"]),
    "array": (np.array([1.0, 2.0]), spoil_array, lambda data: data[0]),
    "columns first": (np.asfortranarray(np.ones((3, 2))), spoil_array, lambda data: data[0].tolist()),
    "slice": (np.ones((4, 4))[::2, ::2], spoil_array, lambda data: data[0].tolist()),
    "array of objects": (np.array([[1], [2]], dtype=object), spoil_array, lambda data: data[0]),
    "array in a dict": ({"x": np.ones(3)}, lambda data: spoil_array(data["x"]), lambda data: data["x"][0]),
    "frame": (pd.DataFrame({"a": [1.0], "b": [["x"]]}), spoil_frame, lambda data: (data["a"][0], data["b"][0])),
    "refused by pickle": (Callback(), lambda data: data.values.append(-1.0), lambda data: list(data.values)),
}


@pytest.mark.parametrize("case", CASES)
def test_nobody_changes_the_data_of_another(case: str) -> None:
    """What the caller changes afterwards, or the holder of one copy does, is seen in no other copy."""
    original, spoil, look = CASES[case]
    data = copy.deepcopy(original)
    expected = copy.deepcopy(look(data))
    own = take(data)

    spoil(data)
    first = own()
    assert look(first) == expected
    spoil(first)

    assert look(first) != expected
    assert look(own()) == expected


def test_text_and_numbers_are_not_copied() -> None:
    """What cannot change is passed on as it is."""
    text = "word " * 100

    assert take(text)() is text


def test_none_shares_the_data() -> None:
    """Without a copy function everybody has the same object."""
    data = [1.0]

    assert take(data, None)() is data


def test_the_caller_may_say_how_to_copy() -> None:
    """A function of one's own copies at once, and again for each copy: one is handed out once."""
    data = [[1.0]]
    own = take(data, copy.copy)

    data.append([2.0])
    first = own()
    first.append([3.0])

    assert own() == [[1.0]]
    assert own()[0] is data[0]


def test_what_cannot_be_copied_is_refused_at_once() -> None:
    """An error comes when the copy is taken, not in the thread that uses it."""
    with pytest.raises(TypeError, match="lock"):
        take({"lock": Lock()})
