"""The filters of MLflow's searches: clauses joined by AND, nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from mlflow_utilities.testing.in_memory.refusals import Refused, invalid

__all__ = [
    "LISTS",
    "NULLS",
    "NUMBERS",
    "TEXTS",
    "Comparison",
    "Grammar",
    "Value",
    "compares",
    "holds_keyword",
    "like",
    "parse",
]

NUMBERS = frozenset({"=", "!=", ">", ">=", "<", "<="})
TEXTS = frozenset({"=", "!=", "LIKE", "ILIKE"})
LISTS = frozenset({"IN", "NOT IN"})
NULLS = frozenset({"IS NULL", "IS NOT NULL"})
_KEYWORDS = frozenset({"CASE", "IN", "VALUES", "USING", "FROM", "AS"})
_LONGEST_LIST = 10_000

Value: TypeAlias = "str | int | float | tuple[str, ...] | None"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One clause: `entity` is attribute, metric, parameter, tag or dataset; `operator` is in upper case."""

    entity: str
    key: str
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class Grammar:
    """What one of the searches understands.

    `prefixes` leads what may stand before the dot to its entity; a name without a dot is an attribute. `attributes`
    and `entities` give the operators of each attribute and of every key of another entity. `numbers` are the entities
    and attributes that compare with bare numbers, `datasets` the keys of that entity. `any_case` says whether LIKE
    may be written like; `quoted_keys` whether attributes may be quoted; `quoted_numbers` whether numbers may;
    `nulls` whether IS NULL may stand anywhere.
    """

    prefixes: Mapping[str, str]
    attributes: Mapping[str, frozenset[str]]
    entities: Mapping[str, frozenset[str]]
    numbers: frozenset[str] = frozenset()
    datasets: frozenset[str] = field(default_factory=frozenset[str])
    any_case: bool = True
    quoted_keys: bool = True
    quoted_numbers: bool = False
    nulls: bool = True


# What is quoted is taken as it stands: a doubled quote stays doubled, a backslash only keeps the quote after it inside.
_SINGLE = r"'(?:''|\\'|[^'])*'"
_DOUBLE = r'"(?:""|\\"|[^"])*"'
_BACKTICK = r"`(?:``|[^`])*`"
_PART = rf"(?:[^\W\d]\w*|\d+[^\W\d]\w*|{_BACKTICK}|{_DOUBLE})"
_TOKENS = re.compile(
    rf"""(?P<space>\s+)
    |(?P<number>-?\d+(?:\.\d+)?[eE]-?\d+(?!\w)|-?(?:\d+\.\d*|\.\d+)(?!\w)|-?\d+(?!\w))
    |(?P<text>{_SINGLE})
    |(?P<list>\((?:{_SINGLE}|{_DOUBLE}|[^()'"])*\))
    |(?P<name>{_PART}(?:\.(?:{_PART}|{_SINGLE})?)*)
    |(?P<operator>[<>=~!]+)""",
    re.VERBOSE,
)
_Token: TypeAlias = tuple[str, str]


def parse(text: str, grammar: Grammar) -> list[Comparison]:
    """Return the clauses of a filter, none for an empty one.

    Raises Refused with INVALID_PARAMETER_VALUE for what the grammar does not know.
    """
    if not text:
        return []
    if not text.strip():
        raise invalid(f"Invalid filter '{text}'. Could not be parsed.")
    tokens = list(_tokens(text))
    comparisons: list[Comparison] = []
    at = 0
    while at < len(tokens):
        kind, word = tokens[at]
        if kind == "name" and word.upper() == "AND":
            at += 1
            continue
        left, operator, right, at = _clause(text, tokens, at)
        comparisons.append(_comparison(left, operator, right, grammar))
    return comparisons


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None:
            raise invalid(f"Invalid clause(s) in filter string: '{text[at:]}'")
        at = match.end()
        kind = str(match.lastgroup)
        if kind != "space":
            yield kind, match.group()


def _clause(text: str, tokens: list[_Token], at: int) -> tuple[str, str, _Token | None, int]:
    """Return name, operator, value and where the next clause begins."""
    kind, left = tokens[at]
    if kind == "text":
        raise invalid(f"Invalid comparison clause. Expected 'Identifier' found '{left}'")
    rest = tokens[at + 1 : at + 4]
    if kind != "name" or not rest:
        raise invalid(f"Invalid clause(s) in filter string: '{text}'")
    words = [word.upper() if kind in ("name", "operator") else "" for kind, word in rest]
    if words[:2] == ["IS", "NULL"]:
        return left, "IS NULL", None, at + 3
    if words == ["IS", "NOT", "NULL"]:
        return left, "IS NOT NULL", None, at + 4
    if words[:2] == ["NOT", "IN"] and len(rest) == 3 and rest[2][0] == "list":
        return left, "NOT IN", rest[2], at + 4
    if words[0] == "IN" and len(rest) > 1 and rest[1][0] == "list":
        return left, rest[0][1], rest[1], at + 3
    if (rest[0][0] == "operator" or words[0] in ("LIKE", "ILIKE")) and len(rest) > 1 and rest[1][0] != "operator":
        return left, rest[0][1], rest[1], at + 3
    raise invalid(f"Invalid clause(s) in filter string: '{text}'")


def _comparison(left: str, operator: str, right: _Token | None, grammar: Grammar) -> Comparison:
    if right is None and not grammar.nulls:
        raise Refused("Internal Server Error", "INTERNAL_ERROR")
    entity, key = _identifier(left, grammar)
    upper = operator.upper() if grammar.any_case else operator
    allowed = grammar.attributes[key] if entity == "attribute" else grammar.entities[entity]
    if right is None:
        if upper not in allowed:
            raise invalid(f"IS NULL / IS NOT NULL is not supported for '{entity}' '{key}'")
        return Comparison(entity, key, upper, None)
    numeric = entity in grammar.numbers or (entity == "attribute" and key in grammar.numbers)
    if right[0] == "list" and not allowed & LISTS:
        raise invalid(f"'{key}' does not support comparison with a list of quoted string values. Found {right[1]}")
    value = _number(key, right, grammar) if numeric else _text(entity, right)
    if isinstance(value, tuple) and upper not in LISTS and upper in allowed:
        raise Refused(f"Error binding parameter: a list cannot be compared by {operator}", "BAD_REQUEST")
    if upper not in allowed:
        raise invalid(f"Invalid comparator '{operator}' not one of '{sorted(allowed)}'")
    return Comparison(entity, key, upper, value)


def _identifier(name: str, grammar: Grammar) -> tuple[str, str]:
    if holds_keyword(name):
        raise invalid(f"Invalid clause(s) in filter string: '{name}'")
    prefix, dot, key = name.partition(".")
    if not dot:
        prefix, key = "attribute", name
    entity = grammar.prefixes.get(_unquoted(prefix, "`"))
    if entity is None:
        raise invalid(f"Invalid entity type '{prefix}'. Valid values are {sorted(grammar.prefixes)}")
    if entity == "attribute" and not grammar.quoted_keys and key not in grammar.attributes:
        raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{sorted(grammar.attributes)}'")
    key = _unquoted(_unquoted(key, "'\""), "`")
    if entity == "attribute" and key not in grammar.attributes:
        raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are '{sorted(grammar.attributes)}'")
    if entity == "dataset" and key not in grammar.datasets:
        raise invalid(f"Invalid dataset key '{key}' specified. Valid keys are '{sorted(grammar.datasets)}'")
    return entity, key


def holds_keyword(name: str) -> bool:
    """Tell whether a name has an unquoted part that SQL keeps for itself even there, as in tags.case."""
    bare = re.sub(rf"{_BACKTICK}|{_DOUBLE}|{_SINGLE}", "", name)
    return any(part.upper() in _KEYWORDS for part in bare.split("."))


def _number(key: str, token: _Token, grammar: Grammar) -> int | float:
    kind, text = token
    if grammar.quoted_numbers and (kind == "text" or text.startswith('"')):
        text = text[1:-1]
    elif kind != "number":
        raise invalid(f"Expected numeric value type for {key}. Found {text}")
    try:
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    except ValueError:
        raise invalid(f"Expected numeric value type for {key}. Found {text}") from None


def _text(entity: str, token: _Token) -> str | tuple[str, ...]:
    kind, text = token
    if kind == "list":
        return _list(text)
    if kind == "number":
        raise invalid(f"Expected a quoted string value for {entity} (e.g. 'my-value'). Got value {text}")
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    raise invalid(
        "Parameter value is either not quoted or unidentified quote types used for string value"
        f" {text}. Use either single or double quotes."
    )


def _list(text: str) -> tuple[str, ...]:
    """Read a list as Python does, which is what makes it the only place where quotes can be escaped."""
    what = "While parsing a list in the query, expected a non-empty list of string values, but got"
    try:
        read: object = ast.literal_eval(text)
    except SyntaxError:
        raise invalid(f"{what} ill-formed list.") from None
    except ValueError:
        raise Refused("Internal Server Error", "INTERNAL_ERROR") from None
    values = cast("tuple[object, ...]", read) if isinstance(read, tuple) else (read,)
    texts = tuple(value for value in values if isinstance(value, str))
    if not values or len(texts) != len(values):
        raise invalid(f"{what} {text}")
    if 2 * len(texts) > _LONGEST_LIST:
        raise invalid(f"Error on parsing filter: the list has {len(texts)} values")
    return texts


def _unquoted(text: str, quotes: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in quotes else text


def compares(comparison: Comparison, stored: str | int | float | None) -> bool:
    """Tell whether a stored value satisfies a clause; what is absent satisfies IS NULL alone."""
    operator, value = comparison.operator, comparison.value
    if operator == "IS NULL":
        return stored is None
    if stored is None:
        return False
    if operator == "IS NOT NULL":
        return True
    if isinstance(value, tuple):
        return (stored in value) == (operator == "IN")
    if operator in ("LIKE", "ILIKE"):
        return like(str(stored), str(value), any_case=operator == "ILIKE")
    if operator in ("=", "!="):
        return (stored == value) == (operator == "=")
    return _ordered(operator, float(stored), float(value or 0))


def _ordered(operator: str, stored: float, wanted: float) -> bool:
    if operator.startswith(">"):
        return stored > wanted or (operator == ">=" and stored == wanted)
    return stored < wanted or (operator == "<=" and stored == wanted)


def like(text: str, pattern: str, *, any_case: bool = False) -> bool:
    """Match with % for any text and _ for one character, without an escape, as SQLite does."""
    if any_case:
        text, pattern = _lower(text), _lower(pattern)
    expression = "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _lower(text: str) -> str:
    """Lower ASCII letters alone, as SQLite does."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
