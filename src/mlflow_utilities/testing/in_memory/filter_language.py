"""The filter language of MLflow's searches: clauses joined by AND, evaluated as its SQL store does."""

from __future__ import annotations

import ast
import math
import operator as comparing
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from mlflow_utilities.testing.in_memory.refusals import UnsupportedByInMemoryMlflow, invalid

__all__ = ["EQUALITY", "LIKE", "LISTS", "NULLS", "NUMERIC", "Comparison", "Grammar", "identifier", "matches", "parse"]

NUMERIC = frozenset({"=", "!=", ">", ">=", "<", "<="})
EQUALITY = frozenset({"=", "!="})
LIKE = EQUALITY | {"LIKE", "ILIKE"}
LISTS = frozenset({"IN", "NOT IN"})
NULLS = frozenset({"IS NULL", "IS NOT NULL"})

_ORDERED = {">": comparing.gt, ">=": comparing.ge, "<": comparing.lt, "<=": comparing.le}

Value = str | float | tuple[str, ...] | None

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<single>'(?:''|\\'|[^'])*')
    | (?P<list>\((?:\s*(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")\s*,?)*\))
    | (?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<key>(?:[A-Za-z_]\w*|`[^`]*`|"(?:""|\\"|[^"])*")(?:\.(?:`[^`]*`|"(?:""|\\"|[^"])*"|'[^']*'|[\w]+))*)
    | (?P<operator>!=|>=|<=|=|>|<)
    )""",
    re.VERBOSE,
)
_WORDS = re.compile(r"\s+(NOT\s+IN|IN|LIKE|ILIKE|IS\s+NOT\s+NULL|IS\s+NULL)(?=[\s('\"]|$)", re.IGNORECASE)
_AND = re.compile(r"\s*\bAND\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One clause: `kind` is metric, parameter, tag, dataset or attribute."""

    kind: str
    key: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Grammar:
    """What one search understands."""

    kinds: Mapping[str, str]
    attributes: Mapping[str, str]  # name -> "text" or "number"
    operators: Mapping[str, frozenset[str]]  # by kind; those of attributes by "text" and "number"
    lists: frozenset[str] = frozenset()  # attributes that take a list
    renamed: Mapping[str, str] = field(default_factory=dict[str, str])


def parse(text: str, grammar: Grammar) -> list[Comparison]:
    """Return the clauses of a filter.

    Raises:
        Refused: 400, as MLflow says it of a filter it cannot read.
        UnsupportedByInMemoryMlflow: MLflow's parser accepts more spellings of keys than this one knows.

    """
    if _outside_quotes(text, ";"):
        raise invalid(f"Search filter contained multiple expression {text!r}. Provide AND-ed expression list.")
    found: list[Comparison] = []
    position = 0
    while text[position:].strip():
        if joined := _AND.match(text, position):
            position = joined.end()
            continue
        clause, position = _clause(text, position, grammar)
        found.append(clause)
        if text[position:].strip() and not _AND.match(text, position):
            raise invalid(f"Invalid clause(s) in filter string: '{text[position:].strip()}'")
    return found


def _outside_quotes(text: str, wanted: str) -> bool:
    return wanted in re.sub(r"'(?:''|\\'|[^'])*'|\"(?:\"\"|\\\"|[^\"])*\"|`[^`]*`", "", text)


def _clause(text: str, position: int, grammar: Grammar) -> tuple[Comparison, int]:
    key = _take(text, position, "key")
    if key is None:
        raise invalid(f"Invalid clause(s) in filter string: '{text[position:].strip()}'")
    kind, name = identifier(key[0], grammar)
    position = key[1]
    if word := _WORDS.match(text, position):
        operator, position = " ".join(word[1].upper().split()), word.end()
    else:
        sign = _take(text, position, "operator")
        if sign is None:
            following = text[position : position + 1]
            if following and not following.isspace():
                raise UnsupportedByInMemoryMlflow(f"a key in {text!r} is not quoted; write it in backticks")
            raise invalid(f"Invalid clause(s) in filter string: '{text.strip()}'")
        operator, position = sign
    value, position = (None, position) if operator in NULLS else _value(text, position, kind, name, grammar)
    clause = Comparison(kind, name, operator, value)
    _check_operator(clause, grammar)
    return clause, position


def _take(text: str, position: int, group: str) -> tuple[str, int] | None:
    match = _TOKEN.match(text, position)
    return (match[group], match.end()) if match and match.lastgroup == group else None


def identifier(text: str, grammar: Grammar) -> tuple[str, str]:
    """Return kind and key of a name in a filter or in `order_by`."""
    prefix, dot, key = text.partition(".")
    if not dot:
        prefix, key = "attribute", text
    prefix = prefix.strip("`")
    kind = grammar.kinds.get(prefix)
    if kind is None:
        raise invalid(f"Invalid entity type '{prefix}'. Valid values are {sorted(set(grammar.kinds.values()))}")
    if len(key) >= 2 and key[0] in "'\"" and key[-1] == key[0]:
        key = key[1:-1]
    if len(key) >= 2 and key[0] == key[-1] == "`":
        key = key[1:-1]
    if kind == "attribute" and key not in grammar.attributes:
        raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{set(grammar.attributes)}'")
    if kind == "dataset" and key not in ("name", "digest", "context"):
        raise invalid(f"Invalid dataset key '{key}' specified. Valid keys are name, digest, context")
    return kind, grammar.renamed.get(key, key) if kind == "attribute" else key


def _value(text: str, position: int, kind: str, key: str, grammar: Grammar) -> tuple[Value, int]:
    match = _TOKEN.match(text, position)
    group = match.lastgroup if match else None
    if match is None or group in (None, "operator"):
        raise invalid(f"Invalid comparison clause. Expected 3 tokens found {text[position:].strip()!r}")
    token, end = match[group or 0], match.end()
    wants_number = kind == "metric" or (kind == "attribute" and grammar.attributes[key] == "number")
    if wants_number:
        if group != "number":
            raise invalid(f"Expected numeric value type for {kind}: {key}. Found {token}")
        return (float(token) if any(ch in token for ch in ".eE") else int(token)), end
    if group == "list":
        return _listed(token, kind, key, grammar), end
    if group == "number":
        raise invalid(f"Expected a quoted string value for {kind} (e.g. 'my-value'). Got value {token}")
    if token[0] not in "'\"" or token[-1] != token[0] or len(token) < 2:
        raise invalid(
            "Parameter value is either not quoted or unidentified quote types used for string value "
            f"{token}. Use either single or double quotes."
        )
    return token[1:-1], end


def _listed(token: str, kind: str, key: str, grammar: Grammar) -> tuple[str, ...]:
    if kind != "dataset" and key not in grammar.lists:
        raise invalid(
            f"Only {sorted(grammar.lists)} attributes support comparison with a list of quoted string values."
        )
    try:
        found: Any = ast.literal_eval(token)
    except (SyntaxError, ValueError) as error:
        raise invalid("While parsing a list in the query, expected string value, punctuation, or whitespace") from error
    values = tuple(cast("tuple[object, ...]", found)) if isinstance(found, tuple) else (found,)
    if not values:
        raise invalid("While parsing a list in the query, expected a non-empty list of string values")
    return tuple(str(value) for value in values)


def _check_operator(clause: Comparison, grammar: Grammar) -> None:
    allowed = grammar.operators[grammar.attributes[clause.key] if clause.kind == "attribute" else clause.kind]
    if clause.kind == "attribute" and clause.key in grammar.lists:
        allowed |= LISTS
    if clause.operator not in allowed:
        raise invalid(f"Invalid comparator '{clause.operator}' for {clause.kind} '{clause.key}'")
    if isinstance(clause.value, tuple) != (clause.operator in LISTS):
        raise invalid(f"Invalid comparison clause: {clause.operator} with {clause.value!r}")


def matches(clauses: Sequence[Comparison], look_up: Callable[[str, str], Any]) -> bool:
    """Return whether all clauses hold; `look_up(kind, key)` gives None for what is not there, as SQL's NULL."""
    return all(_holds(clause, look_up(clause.kind, clause.key)) for clause in clauses)


def _holds(clause: Comparison, found: Any) -> bool:
    operator, value = clause.operator, clause.value
    if operator in NULLS:
        return (found is None) == (operator == "IS NULL")
    if found is None:
        return False
    if isinstance(value, tuple):
        return (found in value) == (operator == "IN")
    if operator in ("LIKE", "ILIKE"):
        return _like(str(found), str(value), ignore_case=operator == "ILIKE")
    if isinstance(found, float) and math.isnan(found):
        return operator == "!="
    wanted: Any = value
    if operator in EQUALITY:
        return bool(found == wanted) == (operator == "=")
    return bool(_ORDERED[operator](found, wanted))


def _like(text: str, pattern: str, *, ignore_case: bool) -> bool:
    wild = {"%": ".*", "_": "."}
    expression = "".join(wild.get(ch) or re.escape(ch) for ch in pattern)
    return re.fullmatch(expression, text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)) is not None
