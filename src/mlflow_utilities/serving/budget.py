"""How much memory models may take, and what has to go to make room: pure rules. Sizes are in bytes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mlflow_utilities.errors import ModelError
from mlflow_utilities.serving.options import Policy

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """The bytes that all loaded models may take (None: no limit); a model counts `factor` times its files."""

    limit: int | None
    factor: float = 1.0
    policy: Policy = "availability_preserving"

    def cost(self, size: int) -> int:
        """Return what a model counts whose files have this size."""
        return math.ceil(size * self.factor)

    def room_for(
        self,
        needed: int,
        loaded: Mapping[str, int],
        *,
        leaving: Collection[str] = (),
        spare: Sequence[str] = (),
        kept: Sequence[str] = (),
    ) -> tuple[str, ...]:
        """Return which loaded models must go before models that cost `needed` are loaded, in the order of going.

        `loaded`: the cost of each model in memory, and of those being loaded. Of these, `leaving` go as soon as nobody
        uses them, `spare` are only there for a rollback and `kept` serve: the last of each list goes first, and those
        that serve only by the policy resource_preserving.

        Raises:
            ModelError: there is no room, whatever may go.

        """
        if self.limit is None:
            return ()
        serving = kept if self.policy == "resource_preserving" else ()
        used = sum(loaded.values())
        going: list[str] = []
        for run_id in (*leaving, *reversed(spare), *reversed(serving)):
            if used + needed <= self.limit:
                break
            if run_id in loaded and run_id not in going:
                going.append(run_id)
                used -= loaded[run_id]
        if used + needed > self.limit:
            raise ModelError(
                f"{needed} bytes of memory are needed for models, {sum(loaded.values())} are taken by others,"
                f" and {self.limit} are allowed",
                hint=self._advice(needed, used - sum(loaded.get(run_id, 0) for run_id in kept if run_id not in going)),
            )
        return tuple(going)

    def _advice(self, needed: int, least: int) -> str:
        assert self.limit is not None
        if self.policy == "availability_preserving" and least + needed <= self.limit:
            return 'policy="resource_preserving" unloads what serves first, and has no answers meanwhile'
        return "raise memory_budget"
