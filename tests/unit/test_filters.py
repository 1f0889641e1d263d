"""Filters: what is written for MLflow, what is refused, and that MLflow's own parsers read exactly what was meant."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any, assert_type

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mlflow.utils import search_logged_model_utils
from mlflow.utils.search_utils import (
    SearchExperimentsUtils,
    SearchLoggedModelsUtils,
    SearchModelUtils,
    SearchModelVersionUtils,
    SearchUtils,
)

from mlflow_utilities.entities import LoggedModelStatus, RunStatus
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.filters import Attribute, Dataset, Filter, Metric, Param, Tag, render_filter
from mlflow_utilities.filters.searches import SEARCHES

float32: Any = np.float32
int64: Any = np.int64
quarter: Any = Fraction(1, 4)
lr = Param("lr")
auc = Metric("auc")
team = Tag("team")
status = Attribute("status")


@pytest.mark.parametrize(
    ("search", "comparison", "rendered"),
    [
        ("runs", Filter(), ""),
        ("runs", lr == "0.1", "params.`lr` = '0.1'"),
        ("runs", lr != "", "params.`lr` != ''"),
        ("runs", lr.is_null(), "params.`lr` IS NULL"),
        ("runs", team.is_not_null(), "tags.`team` IS NOT NULL"),
        ("runs", Tag("a b.c/'\"").like("x%"), "tags.`a b.c/'\"` LIKE 'x%'"),
        ("runs", team.ilike("O'Neil%"), 'tags.`team` ILIKE "O\'Neil%"'),
        ("runs", auc == 1, "metrics.`auc` = 1"),
        ("runs", auc != 0.1, "metrics.`auc` != 0.1"),
        ("runs", auc < -1e-7, "metrics.`auc` < -1e-07"),
        ("runs", auc <= 1e22, "metrics.`auc` <= 1e22"),
        ("runs", auc > float32(0.5), "metrics.`auc` > 0.5"),
        ("runs", auc >= quarter, "metrics.`auc` >= 0.25"),
        ("runs", auc >= int64(7), "metrics.`auc` >= 7"),
        ("runs", status == RunStatus.FINISHED, "attributes.status = 'FINISHED'"),
        ("runs", Attribute("start_time") >= 1_700_000_000_000, "attributes.start_time >= 1700000000000"),
        ("runs", Attribute("run_id").in_(["a", "b"]), "attributes.run_id IN ('a', 'b')"),
        ("runs", Attribute("run_id").not_in(("a",)), "attributes.run_id NOT IN ('a')"),
        ("runs", Dataset("name") == "iris", "datasets.name = 'iris'"),
        ("runs", Dataset("context").in_(["train"]), "datasets.context IN ('train')"),
        ("experiments", Attribute("name").like("fraud%"), "name LIKE 'fraud%'"),
        ("experiments", Attribute("creation_time") > 5, "creation_time > 5"),
        ("experiments", Attribute("experiment_id").in_(["1"]), "experiment_id IN ('1')"),
        ("experiments", team.is_null(), "tags.`team` IS NULL"),
        ("registered_models", Attribute("name") == "it's", 'name = "it\'s"'),
        ("registered_models", Attribute("name") == "x\\", "name IN ('x\\U0000005c')"),
        ("registered_models", Attribute("name") != "'\"", "name NOT IN ('\\U00000027\\U00000022')"),
        ("model_versions", Attribute("version_number") < 3, "version_number < 3"),
        ("model_versions", (Attribute("name") == "m") & (team != "x"), "name = 'm' AND tags.`team` != 'x'"),
        ("logged_models", status == "READY", "status = '2'"),
        ("logged_models", status.not_in(["PENDING", LoggedModelStatus.FAILED]), "status NOT IN ('1', '3')"),
        ("logged_models", team == 'say "x"', "tags.`team` = 'say \"x\"'"),
        ("logged_models", team == "it's", "tags.`team` IN ('it\\U00000027s')"),
        ("logged_models", lr.in_(["a\n", "é"]), "params.`lr` IN ('a\\U0000000a', 'é')"),
        ("logged_models", Attribute("creation_timestamp") > 5, "creation_timestamp > 5"),
    ],
)
def test_a_comparison_is_written_as_the_search_wants_it(search: str, comparison: Filter, rendered: str) -> None:
    """Keys in backticks, attributes bare, numbers unquoted, texts in the quotes that they do not contain."""
    assert render_filter(comparison, search) == rendered


def test_a_text_that_ends_with_a_backslash_comes_last() -> None:
    """Anywhere else MLflow would look for the end of the text in the next comparison."""
    wanted = (lr == "C:\\") & (auc > 1)

    assert render_filter(wanted, "runs") == "metrics.`auc` > 1 AND params.`lr` = 'C:\\'"


@pytest.mark.parametrize(
    ("search", "comparison", "says"),
    [
        ("runs", lr == "'\"", "no escaping"),
        ("runs", (lr == "a\\") & (team.like("b\\")), "two values"),
        ("runs", lr.in_(["a"]), "like, ilike, is_null, is_not_null"),
        ("runs", Attribute("run_name").in_(["a"]), "run_name"),
        ("runs", Attribute("lifecycle_stage") == "active", "run_id, run_name, status"),
        ("runs", Attribute("start_time") == "5", "a number"),
        ("runs", Attribute("start_time").like("5%"), "==, !=, <"),
        ("runs", status == 3, "give a str"),
        ("runs", status > 3, "like, ilike"),
        ("runs", Dataset("source") == "x", "name, digest, context"),
        ("experiments", auc > 1, "cannot filter by Metric"),
        ("experiments", lr == "1", "cannot filter by Param"),
        ("experiments", Dataset("name") == "1", "cannot filter by Dataset"),
        ("experiments", Attribute("experiment_id").like("1%"), "in_, not_in"),
        ("registered_models", team.is_null(), "search_registered_models"),
        ("registered_models", Attribute("run_id") == "x", "it has name"),
        ("model_versions", lr == "1", "cannot filter by Param"),
        ("model_versions", team.in_(["x"]), "search_model_versions"),
        ("model_versions", Attribute("source_path").in_(["x"]), "source_path"),
        ("model_versions", Attribute("version_number") == "1", "give an int"),
        ("logged_models", team.is_null(), "in_, not_in"),
        ("logged_models", team.like("it's"), "no escaping"),
        ("logged_models", Tag("a\nb") == "c", "line break"),
        ("logged_models", status == "DONE", "PENDING, READY, FAILED"),
        ("logged_models", status.like("R%"), "in_, not_in"),
        ("logged_models", Dataset("name") == "x", "cannot filter by Dataset"),
        ("traces", Filter(), "no search 'traces'"),
    ],
)
def test_what_a_search_cannot_express_is_refused(search: str, comparison: Filter, says: str) -> None:
    """The error names what the search has instead."""
    with pytest.raises(InvalidInputError, match=re.escape(says)):
        render_filter(comparison, search)


@pytest.mark.parametrize("value", [team, "x", None, [team == "x"]])
def test_only_a_filter_is_rendered(value: Any) -> None:
    """A field that is compared with nothing, or a list, is no filter."""
    with pytest.raises(InvalidInputError, match="compare a field"):
        render_filter(value, "runs")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, True, "0.9", None, Decimal(1), 1j, auc, lr])
def test_a_metric_is_compared_with_finite_numbers_only(value: Any) -> None:
    """Everything else is refused where it is written, not where it is sent."""
    for compare in (auc.__eq__, auc.__ne__, auc.__lt__, auc.__le__, auc.__gt__, auc.__ge__):
        with pytest.raises(InvalidInputError, match="Metric\\('auc'\\)"):
            compare(value)


@pytest.mark.parametrize("value", [0.1, 1, None, True, b"x", "\ud800", Param("other"), lr == "x"])
@pytest.mark.parametrize("field", [lr, team, Dataset("name")])
def test_text_is_compared_with_text_only(field: Param | Tag | Dataset, value: Any) -> None:
    """Numbers, other fields and text that cannot be sent are refused."""
    by_list: Callable[[Any], Filter] = lambda value: field.in_([value])  # noqa: E731
    for compare in (field.__eq__, field.__ne__, field.like, field.ilike, by_list):
        with pytest.raises(InvalidInputError, match=re.escape(repr(field))):
            compare(value)


@pytest.mark.parametrize("value", [0.5, None, True, 2**63, -(2**63) - 1, b"x", "\udfff", status])
def test_an_attribute_is_compared_with_text_or_64_bits(value: Any) -> None:
    """A time as a float of seconds is the usual mistake."""
    for compare in (status.__eq__, status.__ne__, status.__lt__, status.__le__, status.__gt__, status.__ge__):
        with pytest.raises(InvalidInputError, match="Attribute\\('status'\\)"):
            compare(value)


@pytest.mark.parametrize("values", [[], (), "abc", None, 5])
def test_a_list_of_values_is_a_list_that_is_not_empty(values: Any) -> None:
    """A single text is not taken for a list of letters."""
    for compare in (status.in_, team.not_in):
        with pytest.raises(InvalidInputError, match="values of"):
            compare(values)


@pytest.mark.parametrize("key", ["", "a`b", "`", "\ud800", None, 5])
@pytest.mark.parametrize("kind", [Metric, Param, Tag, Attribute, Dataset])
def test_a_key_that_no_filter_can_name_is_refused(kind: Callable[[Any], object], key: Any) -> None:
    """A backtick would end the key; nothing can escape it."""
    with pytest.raises(InvalidInputError, match="the key of"):
        kind(key)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("(lr == 'a') | (lr == 'b')", "no OR"),
        ("'x' | team", "no OR"),
        ("~(lr == 'a')", "no NOT"),
        ("not (lr == 'a')", "parentheses"),
        ("(lr == 'a') and (lr == 'b')", "`and`"),
        ("0 < auc < 1", "0 < x < 1"),
        ("'team' in [team]", "neither true nor false"),
        ("bool(team)", "neither true nor false"),
        ("team & (lr == 'a')", "Tag('team') is not a comparison"),
        ("(lr == 'a') & team", "Tag('team') is not a comparison"),
        ("(lr == 'a') & 'params.x = 1'", "is not a comparison"),
        ("'params.x = 1' & (lr == 'a')", "is not a comparison"),
        ("auc > 1 & auc > 2", "put each comparison in parentheses"),
        ("lr < '0.1'", "no order"),
        ("lr <= '0.1'", "no order"),
        ("team > '0.1'", "no order"),
        ("Dataset('name') >= '0.1'", "no order"),
    ],
)
def test_python_that_mlflow_cannot_express_says_so(expression: str, says: str) -> None:
    """Nothing is silently true, and nothing is silently left out."""
    with pytest.raises(InvalidInputError, match=re.escape(says)):
        eval(expression)


def together(parts: list[Filter]) -> Filter:
    """Return a filter of all comparisons."""
    return reduce(lambda first, second: first & second, parts, Filter())


def test_filters_are_immutable_values() -> None:
    """They are equal by content, flat, hashable, printable as Python, and can be copied and pickled."""
    wanted = (auc >= 0.9) & ((lr == "0.1") & team.in_(["a"])) & lr.is_null()
    text = "(Metric('auc') >= 0.9) & (Param('lr') == '0.1') & Tag('team').in_(['a']) & Param('lr').is_null()"

    assert repr(wanted) == text
    assert eval(text) == wanted
    assert repr(Filter()) == "Filter()"
    assert wanted == ((auc >= 0.9) & (lr == "0.1")) & (team.in_(["a"]) & lr.is_null())
    assert together([auc >= 0.9, lr == "0.1"]) == (auc >= 0.9) & (lr == "0.1")
    assert len({wanted, copy.deepcopy(wanted), pickle.loads(pickle.dumps(wanted))}) == 1
    assert wanted != Filter()
    assert len({lr, lr, Param("lr"), auc, status}) == 4
    with pytest.raises(AttributeError):
        wanted.clauses = ()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        lr.key = "x"  # type: ignore[misc]


def test_comparisons_are_filters_for_type_checkers() -> None:
    """`==` gives a Filter, not a bool; a type checker of the tests holds it."""
    assert_type(lr == "0.1", Filter)
    assert_type(auc != 1, Filter)
    assert_type(auc > 0.5, Filter)
    assert_type(status == "FINISHED", Filter)
    assert_type((lr == "0.1") & team.like("x"), Filter)


NASTY = st.text(alphabet="'\"\\`;-/*%_$[](),.=!<> \t\n\r\0#aN1é😀", max_size=12)
INJECTIONS = st.sampled_from(
    [
        "x' AND tags.`k` = 'plain",
        'x" AND tags.`k` = "plain',
        "x\\' AND tags.b = ' AND tags.secret = 'y",
        "\\",
        "\\\\",
        "'",
        '"',
        "''",
        "' --",
        "/* ' */",
        "('a')",
        "$$ ' $$",
        "a; b",
        "NULL",
        "%(x)s",
        "\\U00000027",
        "a' OR 'a' = 'a",
    ]
)
TEXTS = NASTY | INJECTIONS | st.text(max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**1000), 2**1000)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
# Times of logged models are read as floats: exact until the year 287396.
TIMES = st.integers(-(2**53), 2**53)


def value_for(operator: str, numbers: st.SearchStrategy[Any], codes: Any) -> st.SearchStrategy[Any]:
    """Return the values that an operator takes."""
    texts = st.sampled_from(sorted(codes)) if codes else TEXTS
    if operator in ("IS NULL", "IS NOT NULL"):
        return st.none()
    if operator in ("IN", "NOT IN"):
        return st.lists(texts, min_size=1, max_size=4)
    return texts if numbers is TEXTS else numbers


METHODS: dict[str, Callable[[Any, Any], Filter]] = {
    "=": lambda field, value: field == value,
    "!=": lambda field, value: field != value,
    "<": lambda field, value: field < value,
    "<=": lambda field, value: field <= value,
    ">": lambda field, value: field > value,
    ">=": lambda field, value: field >= value,
    "LIKE": lambda field, value: field.like(value),
    "ILIKE": lambda field, value: field.ilike(value),
    "IN": lambda field, value: field.in_(value),
    "NOT IN": lambda field, value: field.not_in(value),
    "IS NULL": lambda field, value: field.is_null(),
    "IS NOT NULL": lambda field, value: field.is_not_null(),
}
KINDS: dict[str, Callable[[str], Any]] = {
    "Metric": Metric,
    "Param": Param,
    "Tag": Tag,
    "Attribute": Attribute,
    "Dataset": Dataset,
}


@st.composite
def comparisons(draw: st.DrawFn, search: str) -> Filter:
    """Draw one comparison that the search knows, with any key and any value."""
    rules = SEARCHES[search]
    kind = draw(st.sampled_from([*rules.keyed, *rules.named]))
    if kind in rules.keyed:
        key = draw(TEXTS.map(lambda text: text.replace("`", "") or "k"))
        key, operators = key if rules.line_break_in_keys else key.replace("\n", "n"), rules.keyed[kind]
    else:
        key = draw(st.sampled_from(sorted(rules.named[kind])))
        operators = rules.named[kind][key]
    operator = draw(st.sampled_from(operators))
    numbers: st.SearchStrategy[Any] = TEXTS
    if ">" in operators:
        numbers = NUMBERS if kind == "Metric" else TIMES if search == "logged_models" else INTEGERS
    codes = rules.codes.get(key) if kind == "Attribute" else None
    return METHODS[operator](KINDS[kind](key), draw(value_for(operator, numbers, codes)))


def plain(kind: str, key: str, operator: str, value: Any) -> tuple[Any, ...]:
    """Return a comparison in one form, whoever made it; a list of one is a comparison with that one."""
    if operator in ("IN", "NOT IN"):
        value = tuple(value)
        if len(value) == 1:
            operator, value = {"IN": "=", "NOT IN": "!="}[operator], value[0]
    return (kind[:3].lower(), key, operator, float(value) if kind.lower().startswith("metric") else value)


def meant(wanted: Filter, search: str) -> list[tuple[Any, ...]]:
    """Return what a filter says, in MLflow's stored form, in no particular order."""

    def stored(clause: Any, value: Any) -> Any:
        codes = SEARCHES[search].codes.get(clause.key) if clause.kind == "Attribute" else None
        if codes and clause.operator in ("IN", "NOT IN"):
            return tuple(codes[item] for item in value)
        return codes[value] if codes else value

    return sorted((plain(c.kind, c.key, c.operator, stored(c, c.value)) for c in wanted.clauses), key=repr)


def understood(text: str, search: str) -> list[tuple[Any, ...]]:
    """Return what MLflow's own parser of a search reads."""
    if search == "logged_models":
        parse: Any = search_logged_model_utils.parse_filter_string
        backwards = {
            "creation_timestamp_ms": "creation_timestamp",
            "last_updated_timestamp_ms": "last_updated_timestamp",
        }
        read: list[Any] = [
            (c.entity.type.value, backwards.get(c.entity.key, c.entity.key), c.op, c.value) for c in parse(text)
        ]
        return sorted((plain(*one) for one in read), key=repr)
    parser: Any = {
        "runs": SearchUtils,
        "experiments": SearchExperimentsUtils,
        "registered_models": SearchModelUtils,
        "model_versions": SearchModelVersionUtils,
    }[search]
    parsed = parser.parse_search_filter(text)
    return sorted((plain(c["type"], c["key"], c["comparator"].upper(), c["value"]) for c in parsed), key=repr)


def expressible(wanted: Filter, search: str) -> str | None:
    """Return the text of a filter, or None where a value has both quotes, or two of them end with a backslash."""
    try:
        return render_filter(wanted, search)
    except InvalidInputError as error:
        if "no escaping" in str(error) or "end with a backslash" in str(error):
            return None
        raise


@pytest.mark.parametrize("search", SEARCHES)
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_mlflow_reads_exactly_what_was_meant(search: str, data: st.DataObject) -> None:
    """For any keys and values that are not refused, MLflow's parser finds these comparisons and no other."""
    wanted = together(data.draw(st.lists(comparisons(search), min_size=1, max_size=3)))
    text = expressible(wanted, search)
    assume(text is not None)
    assert text is not None

    assert understood(text, search) == meant(wanted, search)


@settings(max_examples=100, deadline=None)
@given(wanted=st.lists(comparisons("logged_models"), min_size=1, max_size=3).map(together))
def test_the_access_check_of_the_server_reads_logged_model_filters_likewise(wanted: Filter) -> None:
    """A server with basic-auth parses them again, with a lesser parser, and must see the same attributes."""
    text = expressible(wanted, "logged_models")
    attributes = {clause.key for clause in wanted.clauses if clause.kind == "Attribute"}
    assume(text is not None and not re.search(r"`[^`]*` (NOT )?IN \(", text))
    assume(attributes <= SearchLoggedModelsUtils.VALID_SEARCH_ATTRIBUTE_KEYS)
    parser: Any = SearchLoggedModelsUtils

    parsed = parser.parse_search_filter(text)

    assert {c["key"] for c in parsed if c["type"] == "attribute"} == attributes
    assert len(parsed) == len(wanted.clauses)
