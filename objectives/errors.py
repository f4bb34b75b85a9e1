"""What can be wrong with what a user hands in: a model, data, a metric or a reference to code.

ObjectiveError                (exit code 2)
├── ModelError                a builder or a family that cannot give the model asked for
├── DataError                 a data set that cannot be read, or cannot be trained on
├── MetricError               a metric or loss that is unknown, does not fit, or gives no number
├── ImportFailure             a reference such as `model.py:build` that leads nowhere
└── CostError                 a model whose costs cannot be counted

Every message is one clear sentence: what is wrong, what was found and expected, and what to do.
"""


def describe_error(error: BaseException) -> str:
    """Return what kind of exception it is and the first line of what it says."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(": ")


def as_exception(error: Exception | SystemExit) -> Exception:
    """Return the exception; a `ModelError` for the user's `sys.exit`, which must not end us."""
    if isinstance(error, Exception):
        return error
    return ModelError(
        f"the model's or the metric's code called exit({error.code}): let it raise an exception "
        "instead."
    )


class ObjectiveError(Exception):
    """Base of everything this room refuses; `exit_code` is what the command line leaves with."""

    exit_code: int = 2


class ModelError(ObjectiveError):
    """A builder or a model family that cannot give the model asked for."""


class DataError(ObjectiveError):
    """A data set that cannot be read, or cannot be trained on."""


class MetricError(ObjectiveError):
    """A metric or loss that is unknown, does not fit the task, or does not return a number."""


class ImportFailure(ObjectiveError):
    """A reference such as `model.py:build` that leads to nothing usable."""


class CostError(ObjectiveError):
    """A model whose costs cannot be counted without running it on real data."""
