"""Messages between supervisor and trainer: what was sent is what is read, and errors are sorted."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from widthwise.objectives.errors import ModelError
from widthwise.search.errors import (
    Drained,
    Exhausted,
    ExitCode,
    FingerprintMismatch,
    NothingFeasible,
    TrainerDied,
)
from widthwise.search.trial.outcome import SlotOutcome, Unsettled
from widthwise.search.worker.messages import (
    BatchFinished,
    Command,
    ErrorKind,
    Raised,
    Ready,
    Reply,
    RunSlots,
    SlotsLost,
    Stop,
    TrainerConfig,
    TrainerFailed,
    encode,
    parse_command,
    parse_reply,
)
from widthwise.storage.errors import LeaseLost, SchemaMismatch, StorageUnreachable
from widthwise.storage.ledger.slot import Slot, TrialOutcome

FRESH = Slot(number=0, token="t", attempt=1, widths=None, origin=None, trial_id=None)
BOUND = Slot(number=7, token="u", attempt=2, widths={"b": 4, "a": 8}, origin="sampler", trial_id=3)


@pytest.mark.parametrize(
    "command",
    [RunSlots(slots=(FRESH, BOUND)), SlotsLost(numbers=(3, 5)), Stop()],
    ids=["run", "lost", "stop"],
)
def test_a_command_is_read_as_it_was_sent(command: Command) -> None:
    line = encode(command)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert parse_command(line.decode()) == command


def test_widths_keep_their_order() -> None:
    command = parse_command(encode(RunSlots(slots=(BOUND,))).decode())
    assert isinstance(command, RunSlots)
    assert list(command.slots[0].widths or {}) == ["b", "a"]


@pytest.mark.parametrize(
    "reply",
    [
        Ready(claim_size=4, engine_note="trains\nso", device_class="cpu: 24 GiB"),
        BatchFinished(
            outcomes=(
                SlotOutcome(number=0, kind=TrialOutcome.COMPLETE, value=0.1),
                SlotOutcome(number=1, kind=TrialOutcome.ERROR, detail="ValueError: no"),
                *(SlotOutcome(number=2, kind=kind) for kind in Unsettled),
            ),
            claim_size=1,
        ),
        Raised.from_error(Exhausted("all tried"), 3),
    ],
    ids=["ready", "finished", "raised"],
)
def test_a_reply_is_read_as_it_was_sent(reply: Reply) -> None:
    assert parse_reply(encode(reply)) == reply


def test_kinds_of_outcomes_come_back_as_what_they_are() -> None:
    outcomes = tuple(
        SlotOutcome(number=0, kind=kind) for kind in (TrialOutcome.PRUNED, Unsettled.RETURNED)
    )
    reply = parse_reply(encode(BatchFinished(outcomes=outcomes, claim_size=1)))
    assert isinstance(reply, BatchFinished)
    assert [type(outcome.kind) for outcome in reply.outcomes] == [TrialOutcome, Unsettled]


@pytest.mark.parametrize(
    "line",
    ["{}", '{"tag": "dance"}', '{"tag": "stop", "slots": []}', '{"tag": "run"}'],
    ids=["no tag", "unknown tag", "a field too many", "a field too few"],
)
def test_what_is_no_command_is_refused(line: str) -> None:
    with pytest.raises(ValidationError):
        parse_command(line)


def test_a_configuration_holds_no_password() -> None:
    config = TrainerConfig(
        study="s", worker="w", lease_seconds=30.0, threads=1, checkpoints=Path("/c")
    )
    assert TrainerConfig.model_validate_json(encode(config)) == config
    assert set(TrainerConfig.model_fields) == {
        "study",
        "worker",
        "lease_seconds",
        "threads",
        "checkpoints",
        "compare_engines",
        "device",
        "workers_per_gpu",
        "trackers",
    }


@pytest.mark.parametrize(
    ("error", "kind", "exit_code", "belongs_to_study"),
    [
        (Drained("stopped"), ErrorKind.DRAINED, 75, True),
        (Exhausted("all tried"), ErrorKind.EXHAUSTED, 0, True),
        (TrainerDied("gone", out_of_memory=False), ErrorKind.GPU_LOST, 1, True),
        (FingerprintMismatch("other code"), ErrorKind.STUDY, 5, True),
        (NothingFeasible("none"), ErrorKind.STUDY, 3, True),
        (ModelError("no module"), ErrorKind.STUDY, 2, True),
        (SchemaMismatch("upgraded"), ErrorKind.STUDY, 5, True),
        (StorageUnreachable("away"), ErrorKind.ENVIRONMENT, 69, False),
        (LeaseLost("another worker"), ErrorKind.ENVIRONMENT, 75, False),
        (ValueError("oops"), ErrorKind.BUG, 1, True),
        (SystemExit(3), ErrorKind.BUG, 1, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_an_error_says_what_it_means(
    error: BaseException, kind: ErrorKind, exit_code: int, belongs_to_study: bool
) -> None:
    raised = Raised.from_error(error)
    assert (raised.kind, raised.exit_code) == (kind, exit_code)
    failure = TrainerFailed(raised)
    assert failure.exit_code is ExitCode(exit_code)
    assert failure.belongs_to_study == belongs_to_study
    name = f"{type(error).__name__}: " if kind is ErrorKind.BUG else ""
    assert str(failure) == f"{name}{error}"


def test_a_text_that_is_no_unicode_gets_through_spelled_out() -> None:
    outcome = SlotOutcome(number=0, kind=Unsettled.RETRY, detail="no file caf\udce9.csv")
    reply = parse_reply(encode(BatchFinished(outcomes=(outcome,), claim_size=1)))
    assert isinstance(reply, BatchFinished)
    assert reply.outcomes[0].detail == "no file caf\\udce9.csv"


class _Foreign(Exception):
    """An error of a user's library, which means something else by the same attribute."""

    exit_code = 7


@pytest.mark.parametrize("exit_code", [7, 4, "no"])
def test_an_exit_code_of_somebody_else_is_no_error_of_ours(exit_code: object) -> None:
    error = _Foreign("hm")
    error.exit_code = exit_code  # type: ignore[assignment]
    raised = Raised.from_error(error)
    assert (raised.kind, raised.exit_code) == (ErrorKind.BUG, ExitCode.BUG)
    assert raised.message == "_Foreign: hm"
