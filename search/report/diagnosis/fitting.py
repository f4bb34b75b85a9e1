"""Over- and underfitting, by stated rules on the recorded curves of a training.

Losses are compared as windows: means over a twentieth of the validations, three at least, at the
kept weights (the lowest smoothed validation loss) and at the end.

* Overfitting, by the gap: the validation loss at the kept weights is more than 1.5 times the
  training loss, and the gap is at least 1 % of the loss at the start: next to nothing has ratios,
  too.
* Overfitting, by the rise: from the kept weights to the end the validation loss rises by more than
  5 % (the generalisation loss GL of Prechelt, Early Stopping – But When?, 1998, eq. 1, α = 5) and
  by more than five of its standard errors, while the training loss falls by at least 2 %. The kept
  weights are those before the rise; it says that longer trainings would only learn by heart.
* Underfitting: both losses are high: no gap, and the metric has come less than a fifth of the way
  from the constant prediction to a perfect one, while another model on the same rows came clearly
  further (a quarter more of the way). Where none did, the data may tell no more.
* Too short: the validation loss is lowest at the very end of a training that used all its epochs,
  and fell there by at least 2 %, and five standard errors, over the last tenth.
* Samples per parameter: fewer than 10 are few, 100 are plenty. A network of W weights needs some
  W / ε samples for a share ε of errors (Baum and Haussler, What Size Net Gives Valid
  Generalization?, Neural Computation 1, 1989): 10 a weight for a tenth, 100 for a hundredth. Nets
  with fewer may generalise all the same (Zhang et al., ICLR 2017), so this is told beside the
  curves, never instead of them.

Dropout and noise on inputs raise the training loss only, weight decay is in neither, and the
training loss of an epoch is the mean while its weights still improve: each makes the gap look
smaller, so the first rule misses rather than alarms. Curves of folds and replicas are means, the
weights are kept one by one: the lowest point of the mean stands for them. Losses below zero have no
ratio; the first rule is silent there.

Entry points: `diagnose_fitting`, `judge_curves`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from ...command import format_command
from ...surrogate.observations import Floats
from ...trial.history import CompletedTrial
from ...units import format_count
from ..metric_format import PERFECT

if TYPE_CHECKING:
    from ..evidence import StudyEvidence

GAP_RATIO = 1.5
"""Validation loss over training loss from which a network overfits."""
GAP_SHARE = 0.01
"""Least gap, as a share of the loss at the start."""
RISE_SHARE = 0.05
"""Rise of the validation loss from which overfitting has set in: Prechelt's GL at α = 5."""
RISE_ERRORS = 5.0
"""The same in standard errors of a window: the lowest window is a lucky one of dozens."""
FALL_SHARE = 0.02
"""Least fall of a loss that counts as one."""
UNDERFIT_SHARE = 0.2
"""Share of the way from constant to perfect below which a network has learnt little."""
BETTER_SHARE = 0.25
"""By how much further, on that way, another model must have come to show that more was there."""
FEW_SAMPLES, MANY_SAMPLES = 10.0, 100.0
"""Samples per parameter (Baum and Haussler, 1989)."""
WINDOW_SHARE, MIN_WINDOW = 0.05, 3
MIN_VALIDATIONS = 12
"""Validations below which no rise and no trend is told."""
TREND_LEVEL = 0.05
"""Significance of the rank correlation between size and gap."""


class Fitting(enum.StrEnum):
    """What the curves of a training say.

    Attributes:
        OVERFIT: It learns the training rows by heart.
        UNDERFIT: It has learnt less than there is.
        TOO_SHORT: It was still getting better at its end.
        GOOD: None of these.
        UNKNOWN: It has no curves, or the rules are silent.
    """

    OVERFIT = "overfit"
    UNDERFIT = "underfit"
    TOO_SHORT = "too short"
    GOOD = "good"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class CurveFindings:
    """What the rules say of one training's curves.

    Attributes:
        ratio: Validation loss over training loss at the kept weights; None where it has none.
        gap: Whether the first rule holds.
        rise: Rise of the validation loss after them, as a share; None where validations are few.
        rises: Whether the second rule holds.
        still_falling: Whether the training was too short.
    """

    ratio: float | None
    gap: bool
    rise: float | None
    rises: bool
    still_falling: bool

    @property
    def overfit(self) -> bool:
        """Whether one of the two rules holds."""
        return self.gap or self.rises


@dataclass(frozen=True, kw_only=True)
class FittingDiagnosis:
    """Over- and underfitting of the recommended network and of the study.

    Attributes:
        study: Its name, for commands.
        trial: Number of the training whose curves were read; None where none has any.
        is_recommended: Whether it is the recommended network's; else that of its nearest.
        fitting: What they say.
        findings: The figures; None without curves.
        learnt: Share of the way from constant to perfect; None where that is unknown.
        overfit_share: Share of the study's trainings that overfit; None without curves.
        trend: Rank correlation of size and the losses' ratio where it is significant, else None.
        samples_per_parameter: Training rows per parameter; None where not known.
        parameters: Of the recommended network; None where not known.
    """

    study: str
    trial: int | None
    is_recommended: bool
    fitting: Fitting
    findings: CurveFindings | None
    learnt: float | None
    overfit_share: float | None
    trend: float | None
    samples_per_parameter: float | None
    parameters: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        findings = self.findings
        return {
            "trial": self.trial,
            "is_recommended": self.is_recommended,
            "fitting": str(self.fitting),
            "curves": asdict(findings) if findings else None,
            "learnt": self.learnt,
            "overfit_share": self.overfit_share,
            "size_trend": self.trend,
            "samples_per_parameter": self.samples_per_parameter,
        }

    def sentences(self) -> list[str]:
        """Return what a person reads: the recommended network, the study, the rows."""
        sentences = [self.sentence()]
        if self.overfit_share:
            trend = ""
            if self.trend is not None:
                word = "more" if self.trend > 0 else "less"
                trend = f"; larger ones {word} so (rank correlation {self.trend:+.2f})"
            sentences.append(f"{self.overfit_share:.0%} of the trainings overfit{trend}.")
        if self.samples_per_parameter is not None and self.parameters is not None:
            sentences.append(self._samples_sentence())
        return sentences

    def sentence(self) -> str:
        """Return what is said of the recommended network, with what to do."""
        who = "The recommended network"
        if not self.is_recommended:
            who = f"The training nearest to the recommended network (trial {self.trial})"
        refine = format_command("refine", self.study)
        match self.fitting:
            case Fitting.OVERFIT:
                return (
                    f"{who} overfits: {self._overfit_reason()}. Try dropout and weight decay "
                    f"(`{refine}`), or more rows."
                )
            case Fitting.UNDERFIT:
                return (
                    f"{who} underfits: it has come {self.learnt:.0%} of the way from the constant "
                    "prediction to a perfect one, another model on the same rows further. Try "
                    f"another learning rate (`{refine}`), wider layers, or longer trainings."
                )
            case Fitting.TOO_SHORT:
                return (
                    f"{who} was trained too short: its validation loss still fell at the end. "
                    "Raise proxy.epochs."
                )
            case Fitting.GOOD:
                ratio = self.findings.ratio if self.findings else None
                told = "" if ratio is None else f" (validation loss {ratio:.2g} × training loss)"
                if ratio is not None and ratio > GAP_RATIO:
                    told = f" (both losses are next to nothing, their ratio is {ratio:.2g})"
                return f"{who} shows neither over- nor underfitting{told}."
            case _:
                return "Over- or underfitting: no training has curves that tell."

    def _overfit_reason(self) -> str:
        assert self.findings is not None
        reasons = []
        if self.findings.gap and self.findings.ratio is not None:
            reasons.append(
                f"its validation loss is {self.findings.ratio:.1f} times its training loss "
                f"(the rule: over {GAP_RATIO})"
            )
        if self.findings.rises and self.findings.rise is not None:
            reasons.append(
                f"after the kept weights validation loss rose by {self.findings.rise:.0%} while "
                "training loss fell"
            )
        return " and ".join(reasons)

    def _samples_sentence(self) -> str:
        assert self.samples_per_parameter is not None
        assert self.parameters is not None
        ratio = self.samples_per_parameter
        told = f"{ratio:.2g} training rows per parameter ({format_count(self.parameters)})"
        if ratio < FEW_SAMPLES:
            rule = f"fewer than {FEW_SAMPLES:.0f}, the least by the rule of Baum and Haussler"
        elif ratio < MANY_SAMPLES:
            rule = f"between {FEW_SAMPLES:.0f} and {MANY_SAMPLES:.0f}: enough by rule of thumb"
        else:
            rule = f"over {MANY_SAMPLES:.0f}: plenty"
        curves = (
            "; the curves show no overfitting all the same"
            if ratio < FEW_SAMPLES and self.fitting in (Fitting.GOOD, Fitting.TOO_SHORT)
            else ""
        )
        return f"{told}: {rule}{curves}."


def diagnose_fitting(
    evidence: StudyEvidence,
    recommended: CompletedTrial | None,
    *,
    is_recommended: bool,
    rows: int | None,
    parameters: int | None,
) -> FittingDiagnosis:
    """Judge the curves of a study.

    Args:
        evidence: The study.
        recommended: The training whose curves stand for the recommended network; None for none.
        is_recommended: Whether it is that network's own.
        rows: Rows that a training sees, where that is known.
        parameters: Of the recommended network, where that is known.
    """
    found = {
        trial.number: findings
        for trial in evidence.trials
        if (findings := judge_curves(trial)) is not None
    }
    # Its own: it may be a training of the confirmation, whose numbers are others.
    own = judge_curves(recommended) if recommended else None
    learnt = None
    if recommended is not None:
        learnt = _share_of_way(evidence, recommended.value, recommended.constant_score)
    overfit = [findings.overfit for findings in found.values()]
    return FittingDiagnosis(
        study=evidence.row.name,
        trial=recommended.number if recommended else None,
        is_recommended=is_recommended,
        fitting=_classify(own, learnt, evidence),
        findings=own,
        learnt=learnt,
        overfit_share=float(np.mean(overfit)) if overfit else None,
        trend=_trend(evidence.trials, found),
        samples_per_parameter=rows / parameters if rows and parameters else None,
        parameters=parameters,
    )


def judge_curves(trial: CompletedTrial) -> CurveFindings | None:
    """Apply the rules to one training; None where it has no losses."""
    count = min(len(trial.losses), len(trial.validation_losses))
    if not count:
        return None
    training = np.asarray(trial.losses[:count], dtype=np.float64)
    validation = np.asarray(trial.validation_losses[:count], dtype=np.float64)
    window = min(count, max(MIN_WINDOW, round(WINDOW_SHARE * count)))
    smooth_training, smooth_validation = _windows(training, window), _windows(validation, window)
    kept = int(np.argmin(smooth_validation))
    if trial.best_epoch is not None and trial.spread is None:
        kept = min(max(trial.best_epoch - window + 1, 0), len(smooth_validation) - 1)
    low_training, low_validation = smooth_training[kept], smooth_validation[kept]
    ratio = None
    if low_training > 0 and low_validation > 0:
        ratio = float(low_validation / low_training)
    start = max(float(training[0]), float(validation[0]))
    gap = (
        ratio is not None
        and ratio > GAP_RATIO
        and low_validation - low_training >= GAP_SHARE * start
    )
    rise, rises = None, False
    error = _window_error(validation, window) if count > 1 else 0.0
    if count >= MIN_VALIDATIONS and low_validation > 0:
        rise = float(smooth_validation[-1] / low_validation - 1.0)
        rises = (
            rise > RISE_SHARE
            and smooth_validation[-1] - low_validation > RISE_ERRORS * error
            and smooth_training[-1] <= (1.0 - FALL_SHARE) * low_training
        )
    return CurveFindings(
        ratio=ratio,
        gap=bool(gap),
        rise=rise,
        rises=bool(rises),
        still_falling=_still_falling(smooth_validation, kept, count, error),
    )


def _classify(
    findings: CurveFindings | None, learnt: float | None, evidence: StudyEvidence
) -> Fitting:
    if findings is None:
        return Fitting.UNKNOWN
    if findings.overfit:
        return Fitting.OVERFIT
    if learnt is not None and learnt < UNDERFIT_SHARE:
        best = _best_reference(evidence)
        if best is not None and best > learnt + BETTER_SHARE:
            return Fitting.UNDERFIT
    return Fitting.TOO_SHORT if findings.still_falling else Fitting.GOOD


def _windows(values: Floats, window: int) -> Floats:
    """Return running means, [n − window + 1]."""
    return np.asarray(np.convolve(values, np.ones(window) / window, mode="valid"))


def _window_error(values: Floats, window: int) -> float:
    """Return the standard error of a window's mean, from the differences of neighbours.

    Var(x − y) = 2σ² for independent noise around a curve that hardly moves in a step (von Neumann,
    Ann. Math. Stat. 12, 1941); the median keeps a jump out of it: for a normal distribution the
    median of |x − y| is 0.954 σ.
    """
    return float(np.median(np.abs(np.diff(values))) / 0.954 / np.sqrt(window))


def _still_falling(smooth_validation: Floats, kept: int, count: int, error: float) -> bool:
    """Return whether the lowest validation loss is the last, and was falling before it."""
    length = len(smooth_validation)
    if count < MIN_VALIDATIONS or kept < length - 1 - length // 50:
        return False
    before = smooth_validation[length - 1 - max(1, round(0.1 * length))]
    return bool(before - smooth_validation[-1] > max(FALL_SHARE * before, RISE_ERRORS * error))


def _share_of_way(evidence: StudyEvidence, value: float, constant: float | None) -> float | None:
    """Return how far a metric is on the way from the constant prediction to a perfect one."""
    perfect = PERFECT.get(evidence.spec.metric)
    if perfect is None or constant is None or perfect == constant:
        return None
    return (value - constant) / (perfect - constant)


def _best_reference(evidence: StudyEvidence) -> float | None:
    """Return how far the best model other than a network has come on that way."""
    constant = next((each.value for each in evidence.references if each.name == "constant"), None)
    ways = [
        way
        for each in evidence.references
        if each.name != "constant"
        and (way := _share_of_way(evidence, each.value, constant)) is not None
    ]
    return max(ways, default=None)


def _trend(trials: Sequence[CompletedTrial], found: dict[int, CurveFindings]) -> float | None:
    """Return Spearman's rank correlation of parameters and ratio where it is significant."""
    pairs = [
        (trial.costs["parameters"], findings.ratio)
        for trial in trials
        if (findings := found.get(trial.number)) is not None
        and findings.ratio is not None
        and "parameters" in trial.costs
    ]
    if len(pairs) < MIN_VALIDATIONS:
        return None
    sizes, ratios = zip(*pairs, strict=True)
    if len(set(sizes)) < 2 or len(set(ratios)) < 2:
        return None
    outcome = scipy.stats.spearmanr(sizes, ratios)
    return float(outcome.statistic) if outcome.pvalue < TREND_LEVEL else None
