"""The tracking server, as far as the ledger relies on it: each request is one atomic step.

Experiment names are unique and stay taken after a soft delete, params are write-once, tags keep the last write, and the
latest metric is the one with the highest step. Ids are chosen by the caller, which spares states; a request that is
repeated because its answer was lost takes a new id where the real server would give one.

Facts: `experiment, id` -> (name, is active) · `name, name` -> experiment id · `run, id` -> (experiment, is active,
first generation) · `params, run` -> sorted pairs · `tag, owner, key` -> value · `metric, run` -> (step, value) ·
`broken` -> what a process saw that must not be.
"""

from __future__ import annotations

from typing import Any

from explorer.checker import Facts, Request

__all__ = ["LOCAL", "READS", "answer"]

READS = frozenset({"get-by-name", "search-experiments", "get-run", "search-runs", "get-tag", "get-metric"})
LOCAL = frozenset({"choose", "remark", "broken"})

Answers = list[tuple[Facts, Any]]


def answer(facts: Facts, request: Request) -> Answers:
    """Carry out one request."""
    match request:
        case ("get-by-name", name):
            return [(facts, facts.get(("name", name)))]
        case ("get-run", run):
            return [(facts, facts.get(("params", run)))]
        case ("get-tag", owner, key):
            return [(facts, facts.get(("tag", owner, key)))]
        case ("get-metric", run):
            return [(facts, facts.get(("metric", run)))]
        case ("search-experiments", prefix):
            found = [(fact[1], *value) for fact, value in facts.items() if fact[0] == "experiment"]
            return [
                (facts, tuple(sorted(which for which, name, active in found if active and name.startswith(prefix))))
            ]
        case ("search-runs", experiment):
            found = [(fact[1], *value) for fact, value in facts.items() if fact[0] == "run"]
            mine = [(run, first) for run, where, active, first in found if where == experiment and active and first]
            return [(facts, tuple(sorted(mine)))]
        case ("create-experiment", experiment, name):
            if ("name", name) in facts:
                return [(facts, "RESOURCE_ALREADY_EXISTS")]
            while ("experiment", experiment) in facts:
                experiment += "'"
            return [(facts.but((("name", name), experiment), (("experiment", experiment), (name, True))), experiment)]
        case ("rename", experiment, name):
            return _rename(facts, experiment, name)
        case ("delete-experiment", experiment):
            name, _ = facts["experiment", experiment]
            return [(facts.but((("experiment", experiment), (name, False))), 200)]
        case ("create-run", run, experiment, first):
            return [(facts.but((("run", run), (experiment, True, first)), (("params", run), ())), 200)]
        case ("delete-run", run):
            where, _, first = facts["run", run]
            return [(facts.but((("run", run), (where, False, first))), 200)]
        case ("claim", run, key, value):
            return _claim(facts, run, key, value)
        case ("set-tag", owner, key, value):
            return [(facts.but((("tag", owner, key), value)), 200)]
        case ("log-metric", run, step, value):
            latest = max((step, value), facts.get(("metric", run), (0, 0)))
            return [(facts.but((("metric", run), latest)), 200)]
        case ("choose", *options):
            return [(facts, option) for option in options]
        case ("remark", *what):
            return [(facts.but((tuple(what), True)), None)]
        case ("broken", text):
            return [(facts.but((("broken",), text)), None)]
        case _:
            raise ValueError(f"no such request: {request}")


def _rename(facts: Facts, experiment: str, name: str) -> Answers:
    old, active = facts["experiment", experiment]
    if facts.get(("name", name), experiment) != experiment or not active:
        return [(facts, "BAD_REQUEST")]
    renamed = Facts(facts)
    renamed.pop(("name", old), None)
    return [(renamed.but((("name", name), experiment), (("experiment", experiment), (name, True))), 200)]


def _claim(facts: Facts, run: str, key: str, value: str) -> Answers:
    params = dict(facts["params", run])
    if not facts["run", run][1]:
        return [(facts, "deleted")]
    if params.setdefault(key, value) != value:
        return [(facts, "lost")]
    return [(facts.but((("params", run), tuple(sorted(params.items())))), "won")]
