"""The document: what stands in a report, in its order, before it becomes HTML or Markdown.

The verdict first, then pictures, then what the parts of the report say in words, then tables.
Entry point: `compose`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ....storage.ledger.slot import widths_key
from ...goal import GoalKind
from ...units import COST_BY_NAME, format_cost
from ..answer_lines import answer_lines, recommended_line, reported_line
from ..figures.figures import Figure, FigureGroup
from ..figures.view import INTERVAL, Candidate, StudyView
from ..metric_format import format_metric
from ..summary import FLOPS_NOTE, StudySummary, progress_line
from ..verdict import Verdict
from .tables import Table, comparison, contenders, failures, trials

PARTS = {
    "confirmation": "Confirmed with fresh seeds",
    "proxy_fidelity": "How far the short trainings can be trusted",
    "diagnosis": "Diagnosis",
    "rules": "Rules of thumb against this study",
}
"""Parts of a report that speak in sentences, by their names in `StudySummary`, with headings."""

_AFTER = {"confirmation": "confirmation", "proxy_fidelity": "confirmation", "diagnosis": "layers"}
"""The group of figures in which a part speaks, or behind which it stands."""


@dataclass(frozen=True, kw_only=True)
class DocumentSection:
    """One section of a report.

    Attributes:
        name: Letters and hyphens: its anchor.
        title: Its heading.
        sentences: What it says.
        figures: What it shows.
        tables: What it lists.
    """

    name: str
    title: str
    sentences: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """A report before it is written.

    Attributes:
        title: The study's name.
        progress: How far the study is.
        aim: What was looked for.
        verdict_word: The verdict in a word or two; empty where there is none.
        verdict_text: The verdict in a sentence, with numbers.
        widths_title: Which network the widths are of.
        widths: Name and width of the layers of the network to take; empty without one.
        facts: What is known of it: name and value.
        remarks: Further sentences that belong to the answer.
        sections: Everything else.
        notes: What holds for the whole report.
    """

    title: str
    progress: str
    aim: str
    verdict_word: str
    verdict_text: str
    widths_title: str
    widths: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    remarks: Sequence[str]
    sections: Sequence[DocumentSection]
    notes: Sequence[str] = field(default=(FLOPS_NOTE,))

    @property
    def verdict_class(self) -> str:
        """The verdict as a style sheet names it."""
        return self.verdict_word.replace(" ", "-")


def compose(study: StudyView, groups: Sequence[FigureGroup]) -> Document:
    """Put a report together.

    Args:
        study: What it is about.
        groups: Its figures.
    """
    summary = study.summary
    taken = study.recommended
    return Document(
        title=summary.study,
        progress=progress_line(summary).removeprefix(f"{summary.study}: "),
        aim=_aim(study),
        verdict_word=study.verdict_word,
        verdict_text=study.verdict_text,
        widths_title="" if taken is None else f"{_call(study)} ({study.recommended_title})",
        widths=[]
        if taken is None
        else [(name, f"{width:,}") for name, width in taken.widths.items()],
        facts=[] if taken is None else _facts(study, taken),
        remarks=_remarks(summary),
        sections=_sections(study, groups),
    )


def _remarks(summary: StudySummary) -> list[str]:
    """Return what else belongs to the answer; the card shows what is recommended by itself."""
    on_card = (recommended_line(summary), reported_line(summary))
    remarks = [line for line in answer_lines(summary) if line not in on_card]
    return [*_confirmed_remarks(summary), *remarks]


def _confirmed_remarks(summary: StudySummary) -> Sequence[str]:
    confirmation = summary.confirmation
    return confirmation.remarks if confirmation and confirmation.complete else ()


def _call(study: StudyView) -> str:
    """Return what to do with the widths; nobody is told to take what is not known to be good."""
    open_verdicts = (Verdict.UNDECIDED, Verdict.NOT_TRAINED, Verdict.TARGET_MISSED)
    is_open = study.summary.verdict in open_verdicts
    return "The likeliest widths so far" if is_open else "Take these widths"


def _aim(study: StudyView) -> str:
    """Return what was looked for, in a sentence."""
    goal = study.goal
    cost = COST_BY_NAME[goal.cost].title if goal.cost in COST_BY_NAME else goal.cost
    quality = f"validation {study.metric}"
    if goal.kind is GoalKind.BEST:
        return f"Looked for the best {quality} within the limits."
    if goal.kind is GoalKind.FRONT:
        return f"Looked for the front of {quality} and {cost}."
    if goal.target is None:
        return f"Looked for the least {cost} whose {quality} is as good as the best."
    bound = "at least" if goal.sign > 0 else "at most"
    return f"Looked for the least {cost} with a {quality} of {bound} {goal.target:g}."


def _facts(study: StudyView, candidate: Candidate) -> list[tuple[str, str]]:
    number = candidate.number
    facts = [*_confirmed_facts(study, candidate)]
    facts += [("trained", "never, only believed" if number is None else f"as trial {number}")]
    if candidate.value is not None:
        facts.append((f"validation {study.metric}, observed", format_metric(candidate.value)))
    facts += [
        (f"{name}, recorded beside it", format_metric(value))
        for trial in study.trials
        if trial.number == number
        for name, value in trial.reported.items()
    ]
    if candidate.mean is not None and candidate.deviation is not None:
        reach = INTERVAL * candidate.deviation
        believed = format_metric(candidate.mean, reach, with_deviation=True)
        facts.append((f"{study.metric} without luck (95 %)", believed))
    noise = None if study.summary.recommendation is None else study.summary.recommendation.noise
    if noise is not None:
        facts.append(("noise of one training", f"± {format_metric(noise, noise)} (1 s.d.)"))
    for cost in study.drawn_costs:
        if cost in candidate.costs:
            value = format_cost(cost, candidate.costs[cost])
            if cost in study.limits:
                value += f" of {format_cost(cost, study.limits[cost])}"
            facts.append((COST_BY_NAME[cost].title, value))
    return facts


def _confirmed_facts(study: StudyView, candidate: Candidate) -> list[tuple[str, str]]:
    """Return what trainings with fresh seeds say of a network; nothing where there were none."""
    confirmation = study.summary.confirmation
    key = widths_key(candidate.widths)
    for result in () if confirmation is None else confirmation.results:
        if result.contender.key == key:
            splits = (("validation", result.metric), ("test", result.test))
            return [
                (
                    f"{split} {study.metric}, {mean.count} fresh seeds (± s.e.)",
                    format_metric(study.goal.sign * mean.mean, mean.error, with_deviation=True),
                )
                for split, mean in splits
                if mean is not None
            ]
    return []


def _sections(study: StudyView, groups: Sequence[FigureGroup]) -> list[DocumentSection]:
    parts = {}
    for name, title in PARTS.items():
        part = getattr(study.summary, name, None)
        sentences = [] if part is None else list(part.sentences())
        # The verdict stands on top, with the confirmation's remarks.
        on_top = {study.verdict_text, *_confirmed_remarks(study.summary)}
        sentences = [line for line in sentences if line not in on_top]
        if sentences:
            anchor = name.replace("_", "-")
            parts[name] = DocumentSection(name=anchor, title=title, sentences=sentences)
    sections = []
    for group in groups:
        own = parts.pop(group.name, None)
        sections.append(
            DocumentSection(
                name=group.name,
                title=group.title,
                sentences=own.sentences if own else (),
                figures=group.figures,
                tables=contenders(study) if group.name == "confirmation" else (),
            )
        )
        behind = [name for name in parts if _AFTER.get(name) == group.name]
        sections += [parts.pop(name) for name in behind]
    sections += parts.values()
    sections.append(
        DocumentSection(name="networks", title="The networks", tables=[comparison(study)])
    )
    if study.trials:
        sections.append(DocumentSection(name="trials", title="Trials", tables=[trials(study)]))
    if study.summary.failed:
        sections.append(
            DocumentSection(name="failures", title="Failures", tables=[failures(study)])
        )
    return sections
