"""What can be wrong with what a user hands in: a model, data, a metric or a reference to code.

ObjectiveError                (exit code 2)
├── ModelError                a builder or a family that cannot give the model asked for
├── DataError                 a data set that cannot be read, or cannot be trained on
├── MetricError               a metric or loss that is unknown, does not fit, or gives no number
├── ImportFailure             a reference such as `model.py:build` that leads nowhere
├── CostError                 a model whose costs cannot be counted
└── TrainingError             a training of the user's own that raised, or gave no value

StopTraining                  no error: what ends a training of the user's own from inside

Every message is one clear sentence: what is wrong, what was found and expected, and what to do.
The functions below the classes phrase the parts that recur. Nothing here imports torch: the command
line's exit path needs these classes.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from .interrupt import raise_if_interrupt

T = TypeVar("T")

_MAX_ERROR_LETTERS = 300
_MAX_VALUE_LETTERS = 60


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


class TrainingError(ObjectiveError):
    """A training of the user's own that raised, or that gave no value to judge it by."""


class StopTraining(BaseException):
    """Raised by `trial.report` where a training of the user's own is to end; nobody need catch it.

    It is no `Exception`, so that `except Exception` around a step lets it through. Whoever catches
    it all the same changes nothing: what the training does from then on is not recorded.
    """


def error_message(error: BaseException) -> str:
    """Return what an exception says; "" where its own `__str__` raises."""
    try:
        return str(error)
    except Exception:
        return ""


def describe_error(error: BaseException) -> str:
    """Return what kind of exception it is and the first line of what it says, cut off if long."""
    message = error_message(error).strip().partition("\n")[0]
    if isinstance(error, SystemExit):
        return f"SystemExit{'' if error.code is None else f': {message}'}, as sys.exit does"
    return f"{type(error).__name__}: {message:.{_MAX_ERROR_LETTERS}}".rstrip(": .")


def describe_value(value: object) -> str:
    """Return a value and its type in one short line, whatever its own `__repr__` does."""
    if value is None:
        return "None"
    kind = type(value).__name__
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a whole number of more than 4,300 digits, for one
        return f"a value of type {kind}"
    return f"{text:.{_MAX_VALUE_LETTERS}} ({kind})"


def describe_type(value: object) -> str:
    """Return what kind of value it is: "a Linear", "an int", or "None"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def describe_shape(value: object) -> str:
    """Return the shape of a tensor or array; the name of the type of anything else."""
    shape = getattr(value, "shape", None)
    return str(tuple(shape)) if isinstance(shape, tuple) else type(value).__name__


def describe_dtype(dtype: object) -> str:
    """Return the name of torch's type: "int64"."""
    return str(dtype).removeprefix("torch.")


def did_you_mean(name: str, known: Iterable[str], count: int = 1) -> str:
    """Return "did you mean 'NAME'?" for up to `count` known names close to this one, or ""."""
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), by_lower_case, n=count)
    names = " or ".join(f"'{by_lower_case[match]}'" for match in close)
    return f"did you mean {names}?" if names else ""


def unknown_name_message(
    kind: str, name: str, known: Iterable[str], choices: str, context: str = ""
) -> str:
    """Return the sentence for a name that is none of the known ones.

    Args:
        kind: What the name is of, such as "metric".
        name: As the user wrote it.
        known: The names that there are.
        choices: What to choose, such as "one of a, b".
        context: Where the name is looked for, such as " of family 'mlp'".
    """
    hint = did_you_mean(name, known)
    return f"there is no {kind} '{name}'{context}: {hint + ' ' if hint else ''}Choose {choices}."


def look_up(
    kind: str,
    name: str,
    registry: Mapping[str, T],
    *,
    choices: str,
    error: type[ObjectiveError],
    context: str = "",
) -> T:
    """Return what a registry has under a name; raise `error` with what to choose instead.

    Args:
        kind: What the name is of, such as "metric".
        name: As the user wrote it.
        registry: By name.
        choices: What to choose, such as "one of a, b".
        error: The exception for an unknown name.
        context: Where the name is looked for, such as " of family 'mlp'".
    """
    if name in registry:
        return registry[name]
    raise error(unknown_name_message(kind, name, registry, choices, context))


def as_exception(error: BaseException) -> Exception:
    """Return what user code raised; a `ModelError` for what would end a program, and must not us.

    Raises:
        KeyboardInterrupt: It is a person's Ctrl-C.
    """
    if isinstance(error, Exception):
        return error
    raise_if_interrupt(error)
    deed = (
        f"called exit({error.code})"
        if isinstance(error, SystemExit)
        else f"raised {describe_error(error)}, which is not an Exception"
    )
    model_error = ModelError(
        f"the model's or the metric's code {deed}: let it raise an exception instead."
    )
    model_error.__cause__ = error  # with its traceback
    return model_error
