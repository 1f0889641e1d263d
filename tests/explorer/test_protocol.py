"""The ledger's protocol holds in every interleaving within the bounds, and rejected variants of it fail."""

from __future__ import annotations

import pytest

from explorer.checker import explore
from explorer.scenarios import HOLDS, REJECTED


@pytest.mark.parametrize("name", HOLDS)
def test_the_protocol_holds(name: str) -> None:
    """No interleaving of the configuration breaks an invariant, and not just a few of them were looked at."""
    model, floor = HOLDS[name]

    outcome = explore(model())

    assert outcome.violation is None, "\n".join((outcome.violation, *outcome.trace))
    assert outcome.states >= floor


@pytest.mark.parametrize("name", REJECTED)
def test_a_rejected_variant_fails(name: str) -> None:
    """The checker finds what is wrong with the variant, and the steps that lead there."""
    model, violation, culprit = REJECTED[name]

    outcome = explore(model())

    assert outcome.violation is not None
    assert violation in outcome.violation
    assert any(culprit in step for step in outcome.trace)
