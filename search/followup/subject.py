"""What an experiment is about: a study, its problem, and the widths that all but one keep.

Entry points: `Subject`, `load_subject`; `trial_widths`; `shared_options`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...objectives.model.objective import ModuleObjective
from ...storage.database.database import Database
from ...storage.ledger.queries import LedgerReader
from ...storage.study.study import load_study
from ..command import format_command
from ..errors import SpecError
from ..problem.problem import Problem
from ..problem.seeds import experiment_seed
from ..problem.stored import base_folder, check_fingerprint
from ..report.evidence import StudyEvidence, load_evidence
from ..report.experiments.experiment_run import ExperimentRun, read_runs


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A study to experiment with.

    Attributes:
        evidence: All that it has found.
        problem: Its model, data and limits.
        widths: Those recommended, or as they were asked for instead.
    """

    evidence: StudyEvidence
    problem: Problem
    widths: Mapping[str, int]

    @property
    def name(self) -> str:
        """The study's name."""
        return self.evidence.row.name

    @property
    def spec_changes(self) -> Mapping[str, Any]:
        """Changes of the spec that every experiment makes: each training goes to its end."""
        return {} if self.evidence.spec.proxy.halving is None else {"proxy.halving": None}

    @property
    def known_noise(self) -> float | None:
        """Standard deviation of one training by the study's surrogate; None where there is none."""
        posterior = self.evidence.posterior
        return None if posterior is None else posterior.metric.noise_deviation

    def seeds(self, count: int) -> list[int]:
        """Return seeds to train with, none of them a trial's.

        The training that made these widths the recommended ones was lucky among many, so it says
        too much of them beside others that nobody selected.
        """
        study_seed = self.evidence.spec.study.seed
        return [experiment_seed(study_seed, index) for index in range(count)]

    def loop_objective(self, verb: str) -> ModuleObjective:
        """Return what Widthwise's own loop trains.

        Args:
            verb: What asks for it, for people: "refine".

        Raises:
            SpecError: The study's training is the user's own.
        """
        objective = self.problem.loop_objective
        if objective is None:
            instead = format_command("sweep", self.name, options=["--width", "WIDTH"])
            raise SpecError(
                f"{verb} changes what Widthwise's own training does, and {self.name} is trained by "
                f"{self.problem.objective.name}; `{instead}` moves a width"
            )
        return objective

    def violated_limits(self, costs: Mapping[str, int]) -> list[str]:
        """Return the names of the limits that costs break."""
        violations = self.problem.limits.violations(costs)
        return [name for name, violation in violations.items() if violation > 0]

    def known_runs(self, kinds: Iterable[str]) -> list[ExperimentRun]:
        """Return trainings of the follow-up studies of some kinds.

        Args:
            kinds: How the follow-up studies' names begin behind the study's.
        """
        runs: list[ExperimentRun] = []
        for detail, records in self.evidence.follow_ups.items():
            if any(detail.startswith(kind) for kind in kinds):
                runs += read_runs(records, f"{self.name}/{detail}")
        return runs


def load_subject(
    database: Database,
    name: str,
    at: Mapping[str, int] | None = None,
    *,
    moved: str | None = None,
    flag: str = "--at",
) -> Subject:
    """Return a study to experiment with, at its recommended widths.

    Args:
        database: Where it is.
        name: Its name.
        at: Widths to keep instead of those recommended.
        moved: The width that is not kept.
        flag: What the widths to keep were given for.

    Raises:
        StudyNotFound: There is no such study.
        FingerprintMismatch: Its code or data are not what it was started with.
        SpecError: There are no such widths, or none is recommended yet and `at` leaves some open.
        ObjectiveError: Its model or its data are not on this machine, or do not work here.
    """
    evidence = load_evidence(database, name)
    space, chosen = evidence.space, dict(at or {})
    known = f"the widths of {name}: {', '.join(space.names)}"
    if moved is not None and moved not in space.names:
        raise SpecError(f'--width: found "{moved}", expected one of {known}')
    unknown = [width for width in chosen if width not in space.names]
    if unknown:
        raise SpecError(f'{flag}: found "{unknown[0]}", expected some of {known}')
    check_fingerprint(evidence.row)
    missing = set(space.names) - chosen.keys()
    if missing:
        recommended = _recommended_widths(evidence)
        if recommended is None and missing != {moved}:
            raise SpecError(
                f"{name}: no trial is complete yet, so no widths are recommended; "
                f"`{format_command('status', name)}` shows its trials"
            )
        chosen = {**(recommended or {}), **chosen}
    candidates = [chosen] if chosen.keys() == set(space.names) else []
    if moved is not None:
        # What is recommended for it may not go with the widths that are kept.
        lattice = next(width for width in space.widths if width.name == moved)
        candidates += [{**chosen, moved: value} for value in lattice.values]
    reasons = [space.explain(candidate) for candidate in candidates]
    if None not in reasons:
        raise SpecError(f"{flag}: {reasons[0]}")
    widths = candidates[reasons.index(None)]
    return Subject(
        evidence=evidence,
        problem=evidence.problem
        or Problem.load(evidence.spec, base_folder(evidence.row), evidence.row.costs),
        widths={width: widths[width] for width in space.names},
    )


def trial_widths(database: Database, name: str, number: int) -> dict[str, int]:
    """Return the widths of a study's trial.

    Raises:
        StudyNotFound: There is no such study.
        SpecError: It has no such trial, or that has no widths yet.
    """
    records = LedgerReader(database, load_study(database, name)).records()
    record = next((record for record in records if record.number == number), None)
    if record is None or record.widths is None:
        numbers = [one.number for one in records if one.widths is not None]
        known = f"one of 0 to {max(numbers)}" if numbers else "one that has widths, and none has"
        raise SpecError(f"--trial: found {number}, expected a trial of {name}: {known}")
    return dict(record.widths)


def shared_options(at: Mapping[str, int], seeds: int) -> list[str]:
    """Return the options that verbs of experiments have in common, as a person would give them."""
    chosen = ["--at", ",".join(f"{name}={width}" for name, width in at.items())] if at else []
    return [*chosen, "--seeds", str(seeds)]


def _recommended_widths(evidence: StudyEvidence) -> Mapping[str, int] | None:
    """Return the widths to take, as the report says them; None while no trial is complete."""
    from ..report.confirmation.from_evidence import read_confirmation
    from ..report.recommendation.recommendation import recommend

    answer = recommend(evidence)
    confirmation, _ = read_confirmation(evidence, answer)
    if confirmation is not None and confirmation.complete and confirmation.chosen is not None:
        return confirmation.chosen.widths
    return None if answer is None else answer.recommended.widths
