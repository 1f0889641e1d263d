"""Filters as MLflow's text, in such a way that no value can become part of the filter."""

from __future__ import annotations

from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.filters.clauses import PYTHON_NAMES, Clause, Filter
from mlflow_utilities.filters.searches import SEARCHES, Operators, Search

__all__ = ["render_filter"]

_PREFIXES = {"Metric": "metrics.", "Param": "params.", "Tag": "tags.", "Dataset": "datasets."}
_LISTS = {"=": "IN", "!=": "NOT IN"}


def render_filter(filter: Filter, search: str) -> str:  # noqa: A002 - MLflow's word
    """Return the text that one of MLflow's searches understands.

    Args:
        filter: comparisons combined with `&`.
        search: "runs", "experiments", "registered_models", "model_versions" or "logged_models".

    Raises:
        InvalidInputError: the search cannot express it: a field or comparison that it does not know, a value of the
            wrong type, text with both kinds of quotes, or two texts that end with a backslash.

    """
    rules = SEARCHES.get(search)
    if rules is None:
        raise InvalidInputError(f"there is no search {search!r}", hint=f"use one of {', '.join(SEARCHES)}")
    if not isinstance(filter, Filter):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(
            f"the filter of {rules.method} is {filter!r}",
            hint="compare a field, as in Param('lr') == '0.1', or give text",
        )
    return " AND ".join(_backslash_last([_clause(clause, rules) for clause in filter.clauses], rules))


def _backslash_last(texts: list[str], rules: Search) -> list[str]:
    # MLflow's lexer takes \' for a part of the text and looks for another quote: only at the very end is there none.
    ends = [text for text in texts if text.endswith(("\\'", '\\"'))]
    if len(ends) > 1:
        raise InvalidInputError(
            f"two values of one filter of {rules.method} end with a backslash: {ends[0]} and {ends[1]}",
            hint="MLflow can read one of them: use like() with _ in place of the backslash, and check the results",
        )
    return [text for text in texts if text not in ends] + ends


def _clause(clause: Clause, rules: Search) -> str:
    operators = _operators(clause, rules)
    if clause.operator not in operators:
        known = ", ".join(PYTHON_NAMES.get(name, name) for name in operators)
        raise InvalidInputError(
            f"{rules.method} cannot evaluate {clause!r}", hint=f"for {clause.kind} {clause.key!r} it has {known}"
        )
    field = _field(clause, rules)
    if clause.value is None:
        return f"{field} {clause.operator}"
    if isinstance(clause.value, tuple):
        return f"{field} {clause.operator} {_list([_stored(text, clause, rules) for text in clause.value])}"
    if ">" in operators:
        return f"{field} {clause.operator} {_number(clause, rules)}"
    if not isinstance(clause.value, str):
        raise InvalidInputError(
            f"{rules.method} cannot evaluate {clause!r}: {clause.kind} {clause.key!r} is text", hint="give a str"
        )
    return f"{field} {_text(clause, _stored(clause.value, clause, rules), operators, rules)}"


def _operators(clause: Clause, rules: Search) -> Operators:
    if clause.kind in rules.keyed:
        return rules.keyed[clause.kind]
    if clause.kind not in rules.named:
        kinds = ", ".join([*rules.keyed, *rules.named])
        raise InvalidInputError(f"{rules.method} cannot filter by {clause.kind}: {clause!r}", hint=f"it has {kinds}")
    names = rules.named[clause.kind]
    if clause.key not in names:
        raise InvalidInputError(
            f"{rules.method} has no {clause.kind} {clause.key!r} to filter by", hint=f"it has {', '.join(names)}"
        )
    return names[clause.key]


def _field(clause: Clause, rules: Search) -> str:
    if clause.kind == "Attribute":
        return rules.attribute_prefix + clause.key
    if clause.kind == "Dataset":
        return _PREFIXES[clause.kind] + clause.key
    if not rules.line_break_in_keys and "\n" in clause.key:
        raise InvalidInputError(
            f"{rules.method} cannot read the key {clause.key!r}", hint="its parser knows no line break in a key"
        )
    return f"{_PREFIXES[clause.kind]}`{clause.key}`"


def _stored(text: str, clause: Clause, rules: Search) -> str:
    """Return a text as the server keeps it."""
    codes = rules.codes.get(clause.key) if clause.kind == "Attribute" else None
    if codes is None:
        return text
    if text not in codes:
        raise InvalidInputError(f"{rules.method} has no {clause.key} {text!r}", hint=f"use one of {', '.join(codes)}")
    return codes[text]


def _number(clause: Clause, rules: Search) -> str:
    if not isinstance(clause.value, int | float):
        raise InvalidInputError(
            f"{rules.method} cannot evaluate {clause!r}: {clause.kind} {clause.key!r} is a number", hint="give an int"
        )
    # MLflow's lexer knows 1e22, and takes 1e+22 for arithmetic.
    return repr(clause.value).replace("e+", "e")


def _text(clause: Clause, text: str, operators: Operators, rules: Search) -> str:
    quote = next((mark for mark in rules.quotes if mark not in text), None)
    listed = _LISTS.get(clause.operator)
    if (quote is None or text.endswith("\\")) and listed in operators:
        return f"{listed} {_list([text])}"
    if quote is None:
        raise InvalidInputError(
            f"{rules.method} cannot read {text!r}: MLflow's filters have no escaping for {' and '.join(rules.quotes)}",
            hint=f"use like() with _ in place of each {rules.quotes[0]}, and check the results",
        )
    return f"{clause.operator} {quote}{text}{quote}"


def _list(texts: list[str]) -> str:
    # The server reads lists with ast.literal_eval, the one place where escapes are undone.
    return f"({', '.join(map(_escaped, texts))})"


def _escaped(text: str) -> str:
    plain = (c if c.isprintable() and c not in "'\"\\" else f"\\U{ord(c):08x}" for c in text)
    return f"'{''.join(plain)}'"
