"""Errors of the storage, each with the exit code of the command that meets it.

    StorageError                 69
    ├── StorageUnreachable       69   the database is not there, refuses us, or stays away
    │   ├── StorageGone          69   the database's file was deleted or replaced under us
    │   └── NoStudies            69   neither it nor our tables have been made yet
    ├── UrlRefused                2   the storage URL itself is wrong
    ├── StudyNotFound             2   no study of that name
    ├── BudgetRefused             2   a budget below the slots that exist
    ├── PriorityRefused           2   a priority beyond what the database holds
    ├── TrialRefused              2   a trial that is not there, or done, and cannot be controlled
    ├── PortRefused               2   the dashboard cannot listen where it was asked to
    ├── StudyMismatch             5   the study exists with another spec
    ├── SchemaMismatch            5   the tables were made by another release
    └── LeaseLost                75   the slot belongs to another holder now

Every message is one sentence and never holds a password. `exit_code` is the command line's, when
such an error reaches it.
"""


class StorageError(Exception):
    """Base of the storage's errors."""

    exit_code: int = 69


class StorageUnreachable(StorageError):
    """The database cannot be reached, opened or written to."""


class StorageGone(StorageUnreachable):
    """The file of the database was deleted, or another one was put into its place."""


class NoStudies(StorageUnreachable):
    """The database, or its tables, have not been made yet."""


class UrlRefused(StorageError):
    """A storage URL that cannot be read, or names an engine that is not supported."""

    exit_code = 2


class StudyNotFound(StorageError):
    """The database holds no study of that name."""

    exit_code = 2


class BudgetRefused(StorageError):
    """A budget that would take away slots which exist."""

    exit_code = 2


class PriorityRefused(StorageError):
    """A priority that the database cannot hold."""

    exit_code = 2


class TrialRefused(StorageError):
    """A trial that does not exist, or is done, cannot be paused, continued or cancelled."""

    exit_code = 2


class PortRefused(StorageError):
    """The dashboard cannot listen on the address it was given."""

    exit_code = 2


class StudyMismatch(StorageError):
    """A study of that name exists, but it is another one."""

    exit_code = 5


class SchemaMismatch(StorageError):
    """The tables were made by another release than this one."""

    exit_code = 5


class LeaseLost(StorageError):
    """A fenced statement matched no row: another holder has the slot."""

    exit_code = 75
