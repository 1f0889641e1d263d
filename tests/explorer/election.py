"""The election of the control experiment: a candidate gets its index run first and is then renamed to the unique name.

Modelled: every request of the procedure, each atomic; delayed writes; crashes; lagging reads; the cleaner of left-over
candidates. Not modelled: the check of the model experiment's identity, experiments deleted by people.
"""

from __future__ import annotations

from explorer.checker import TIMEOUT, Facts, Model, Process, Script
from explorer.server import LOCAL, READS, answer

__all__ = ["cleaner", "election", "writer"]

NAME = "F"


def writer(me: str, variant: str = "") -> Script:
    """Find the control experiment or make a candidate for it."""
    experiment = yield ("get-by-name", NAME)
    if experiment:
        return use, (me, experiment, variant)
    if variant:
        created = yield ("create-experiment", f"{me}.x", NAME)
        return (give_index, (me, created, variant)) if created == f"{me}.x" else (writer, (me, variant))
    return candidate, (me,)


def candidate(me: str) -> Script:
    """Create the private experiment; the same bytes again until its answer arrives."""
    name = f"{NAME}.new-{me}"
    created = yield ("create-experiment", f"{me}.x", name)
    if created == TIMEOUT:
        return candidate, (me,)
    if created == "RESOURCE_ALREADY_EXISTS":
        created = yield ("get-by-name", name)
    return (give_index, (me, created, "")) if created else (candidate, (me,))


def give_index(me: str, experiment: str, variant: str, run: int = 0) -> Script:
    """Create an index run in the private experiment; another one when the answer is lost."""
    created = yield ("create-run", f"{me}.i{run}", experiment, 0)
    if created == TIMEOUT:
        return give_index, (me, experiment, variant, run + 1)
    return tag, (me, experiment, f"{me}.i{run}", variant)


def tag(me: str, experiment: str, run: str, variant: str) -> Script:
    """Record the index run, until that is confirmed: the rename must not happen before."""
    if (yield ("set-tag", experiment, "index", run)) == TIMEOUT:
        return tag, (me, experiment, run, variant)
    return (use, (me, experiment, variant)) if variant else (rename, (me, experiment))


def rename(me: str, experiment: str, sent: int = 0) -> Script:
    """Compete for the name. The answer decides nothing; who has the name does."""
    yield ("rename", experiment, NAME)
    holder = yield ("get-by-name", NAME)
    if holder is None:
        return (rename, (me, experiment, sent + 1)) if sent < 2 else None
    if holder != experiment:
        yield ("delete-experiment", experiment)
    return use, (me, holder, "")


def use(me: str, experiment: str, variant: str) -> Script:
    """Read which run is the index."""
    index = yield ("get-tag", experiment, "index")
    if index:
        yield ("remark", "elected", me, experiment, index)
        return None
    if variant == "name first, repaired":
        return give_index, (me, experiment, variant)
    return None


def cleaner(variant: str = "") -> Script:
    """Delete candidates that can never win: list them, then see that the name is taken."""
    found = yield ("search-experiments", f"{NAME}.new-")
    holder = yield ("get-by-name", NAME)
    for experiment in found:
        if variant == "no fence" or (holder and holder != experiment):
            yield ("delete-experiment", experiment)
    return None


def election(*processes: Process, delays: int = 0, crashes: int = 0, lagging: tuple[int, ...] = ()) -> Model:
    """Return the model of an election on an empty server."""
    return Model(
        answer, _check, Facts(), processes, READS, LOCAL, delays, crashes, lagging, at_the_end=_stuck_without_index
    )


def _check(facts: Facts) -> str | None:
    elected = {fact[2:] for fact in facts if fact[0] == "elected"}
    if len(elected) > 1:
        return f"two writers use different ledgers: {sorted(elected)}"
    holder = facts.get(("name", NAME))
    if holder and not facts["experiment", holder][1]:
        return "the winning experiment is deleted"
    if elected and (holder, facts.get(("tag", holder, "index"))) not in elected:
        return "the ledger in use is not the one that the name leads to"
    return None


def _stuck_without_index(facts: Facts) -> str | None:
    holder = facts.get(("name", NAME))
    return (
        "the control experiment has no index, for ever" if holder and not facts.get(("tag", holder, "index")) else None
    )
