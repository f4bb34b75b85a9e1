"""A space divided by the answers to a builder's questions: within a part, it takes one way.

    partition = Partition(questions=(Question("==", a, b),))
    partition.codes(candidates)       # equal for two candidates exactly if all answers are

Entry points: `Partition`; `varying_questions` (those that candidates answer differently).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from ...trace.cuda_allocator import Integers
from .expression import Question

Codes = NDArray[np.uint64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
"""2**64 / golden ratio, odd: multiplying by it and adding spreads the answers over 64 bits."""


@final
@dataclass(frozen=True, kw_only=True)
class Partition:
    """Parts of a space by the answers to questions.

    Attributes:
        questions: What is asked of every candidate.
    """

    questions: tuple[Question, ...] = ()

    def codes(self, candidates: Integers) -> Codes:
        """Return a number for each candidate's part, [n]."""
        codes = np.zeros(len(candidates), dtype=np.uint64)
        for question in self.questions:
            answers = question.evaluate(candidates).astype(np.uint64)
            codes = (codes + answers + np.uint64(1)) * _MULTIPLIER
            codes ^= codes >> np.uint64(29)
        return codes

    def with_questions(self, questions: Iterable[Question]) -> "Partition":
        """Return the partition by these questions too."""
        return Partition(questions=tuple(dict.fromkeys((*self.questions, *questions))))

    def describe(self, names: Sequence[str]) -> str:
        """Return the questions as people write them."""
        return ", ".join(question.describe(names) for question in self.questions)


def varying_questions(questions: Iterable[Question], candidates: Integers) -> list[Question]:
    """Return the questions that divide some candidates from others, each division once.

    Args:
        questions: In the order of preference.
        candidates: Rows [n, d].
    """
    varying: list[Question] = []
    divisions: set[bytes] = set()
    for question in questions:
        answers = question.evaluate(candidates)
        if not len(answers) or (answers == answers[0]).all():
            continue
        _, division = np.unique(answers, return_inverse=True)
        # A question and its opposite divide alike.
        key = min(division.tobytes(), (division.max() - division).tobytes())
        if key not in divisions:
            divisions.add(key)
            varying.append(question)
    return varying
