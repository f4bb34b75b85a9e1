"""What can go wrong in Widthwise, and the exit code each case ends the program with.

Every room has one base class; the command line catches the three bases, prints
``error: <message>`` to stderr and exits with the class's ``exit_code``. A message is one clear
sentence: what is wrong, what was found and what was expected, what to do. Anything else that
escapes is a bug of ours: exit 1.

    SearchError                 2    base of this room
    ├── SpecError               2    the spec, a flag or a value in it is wrong
    ├── SpaceTooLarge           2    a space too large to list, or too entangled to count
    ├── NothingFeasible         3    no candidate meets the limits
    ├── TooManyFailures         4    too many trials failed in a row
    ├── NothingLearned          4    the first trials are no better than a constant prediction
    ├── FingerprintMismatch     5    the study was made with another spec or other code
    ├── StoredSpecUnreadable    5    the database holds a spec that no release like this wrote
    ├── Drained                75    stopped on request: start me again
    └── Exhausted               0    every feasible candidate has been tried
    ObjectiveError              2    base of objectives/errors.py
    ├── ModelError              2    the builder raises, builds no module or ignores its widths
    ├── DataError               2    the data cannot be read or trained on
    ├── MetricError             2    the metric or the loss gives no number
    ├── ImportFailure           2    a module, file or function is not found
    ├── CostError               2    what a model costs cannot be counted
    └── TrainingError           2    a training of the user's own that raised, or gave no value
    StorageError               69    base of storage/errors.py
    ├── StorageUnreachable     69    no database, refused password, outage outlasting the retries
    │   ├── StorageGone        69    the database's file was deleted or replaced
    │   └── NoStudies          69    nothing was ever stored there
    ├── UrlRefused              2    a storage URL of another engine, or of a database in memory
    ├── StudyNotFound           2    no study of that name
    ├── BudgetRefused           2    fewer trials asked for than there are slots
    ├── PriorityRefused         2    a priority beyond what the database holds
    ├── TrialRefused            2    no such trial, or one that is done, to pause or cancel
    ├── PortRefused             2    the dashboard's port is taken
    ├── StudyMismatch           5    the study exists with another spec
    ├── SchemaMismatch          5    the tables are of another version
    └── LeaseLost              75    another worker holds the slot now

`TrainerDied`, the end of a trainer process, is settled by the supervisor and has no exit code.

130 (interrupted by Ctrl-C) comes from ``KeyboardInterrupt`` and has no class here.
"""

from __future__ import annotations

import enum

from ..objectives.errors import ObjectiveError
from ..storage.errors import StorageError


class ExitCode(enum.IntEnum):
    """What a program of Widthwise exits with.

    The errors of `storage` and `objectives` carry the same numbers as plain integers.
    """

    DONE = 0
    BUG = 1
    BAD_INPUT = 2
    NOTHING_FEASIBLE = 3
    TOO_MANY_FAILURES = 4
    MISMATCH = 5
    STORAGE = 69
    DRAINED = 75
    INTERRUPTED = 130


class SearchError(Exception):
    """Base of every error of the search room; its message is one sentence for people."""

    exit_code: ExitCode = ExitCode.BAD_INPUT
    """What the process exits with when this error ends it."""

    belongs_to_study: bool = True
    """Whether the study is at fault: a worker of the pool then goes on with the others."""


class SpecError(SearchError):
    """The spec, a flag or a value in it is wrong."""


class SpaceTooLarge(SearchError):
    """The space has too many candidates to list, or constraints too entangled to count."""


class NothingFeasible(SearchError):
    """No candidate of the space meets the limits."""

    exit_code = ExitCode.NOTHING_FEASIBLE


class TooManyFailures(SearchError):
    """So many trials failed one after another that going on would waste the budget."""

    exit_code = ExitCode.TOO_MANY_FAILURES


class NothingLearned(SearchError):
    """The first trials of a study did no better than a constant prediction."""

    exit_code = ExitCode.TOO_MANY_FAILURES


class FingerprintMismatch(SearchError):
    """The study was made with another spec or with other objective code."""

    exit_code = ExitCode.MISMATCH


class StoredSpecUnreadable(SearchError):
    """The spec that the database holds of a study does not parse."""

    exit_code = ExitCode.MISMATCH


class Drained(SearchError):
    """The worker stopped on request with budget left: start it again to go on."""

    exit_code = ExitCode.DRAINED
    belongs_to_study = False


class Exhausted(SearchError):
    """Every feasible candidate has been tried: there is nothing left to propose."""

    exit_code = ExitCode.DONE


class TrainerDied(Exception):
    """The trainer ended in the middle of its work, or is of no more use.

    Attributes:
        out_of_memory: Whether the kernel killed it because memory ran out.
    """

    def __init__(self, message: str, *, out_of_memory: bool) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


def exit_code_of(error: BaseException) -> ExitCode | None:
    """Return the exit code of an error of ours, None for any other: that is a bug, or a user's."""
    if isinstance(error, SearchError | ObjectiveError | StorageError):
        return ExitCode(error.exit_code)
    return None
