"""Arguments become MLflow's JSON, or are refused with what is wrong and what to do."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param as MlflowParam

from mlflow_utilities._protocol.values import (
    identifier,
    integer,
    key_of,
    metric_json,
    new_description,
    number_json,
    pairs_json,
    stored_key,
    text,
    value_text,
)
from mlflow_utilities.entities import Metric, Param, RunTag
from mlflow_utilities.errors import InvalidInputError


@given(st.floats() | st.integers(-(2**1000), 2**1000) | st.fractions() | st.booleans().map(np.float32))
def test_every_real_number_is_a_metric(value: Any) -> None:
    """What is sent reads back as the same float; NaN and infinities travel as texts."""
    sent = number_json(value, "m")

    assert isinstance(sent, str) == (not math.isfinite(float(value)))
    assert float(sent) == float(value) or math.isnan(float(value))


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (np.array([2.0]).sum(), 2.0),
        (Decimal("0.1"), 0.1),
        (Fraction(1, 4), 0.25),
    ],
)
def test_numbers_of_other_libraries_are_sent_as_floats(value: Any, sent: Any) -> None:
    """Whatever can be a float is a metric."""
    assert number_json(value, "m") == sent


@pytest.mark.parametrize("value", [True, "0.5", b"1", None, [1.0], 1j, 10**400, object()], ids=repr)
def test_what_is_not_a_number_is_not_a_metric(value: Any) -> None:
    """The server would take true for a number, and drop others without a word."""
    with pytest.raises(InvalidInputError, match="metric m"):
        number_json(value, "m")


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 2**63, -1])
def test_what_the_server_cannot_store_is_not_an_integer(value: Any) -> None:
    """An integer has 64 bits, and no lower value than asked for."""
    with pytest.raises(InvalidInputError, match="step"):
        integer(value, "step", 0)


@pytest.mark.parametrize("value", [0, 2**63 - 1, np.int64(7)])
def test_an_integer_stays_what_it_is(value: Any) -> None:
    """Also beyond what a float can hold."""
    assert integer(value, "step", 0) == value


@pytest.mark.parametrize("key", ["a", "train/loss", "ü-1.5 x:y_z", "a..b", "x" * 250])
def test_a_key_that_mlflow_keeps_is_accepted(key: str) -> None:
    """Letters of every alphabet, digits, spaces and _ - . : / are allowed."""
    assert key_of(key, "key") == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        None,
        7,
        "it's",
        'a"b',
        "a`b",
        "a\n",
        "a@b",
        "a=b",
        "a[0]",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "x" * 251,
    ],
)
def test_a_key_that_mlflow_refuses_or_cannot_find_is_refused(key: Any) -> None:
    """Quotes above all: `runs/create` would store them, and no filter could name them."""
    with pytest.raises(InvalidInputError, match="the key"):
        key_of(key, "the key")


def test_a_stored_key_may_have_any_character() -> None:
    """What another program stored can be read and deleted."""
    assert stored_key("it's", "key") == "it's"


@pytest.mark.parametrize(("value", "kept"), [("", ""), (1, "1"), (1.5, "1.5"), (None, "None"), ([1], "[1]")])
def test_a_value_is_written_as_its_text(value: Any, kept: str) -> None:
    """As MLflow's client does."""
    assert value_text(value, "param p", 6000) == kept


def test_a_value_that_the_server_would_cut_is_refused() -> None:
    """The message says how long it is and how long it may be."""
    with pytest.raises(InvalidInputError, match=r"param p has 6001 .* 6000"):
        value_text("x" * 6001, "param p", 6000)


PAIRS = st.dictionaries(st.text("abc/", min_size=1, max_size=6).filter(lambda key: "/" not in key), st.text(max_size=9))


@given(PAIRS)
def test_a_mapping_and_a_list_of_pairs_mean_the_same(pairs: dict[str, str]) -> None:
    """Ours, MLflow's and a plain dict are sent alike, in the order given."""
    expected = [{"key": key, "value": value} for key, value in pairs.items()]

    assert pairs_json(pairs, "param", 6000) == expected
    assert pairs_json([Param(key, value) for key, value in pairs.items()], "param", 6000) == expected
    assert pairs_json((RunTag(key, value) for key, value in pairs.items()), "tag", 6000) == expected
    assert pairs_json([MlflowParam(key, value) for key, value in pairs.items()], "param", 6000) == expected


def test_the_same_pair_twice_is_sent_once() -> None:
    """The server refuses a key twice in one batch."""
    assert pairs_json([Param("a", "1"), Param("a", "1")], "param", 6000) == [{"key": "a", "value": "1"}]


@pytest.mark.parametrize("pairs", ["ab", 7, [("a", "1")], [{"key": "a"}], [Param("a", "1"), Param("a", "2")]], ids=repr)
def test_pairs_of_another_shape_are_refused(pairs: Any) -> None:
    """Neither guessed at nor dropped."""
    with pytest.raises(InvalidInputError, match="param"):
        pairs_json(pairs, "param", 6000)


def test_a_metric_of_ours_and_of_mlflows_are_sent_alike() -> None:
    """By attribute; a time that is not given is now."""
    expected = {"key": "m", "value": 0.5, "timestamp": 7, "step": 2}

    assert metric_json(Metric("m", 0.5, 7, 2), 99) == expected
    assert metric_json(MlflowMetric("m", 0.5, 7, 2), 99) == expected
    assert metric_json(Metric("m", 0.5), 99) == {"key": "m", "value": 0.5, "timestamp": 99, "step": 0}


@pytest.mark.parametrize(
    "metric", [("m", 1.0), MlflowMetric("m", 1.0, -1, 0), MlflowMetric("m", 1.0, 1.5, 0), MlflowMetric("", 1.0, 1, 0)]
)
def test_a_metric_of_another_shape_is_refused(metric: Any) -> None:
    """No key, a time before 1970 or not in whole milliseconds."""
    with pytest.raises(InvalidInputError):
        metric_json(metric, 99)


def test_texts_are_not_made_of_other_things() -> None:
    """An id is text and not empty, a text may be empty, a description must be said."""
    for value in ("", None, 7, b"a"):
        with pytest.raises(InvalidInputError, match="run_id"):
            identifier(value, "run_id")
    with pytest.raises(InvalidInputError, match="source"):
        text(None, "source")
    with pytest.raises(InvalidInputError, match="removes"):
        new_description(None)
    assert (text("", "source"), new_description("")) == ("", "")
