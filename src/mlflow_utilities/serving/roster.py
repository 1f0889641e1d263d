"""Which models are in memory, and which of them have to stay."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from mlflow_utilities.serving.budget import Budget
from mlflow_utilities.serving.resident import Resident

__all__ = ["Roster"]


class Roster:
    """The residents, and for whom they stay: `kept` serve, `spare` are for a rollback, `needed` by what is to serve.

    What is needed and has been handed over stays until `keep` says what of it serves.
    """

    def __init__(self) -> None:
        self._residents: list[Resident] = []
        self._kept: tuple[str, ...] = ()
        self._spare: tuple[str, ...] = ()
        self._needed: set[str] = set()
        self._delivered: set[str] = set()

    @property
    def wanted(self) -> set[str]:
        """The runs that serve or are to serve."""
        return {*self._kept, *self._needed}

    @property
    def bytes(self) -> int:
        """The size of the files of all models that are in memory."""
        return sum(each.bytes for each in self._residents if not each.is_gone)

    def costs(self, budget: Budget) -> dict[str, int]:
        """Return what each run in memory counts."""
        found: dict[str, int] = {}
        for each in self._residents:
            if not each.is_gone:
                found[each.run_id] = found.get(each.run_id, 0) + budget.cost(each.bytes)
        return found

    def replaceable(self) -> dict[str, Sequence[str]]:
        """Return the runs that could go for others, as arguments of `Budget.room_for`."""
        return {
            "leaving": [each.run_id for each in self._residents if not each.is_kept],
            "spare": [run_id for run_id in self._spare if run_id not in self._needed],
            "kept": [run_id for run_id in self._kept if run_id not in self._needed],
        }

    def with_modules(self, *, serving: bool) -> list[str]:
        """Return the runs that could go for others and have modules of their own; `serving`: those that serve, too."""
        could = self.replaceable()
        going = {*could["leaving"], *could["spare"], *(could["kept"] if serving else ())}
        return [each.run_id for each in self._residents if each.run_id in going and each.has_modules]

    def __bool__(self) -> bool:
        return bool(self._residents)

    def add(self, resident: Resident) -> None:
        """Take in a model that was loaded."""
        self._residents.append(resident)
        self._let_go()

    def is_staying(self, run_id: str) -> bool:
        """Return whether a run is in memory and stays for now."""
        return any(each.run_id == run_id and each.is_kept for each in self._residents)

    def find(self, run_id: str) -> Resident | None:
        """Return the model of a run, which stays now, if it is in memory."""
        return next((each for each in self._residents if each.run_id == run_id and each.keep()), None)

    def need(self, run_ids: Collection[str]) -> None:
        """Let runs stay until they are delivered."""
        self._needed.update(run_ids)
        self._delivered.difference_update(run_ids)

    def need_only(self, run_ids: Collection[str]) -> None:
        """Let runs stay until they are delivered, and none that others needed before."""
        self._needed = set(run_ids)
        self._delivered &= self._needed
        self._let_go()

    def deliver(self, run_ids: Collection[str]) -> None:
        """Note that whoever needed runs has them now."""
        self._delivered.update(run_ids)

    def keep(self, run_ids: Iterable[str], spare: Iterable[str] = ()) -> None:
        """Let these stay, and what is still needed."""
        self._kept = tuple(run_ids)
        self._spare = tuple(run_id for run_id in spare if run_id not in self._kept)
        self._needed -= self._delivered
        self._delivered.clear()
        for run_id in (*self._kept, *self._spare):
            self.find(run_id)
        self._let_go()

    def clear(self) -> None:
        """Let nothing stay."""
        self._needed.clear()
        self.keep(())

    def dismiss(self, run_ids: Collection[str]) -> tuple[str, ...]:
        """Keep these runs no longer, and return which of them were kept."""
        named = tuple(run_id for run_id in run_ids if run_id in self._kept or run_id in self._spare)
        self._kept = tuple(run_id for run_id in self._kept if run_id not in run_ids)
        self._spare = tuple(run_id for run_id in self._spare if run_id not in run_ids)
        return named

    def end(self, run_ids: Collection[str]) -> list[Resident]:
        """Let these runs go whatever was said of them, and return them: they are destroyed once nobody holds them."""
        leaving = [each for each in self._residents if each.run_id in run_ids]
        for each in leaving:
            each.let_go()
        return leaving

    def _let_go(self) -> None:
        self._residents = [each for each in self._residents if not each.is_gone]
        staying = {*self._kept, *self._spare, *self._needed}
        for each in self._residents:
            if each.is_kept and each.run_id not in staying:
                each.let_go()
