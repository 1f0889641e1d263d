"""A loaded model as a service hands it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from mlflow_utilities.rollout.versioned_runs import Model

__all__ = ["Hold", "ServedModel"]


class Hold(Protocol):
    """Keeps a loaded object in memory for as long as the hold itself lives."""

    @property
    def loaded(self) -> Any:
        """The object that the model's flavor made."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedModel(Model):
    """A model of the generation that serves; it stays in memory while anybody holds this object.

    `test_fraction` is its share of requests, or of copies for a Canary run. `generation` is the one it was chosen in.
    """

    generation: int
    _hold: Hold = field(repr=False, compare=False)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @property
    def loaded(self) -> Any:
        """The object that the model's flavor made, e.g. the scikit-learn estimator."""
        return self._hold.loaded
