"""The projection: Optuna's trials, which follow the ledger and can be made anew from it.

`open` makes a slot's trial and binds it, in one transaction; `close` tells Optuna how the slot
ended, after the ledger's commit point; `repair` does both jobs for workers that died in between. So
samplers and dashboards read Optuna's tables, and nothing is lost when those lag behind.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Connection, select, update

from . import events
from .database import Database
from .errors import StudyNotFound
from .fence import Fence
from .optuna_side import joined
from .row import StudyRow
from .slot import Record, Slot, held, of_study, record_of
from .tables import STOPPED, slots
from .url import shown

SLOT_ATTRIBUTE = "slot"
"""User attribute of a trial: the number of its slot."""

_STATES = {"complete": TrialState.COMPLETE, **dict.fromkeys(STOPPED, TrialState.PRUNED)}


@final
class Projection:
    """Optuna's side of one study."""

    def __init__(self, database: Database, study: StudyRow) -> None:
        self._database = database
        self._study = study
        self._storage = database.optuna_storage()
        self._fence = Fence(database, study)

    def open(
        self,
        slot: Slot,
        *,
        distributions: Mapping[str, BaseDistribution],
        constraints: Mapping[str, float],
        attributes: Mapping[str, Any],
    ) -> int:
        """Make the running trial of a slot whose widths are bound, and bind it to the slot.

        A slot that has a trial keeps it; an open trial of the slot that was never bound is adopted.

        Args:
            slot: The slot, as claimed.
            distributions: Of every width.
            constraints: Name to violation: 0 or less is feasible.
            attributes: User attributes of the trial.

        Returns:
            Optuna's id of the trial.

        Raises:
            LeaseLost: If the slot has another holder.
            StudyNotFound: If somebody deleted Optuna's study.
        """
        assert slot.widths is not None, "widths are bound before their trial is made"
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(slot.widths),
            distributions=dict(distributions),
            constraints=dict(constraints),
            user_attrs={**attributes, SLOT_ATTRIBUTE: slot.number},
        )

        def work(connection: Connection) -> int | None:
            row = self._fence.look(connection, slot)
            if row.token != slot.token or row.state != "leased":
                self._fence.append(connection, "refused", slot, action="open its trial")
                return None
            if row.trial_id is not None:
                return int(row.trial_id)
            storage = joined(self._storage, connection)
            trial_id = self._open_trial(storage, slot.number)
            if trial_id is None:
                trial_id = storage.create_new_trial(self._study.optuna_study_id, template)
            connection.execute(
                update(slots).where(held(self._study.id, slot)).values(trial_id=trial_id)
            )
            return trial_id

        try:
            trial_id = self._database.write(work)
        except KeyError:
            raise self._deleted() from None
        if trial_id is None:
            raise self._fence.lost(slot, "open its trial")
        return trial_id

    def close(self, record: Record) -> None:
        """Tell Optuna how a done slot ended. A trial that is finished, or gone, stays as it is.

        Args:
            record: The slot as the ledger has it. Of its result, `curve` becomes the intermediate
                values (one per epoch) and `attributes` the trial's user attributes.
        """
        assert record.state == "done", "only a done slot is told to Optuna"
        self._write_close(record, "projected")

    def repair(self) -> int:
        """Close the trials of done slots that Optuna was not told of, and fail orphans.

        An orphan is an open trial that names a slot which is bound to another trial.

        Returns:
            How many trials were put right.
        """
        late = self._database.read(
            lambda connection: connection.execute(
                select(slots)
                .where(of_study(self._study.id), slots.c.state == "done", ~slots.c.projected)
                .order_by(slots.c.number)
            ).all()
        )
        closed = sum(self._write_close(record_of(row), "repaired") for row in late)
        return closed + self._database.write(self._fail_orphans)

    def _write_close(self, record: Record, kind: events.Kind) -> bool:
        return self._database.write(lambda connection: self._close(connection, record, kind))

    def _close(self, connection: Connection, record: Record, kind: events.Kind) -> bool:
        """Project one done slot; returns False if somebody else did."""
        row = connection.execute(
            select(slots.c.projected, slots.c.token)
            .where(of_study(self._study.id), slots.c.number == record.number)
            .with_for_update()
        ).one()
        if row.projected:
            return False
        if record.trial_id is not None:
            _finish(joined(self._storage, connection), record.trial_id, record)
        connection.execute(
            update(slots)
            .where(of_study(self._study.id), slots.c.number == record.number)
            .values(projected=True)
        )
        events.append(connection, self._study.id, kind, number=record.number, token=row.token)
        return True

    def _fail_orphans(self, connection: Connection) -> int:
        storage = joined(self._storage, connection)
        query = select(slots.c.number, slots.c.trial_id).where(
            of_study(self._study.id), slots.c.trial_id.is_not(None)
        )
        bound = {row.number: row.trial_id for row in connection.execute(query)}
        orphans = [
            trial
            for trial in self._running(storage)
            if bound.get(trial.user_attrs.get(SLOT_ATTRIBUTE), trial._trial_id) != trial._trial_id
        ]
        for trial in orphans:
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            number = trial.user_attrs[SLOT_ATTRIBUTE]
            events.append(
                connection, self._study.id, "repaired", number=number, orphan=trial._trial_id
            )
        return len(orphans)

    def _open_trial(self, storage: RDBStorage, number: int) -> int | None:
        found = [
            trial._trial_id
            for trial in self._running(storage)
            if trial.user_attrs.get(SLOT_ATTRIBUTE) == number
        ]
        return min(found, default=None)

    def _running(self, storage: RDBStorage) -> list[FrozenTrial]:
        return storage.get_all_trials(
            self._study.optuna_study_id, deepcopy=False, states=(TrialState.RUNNING,)
        )

    def _deleted(self) -> StudyNotFound:
        return StudyNotFound(
            f"Optuna's side of the study '{self._study.name}' is gone from "
            f"{shown(self._database.url)}: somebody deleted it; start a study of another name."
        )


def _finish(storage: RDBStorage, trial_id: int, record: Record) -> None:
    """What `Study.tell` does, all of it in the caller's transaction."""
    try:
        if storage.get_trial(trial_id).state.is_finished():
            return
    except KeyError:  # deleted in a dashboard: the ledger still has it
        return
    result = record.result or {}
    curve: Sequence[float] = result.get("curve") or ()
    for epoch, value in enumerate(curve):
        storage.set_trial_intermediate_value(trial_id, epoch, value)
    for key, value in (result.get("attributes") or {}).items():
        storage.set_trial_user_attr(trial_id, key, value)
    state = _STATES.get(record.outcome or "", TrialState.FAIL)
    storage.set_trial_state_values(trial_id, state, _values(state, record.value, curve))


def _values(state: TrialState, value: float | None, curve: Sequence[float]) -> list[float] | None:
    if state == TrialState.COMPLETE:
        assert value is not None, "the ledger lets no complete slot go without a value"
        return [value]
    # Optuna gives a pruned trial its last report as its value, if that is a number.
    if state == TrialState.PRUNED and curve and not math.isnan(curve[-1]):
        return [curve[-1]]
    return None
