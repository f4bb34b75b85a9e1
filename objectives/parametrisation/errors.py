"""What keeps muP from being applied.

ObjectiveError                (exit code 2)
└── Inapplicable              a model that muP cannot be derived for, with the reason

A study that did not ask for muP by name falls back to the standard parametrisation and reports it.
"""

from ..errors import ObjectiveError


class MupInapplicable(ObjectiveError):
    """muP cannot be applied to a model; the message is one sentence that names the parameter."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"muP cannot be applied: {problem}.")
