"""Binding: widths become a slot's own, and no two slots of a study have the same.

`bind` binds those of a whole batch in one transaction. The unique index of the slot table is the
judge; asking first spares the batch from failing for one of its members.
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from ..database.tables import slots
from .events import EventKind
from .fence import Fence, is_held
from .slot import Slot, dump_json, load_json, of_study, widths_key

Binding = tuple[Slot, Mapping[str, int], str]
"""A slot, the widths that it shall have, and who proposed them."""


class BindFailure(enum.Enum):
    """Why a slot of a batch has no widths now."""

    TAKEN = "another slot of the study holds these widths"
    LOST = "another holder has the slot"


def bind(
    connection: Connection, study_id: int, fence: Fence, bindings: Sequence[Binding]
) -> list[Slot | BindFailure]:
    """Bind widths to slots in the caller's transaction.

    Returns:
        For each, the slot with its widths, or why it has none. Where two of the batch want the same
        widths the first gets them.

    Raises:
        ValueError: If a slot already holds other widths.
        sqlalchemy.exc.IntegrityError: If another transaction bound some of these widths at this
            very moment.
    """
    rows = fence.lock_rows(connection, [slot for slot, _, _ in bindings])
    keys = [widths_key(widths) for _, widths, _ in bindings]
    owners = _owners_by_key(connection, study_id, keys)
    results: list[Slot | BindFailure] = []
    unbound: list[tuple[Slot, dict[str, Any]]] = []
    for (slot, widths, origin), key in zip(bindings, keys, strict=True):
        row = rows[slot.number]
        plain_widths = {name: int(width) for name, width in widths.items()}
        if not is_held(row, slot):
            results.append(BindFailure.LOST)
            continue
        _check_unbound_or_same(row, key, plain_widths)
        if owners.setdefault(key, slot.number) != slot.number:
            results.append(BindFailure.TAKEN)
            continue
        if row.widths_key is None:
            columns = {
                "slot_number": slot.number,
                "widths": dump_json(plain_widths),
                "widths_key": key,
            }
            unbound.append((slot, {**columns, "origin": origin}))
        results.append(dataclasses.replace(slot, widths=plain_widths, origin=origin))
    _write(connection, study_id, fence, unbound)
    _record_refusals(connection, fence, bindings, results)
    return results


def _owners_by_key(connection: Connection, study_id: int, keys: Sequence[str]) -> dict[str, int]:
    query = select(slots.c.widths_key, slots.c.number).where(
        of_study(study_id), slots.c.widths_key.in_(keys)
    )
    return {row.widths_key: row.number for row in connection.execute(query)}


def _check_unbound_or_same(row: Row[Any], key: str, plain_widths: Mapping[str, int]) -> None:
    if row.widths_key not in (None, key):
        raise ValueError(
            f"Slot {row.number} holds the widths {load_json(row.widths)}, so {plain_widths} cannot be bound "
            "to it; train what it holds."
        )


def _write(
    connection: Connection,
    study_id: int,
    fence: Fence,
    unbound: Sequence[tuple[Slot, dict[str, Any]]],
) -> None:
    if not unbound:
        return
    statement = update(slots).where(of_study(study_id), slots.c.number == bindparam("slot_number"))
    # In the order of the keys, as everybody does: so nobody waits in a circle at the unique index.
    columns = sorted((row for _, row in unbound), key=lambda row: str(row["widths_key"]))
    connection.execute(statement, columns)
    entries = [
        fence.new_event(EventKind.BOUND, slot, idempotent=True, widths=load_json(row["widths"]))
        for slot, row in unbound
    ]
    fence.append(connection, entries)


def _record_refusals(
    connection: Connection,
    fence: Fence,
    bindings: Sequence[Binding],
    results: Sequence[Slot | BindFailure],
) -> None:
    entries = []
    for (slot, widths, _), result in zip(bindings, results, strict=True):
        if result is BindFailure.TAKEN:
            entries.append(fence.new_event(EventKind.REFUSED, slot, widths=dict(widths)))
        elif result is BindFailure.LOST:
            entries.append(fence.new_event(EventKind.REFUSED, slot, action="bind widths"))
    fence.append(connection, entries)
