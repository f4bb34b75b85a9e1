"""The contenders of a confirmation: the candidates that are trained again, long, with fresh seeds.

They are the recommended candidate, its runner-up, for a front its knee, and the plain baselines;
where several of them are the same network it is trained once and carries all their names.
Entry points: `choose_contenders`, `Contender`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from ....storage.ledger.slot import widths_key
from ...units import format_widths

if TYPE_CHECKING:
    from ..evidence import StudyEvidence

RECOMMENDED = "recommended"
RUNNER_UP = "runner-up"
KNEE = "knee of the front"
SEARCH_PICK = "the search's pick"
"""What people read for `RECOMMENDED`: whether it is to be recommended is for the race to say."""

SPREAD = "spread out"
"""Label of a candidate that is trained for the sake of `proxy_fidelity` alone."""

_CHALLENGERS = (RECOMMENDED, RUNNER_UP, KNEE)


class JudgedCandidate(Protocol):
    """What a recommendation says of a candidate, as far as a confirmation asks."""

    @property
    def widths(self) -> Mapping[str, int]:
        """Widths by name."""
        ...

    @property
    def costs(self) -> Mapping[str, float]:
        """Costs by name, as counted by its own trace."""
        ...


class Answer(Protocol):
    """A recommendation, as far as a confirmation asks."""

    @property
    def recommended(self) -> JudgedCandidate:
        """The candidate to take."""
        ...

    @property
    def runner_up(self) -> JudgedCandidate | None:
        """The next best that is no twin of it."""
        ...

    @property
    def knee(self) -> JudgedCandidate | None:
        """For the goal "front": where a little more metric begins to cost much."""
        ...

    @property
    def baselines(self) -> Mapping[str, JudgedCandidate]:
        """The plain baselines by name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A candidate that is confirmed.

    Attributes:
        label: The first of its names: "recommended", "runner-up", a baseline's and so on.
        widths: By name.
        costs: By name; FLOPs and parameters among them.
        labels: All its names, `label` the first.
    """

    label: str
    widths: Mapping[str, int]
    costs: Mapping[str, float]
    labels: Sequence[str] = ()

    @property
    def key(self) -> str:
        """What its trainings are found by: its widths."""
        return widths_key(self.widths)

    @property
    def title(self) -> str:
        """All its names for people."""
        return ", ".join(map(_name, self.labels or (self.label,)))

    @property
    def widths_text(self) -> str:
        """Its widths for people: `hidden1=64 hidden2=32`."""
        return format_widths(self.widths)

    @property
    def description(self) -> str:
        """What a sentence calls it: "the search's pick (hidden1=64)"."""
        return f"{self.name} ({self.widths_text})"

    @property
    def name(self) -> str:
        """The first of its names in a sentence: "the search's pick", "the runner-up"."""
        name = _name(self.label)
        return name if name.startswith("the ") else f"the {name}"

    @property
    def baseline_name(self) -> str | None:
        """Its name as a plain baseline; None where it is none."""
        names = [name for name in self.labels or (self.label,) if name not in _CHALLENGERS]
        return names[0] if names and names[0] != SPREAD else None

    @property
    def is_baseline(self) -> bool:
        """Whether it needs no search to be found."""
        return self.baseline_name is not None

    @property
    def is_challenger(self) -> bool:
        """Whether the search found it, and it has to prove better than the baselines."""
        return not self.is_baseline and self.label != SPREAD


def _name(label: str) -> str:
    return SEARCH_PICK if label == RECOMMENDED else label


def choose_contenders(
    evidence: StudyEvidence, recommendation: Answer, *, spread: int = 0
) -> list[Contender]:
    """Return whom to confirm: recommended, runner-up, knee, baselines, and some spread out.

    Args:
        evidence: Of the study; the spread-out candidates are among its trials.
        recommendation: Of the study.
        spread: How many further trained candidates to add, from the worst to the best, so that
            short and long trainings can be compared over more than the best few.
    """
    named: list[tuple[str, JudgedCandidate | None]] = [
        (RECOMMENDED, recommendation.recommended),
        (RUNNER_UP, recommendation.runner_up),
        (KNEE, recommendation.knee),
        *recommendation.baselines.items(),
    ]
    limits: Mapping[str, float] = evidence.spec.limits.bounds
    contenders: dict[str, Contender] = {}
    for label, candidate in named:
        # Today's model is a baseline even where it breaks a limit, and is not trained then.
        if candidate is None or _breaks_limit(candidate.costs, limits):
            continue
        key = widths_key(candidate.widths)
        known = contenders.get(key)
        if known is not None:
            contenders[key] = replace(known, labels=(*known.labels, label))
            continue
        contenders[key] = Contender(
            label=label, widths=candidate.widths, costs=candidate.costs, labels=(label,)
        )
    trials = [
        trial
        for trial in sorted(evidence.trials, key=lambda trial: trial.value)
        if widths_key(trial.widths) not in contenders
    ]
    for index in _evenly(len(trials), spread):
        trial = trials[index]
        contenders[widths_key(trial.widths)] = Contender(
            label=SPREAD, widths=trial.widths, costs=trial.costs, labels=(SPREAD,)
        )
    return list(contenders.values())


def _breaks_limit(costs: Mapping[str, float], limits: Mapping[str, float]) -> bool:
    return any(costs[name] > limit for name, limit in limits.items() if name in costs)


def _evenly(length: int, count: int) -> list[int]:
    """Return `count` indices of a list, the middles of as many equal parts of it."""
    count = min(count, length)
    return [(2 * part + 1) * length // (2 * count) for part in range(count)]
