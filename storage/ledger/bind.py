"""Binding: a slot gets its widths, and no two slots of a study have the same.

`bind` binds those of a whole batch in one transaction. The unique index of the slot table decides;
the owners of the widths are read first, so that the batch does not fail for one of its members.
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from ..database.tables import slots
from .events import EventKind
from .fence import Fence, is_held
from .slot import Slot, dump_json, load_json, of_study, plain_widths, widths_key


@dataclasses.dataclass(frozen=True, kw_only=True)
class WidthBinding:
    """The widths that a slot is to have.

    Attributes:
        slot: The slot, as claimed.
        widths: By name, in the space's order.
        origin: Who proposed them.
    """

    slot: Slot
    widths: Mapping[str, int]
    origin: str


class BindFailure(enum.Enum):
    """Why a slot of a batch has no widths now."""

    TAKEN = "another slot of the study holds these widths"
    LOST = "another holder has the slot"


def bind(
    connection: Connection, study_id: int, fence: Fence, bindings: Sequence[WidthBinding]
) -> list[Slot | BindFailure]:
    """Bind widths to slots in the caller's transaction.

    Returns:
        For each, the slot with its widths, or why it has none. Where two of the batch have the same
        widths the first gets them.

    Raises:
        ValueError: If a slot already holds other widths.
        sqlalchemy.exc.IntegrityError: If another transaction bound some of these widths since their
            owners were read.
    """
    rows = fence.lock_rows(connection, [binding.slot for binding in bindings])
    keys = [widths_key(binding.widths) for binding in bindings]
    owners = _owners_by_key(connection, study_id, keys)
    results: list[Slot | BindFailure] = []
    unbound: list[tuple[Slot, dict[str, Any]]] = []
    for binding, key in zip(bindings, keys, strict=True):
        slot, origin = binding.slot, binding.origin
        row, widths = rows.get(slot.number), plain_widths(binding.widths)
        if row is None or not is_held(row, slot):
            results.append(BindFailure.LOST)
            continue
        _check_unbound_or_same(row, key, widths)
        if owners.setdefault(key, slot.number) != slot.number:
            results.append(BindFailure.TAKEN)
            continue
        if row.widths_key is None:
            columns = {
                "slot_number": slot.number,
                "widths": dump_json(widths),
                "widths_key": key,
            }
            unbound.append((slot, {**columns, "origin": origin}))
        results.append(dataclasses.replace(slot, widths=widths, origin=origin))
    _write(connection, study_id, fence, unbound)
    _record_refusals(connection, fence, bindings, results)
    return results


def _owners_by_key(connection: Connection, study_id: int, keys: Sequence[str]) -> dict[str, int]:
    query = select(slots.c.widths_key, slots.c.number).where(
        of_study(study_id), slots.c.widths_key.in_(keys)
    )
    return {row.widths_key: row.number for row in connection.execute(query)}


def _check_unbound_or_same(row: Row[Any], key: str, widths: Mapping[str, int]) -> None:
    if row.widths_key not in (None, key):
        raise ValueError(
            f"Slot {row.number} holds the widths {load_json(row.widths)}, so {widths} cannot be "
            "bound to it; train what it holds."
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
    # Every transaction writes in the order of the keys, so that no two wait for each other at the
    # unique index.
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
    bindings: Sequence[WidthBinding],
    results: Sequence[Slot | BindFailure],
) -> None:
    entries = []
    for binding, result in zip(bindings, results, strict=True):
        slot, widths = binding.slot, binding.widths
        if result is BindFailure.TAKEN:
            entries.append(fence.new_event(EventKind.REFUSED, slot, widths=dict(widths)))
        elif result is BindFailure.LOST:
            entries.append(fence.new_event(EventKind.REFUSED, slot, action="bind widths"))
    fence.append(connection, entries)
