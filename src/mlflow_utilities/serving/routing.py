"""Which model answers a key: pure, in memory, without waiting.

A key's slot is looked up in a table of 10,000 models, which is made once for each generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Protocol

from mlflow_utilities.errors import InvalidInputError, NoActiveModelError
from mlflow_utilities.rollout.slots import TOTAL, count
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.serving.selection import Selection
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.values import Reason, Source

__all__ = ["Route", "Snapshot"]


class _Hash(Protocol):
    """What hashlib makes."""

    def copy(self) -> _Hash: ...
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes, and why; `model` is None when no Active run owns the slot, `slot` is None for a pin."""

    model: ServedModel | None
    slot: int | None
    reason: Reason


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Snapshot:
    """One generation with its loaded models; it never changes, so whoever holds it sees one generation.

    Args:
        selection: what is served of the generation.
        models: the loaded models of the Active runs, by run id; those of other runs are not taken over.
        canaries: the loaded models of the Canary runs, by run id; those that are missing get no copies.
        source: where the generation was learnt.
        submodel_name: whose generation it is.
        experiment_id: the experiment of its runs.
        without: runs that must not answer, because they are revoked; their slots have no model.

    Raises:
        InvalidInputError: an Active run is neither in `models` nor in `without`.

    """

    selection: Selection
    models: Mapping[str, ServedModel]
    canaries: Mapping[str, ServedModel]
    _: KW_ONLY
    source: Source
    submodel_name: str
    experiment_id: str
    without: frozenset[str] = frozenset()
    _table: tuple[ServedModel | None, ...] = field(init=False, repr=False)
    _mirrored: tuple[tuple[int, ServedModel], ...] = field(init=False, repr=False)
    _salted: _Hash = field(init=False, repr=False)
    _shadow: _Hash = field(init=False, repr=False)

    def __post_init__(self) -> None:
        chosen = self.selection
        actives = {e.run: _model(self.models, e.run) for e in chosen.actives if e.run not in self.without}
        loaded = self.canaries.keys() - self.without
        canaries = {entry.run: self.canaries[entry.run] for entry in chosen.canaries if entry.run in loaded}
        table: list[ServedModel | None] = [None] * TOTAL
        for entry in chosen.actives:
            for start, end in entry.slots:
                table[start:end] = [actives.get(entry.run)] * (end - start)
        mirrored = ((entry.mirror, canaries[entry.run]) for entry in chosen.canaries if entry.run in canaries)
        self._set("models", MappingProxyType(actives))
        self._set("canaries", MappingProxyType(canaries))
        self._set("_table", tuple(table))
        self._set("_mirrored", tuple((mirror, model) for mirror, model in mirrored if mirror))
        self._set("_salted", _salted(chosen.salt))
        self._set("_shadow", _salted(f"{chosen.salt}|shadow"))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def generation(self) -> int:
        """The number of the generation."""
        return self.selection.generation

    @property
    def version(self) -> str | None:
        """The version that is served, or None when no run in the range is Active."""
        return self.selection.version

    @property
    def salt(self) -> str:
        """What makes the slots of this ledger differ from those of others."""
        return self.selection.salt

    def choose(self, key: str) -> ServedModel:
        """Return the model that answers a key: the same one for as long as its slot has the same owner.

        Raises NoActiveModelError when no Active run owns the slot, InvalidInputError when the key is not a string.
        """
        # `slot_of`, with its parts in place: half of the time would be spent on calling it.
        digest = self._salted.copy()
        try:
            digest.update(str.encode(key, "utf-8", "surrogatepass"))
        except TypeError:
            raise _no_key(key) from None
        slot = int.from_bytes(digest.digest()[:8], "big") % TOTAL
        model = self._table[slot]
        if model is None:
            raise self._nobody(slot)
        return model

    def at(self, slot: int) -> ServedModel:
        """Return the model that owns a slot, 0 to 9,999.

        Raises NoActiveModelError when no Active run owns it, InvalidInputError when there is no such slot.
        """
        if not 0 <= slot < TOTAL:
            raise InvalidInputError(f"there is no slot {slot}", hint=f"slots are 0 to {TOTAL - 1}")
        model = self._table[slot]
        if model is None:
            raise self._nobody(slot)
        return model

    def route(self, key: str | None, draw: int) -> Route:
        """Return where a request goes: by the slot of its key, else by `draw`, a random slot; InvalidInputError."""
        slot = draw if key is None else _slot(self._salted, key)
        return Route(self._table[slot], slot, Reason.RANDOM if key is None else Reason.BUCKET)

    def mirrors(self, key: str | None, draw: int) -> tuple[ServedModel, ...]:
        """Return the canaries that get a copy of a request, whichever model answers it.

        `draw`, a random slot, decides when there is no key. Raises InvalidInputError when the key is not a string.
        """
        if not self._mirrored:
            return ()
        slot = draw if key is None else _slot(self._shadow, key)
        return tuple(model for mirror, model in self._mirrored if slot < mirror)

    def find(self, run_id: str | None = None, version: str | None = None) -> ServedModel:
        """Return the model of a run or of a version, Active or Canary: what a pin asks for.

        Of a version's models, an Active one comes first, then the one with the largest share.

        Raises NoActiveModelError when this generation serves no such model, InvalidInputError when both arguments or
        neither are given, or the version is none.
        """
        if (run_id is None) == (version is None):
            raise InvalidInputError("both a run and a version are named, or neither", hint="give one of them")
        wanted = None if version is None else Version.parse(version)
        for model in self._by_share():
            if model.run_id == run_id or model.version == wanted:
                return model
        what = f"run {run_id}" if version is None else f"version {version}"
        served = ", ".join(f"{model.version} ({run})" for run, model in {**self.models, **self.canaries}.items())
        raise NoActiveModelError(
            f"generation {self.generation} serves no {what}", hint=f"it serves {served or 'nothing at all'}"
        )

    def without_runs(self, revoked: Iterable[str]) -> Snapshot:
        """Return this generation with runs taken out: their slots have no model, and they get no copies."""
        gone = frozenset(revoked).intersection(self.selection.runs) - self.without
        return replace(self, without=self.without | gone) if gone else self

    def _by_share(self) -> Iterable[ServedModel]:
        for entry in sorted(self.selection.actives, key=lambda entry: -count(entry.slots)):
            if entry.run in self.models:
                yield self.models[entry.run]
        for entry in sorted(self.selection.canaries, key=lambda entry: -entry.mirror):
            if entry.run in self.canaries:
                yield self.canaries[entry.run]

    def _nobody(self, slot: int) -> NoActiveModelError:
        for entry in self.selection.actives:
            if any(start <= slot < end for start, end in entry.slots):
                return NoActiveModelError(
                    f"run {entry.run} of version {self.version} is revoked, and nothing has replaced it on slot {slot}",
                    hint="enable another run of this version",
                )
        if not self.generation and not self.selection.runs:
            return NoActiveModelError(
                f"nothing of submodel {self.submodel_name!r} is rolled out",
                hint="enable a run; is this the name of the submodel?",
            )
        return NoActiveModelError(
            f"generation {self.generation} of {self.submodel_name} has no Active run of the versions served here",
            hint="enable a run of such a version",
        )


def _salted(salt: str) -> _Hash:
    return sha256(f"{salt}|".encode("utf-8", "surrogatepass"))


def _slot(salted: _Hash, key: str) -> int:
    """Return `slot_of` of a key, with the salt hashed already."""
    digest = salted.copy()
    try:
        digest.update(str.encode(key, "utf-8", "surrogatepass"))
    except TypeError:
        raise _no_key(key) from None
    return int.from_bytes(digest.digest()[:8], "big") % TOTAL


def _no_key(key: object) -> InvalidInputError:
    return InvalidInputError(
        f"a routing key is text, not {type(key).__name__}", hint="convert it always in the same way, e.g. str(user_id)"
    )


def _model(models: Mapping[str, ServedModel], run_id: str) -> ServedModel:
    model = models.get(run_id)
    if model is None:
        raise InvalidInputError(f"no model of the Active run {run_id} is given", hint="load it first")
    return model
