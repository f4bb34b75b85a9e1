"""What stands in a report, and in which order."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from widthwise.search.report.figures.figures import draw_figures
from widthwise.search.report.figures.view import StudyView
from widthwise.search.report.page.document import compose
from widthwise.search.report.verdict import Verdict
from widthwise.tests.search.report.made_study import make_study


def part(*sentences: str) -> Any:
    return SimpleNamespace(
        sentences=lambda: list(sentences),
        to_json=dict,
        verdict=Verdict.NO_GAIN,
        verdict_text="No gain found.",
        complete=True,
    )


def with_parts(study: StudyView, **parts: Any) -> StudyView:
    summary = replace(study.summary)
    for name, value in parts.items():
        object.__setattr__(summary, name, value)
    return StudyView(evidence=study.evidence, summary=summary)


def test_pictures_come_before_tables() -> None:
    study = make_study()
    document = compose(study, draw_figures(study))
    shown = [section for section in document.sections if section.figures or section.tables]
    has_figures = [bool(section.figures) for section in shown]
    assert has_figures == sorted(has_figures, reverse=True)
    assert [section.name for section in document.sections if section.tables] == [
        "networks",
        "trials",
    ]


def test_facts_of_the_recommended_have_units_and_spread() -> None:
    facts = dict(compose(make_study(), []).facts)
    assert "±" in facts["accuracy without luck (95 %)"]
    assert facts["parameters"].endswith(" of 30,000")
    assert facts["training memory"].endswith("KiB")


@pytest.mark.parametrize(
    ("verdict", "title"),
    [
        (Verdict.NO_GAIN, "Take these widths"),
        (Verdict.UNDECIDED, "The likeliest widths so far"),
        (Verdict.NOT_TRAINED, "The likeliest widths so far"),
    ],
)
def test_only_widths_that_are_known_to_be_good_are_to_be_taken(
    verdict: Verdict, title: str
) -> None:
    study = make_study()
    assert study.summary.recommendation is not None
    answer = replace(study.summary.recommendation, verdict=verdict)
    summary = replace(study.summary, recommendation=answer)
    document = compose(StudyView(evidence=study.evidence, summary=summary), [])
    assert document.widths_title == f"{title} (recommended)"


def test_parts_speak_where_they_belong() -> None:
    study = with_parts(make_study(), proxy_fidelity=part("It held."), diagnosis=part("Widen it."))
    document = compose(study, draw_figures(study))
    names = [section.name for section in document.sections]
    assert names.index("layers") < names.index("diagnosis") < names.index("learning")
    assert "proxy-fidelity" in names
    assert document.sections[names.index("diagnosis")].sentences == ["Widen it."]


def test_what_a_confirmation_remarks_stands_with_the_verdict_alone() -> None:
    remark = "Another model is better here: boosted trees."
    confirmed = part("Confirmed: no gain.", remark, "Held by five seeds.")
    confirmed.complete, confirmed.remarks, confirmed.results = True, [remark], []
    confirmed.names_better_model, confirmed.verdict = True, Verdict.NO_GAIN
    confirmed.verdict_text, confirmed.chosen = "Confirmed: no gain.", None
    document = compose(with_parts(make_study(), confirmation=confirmed), [])
    assert remark in document.remarks
    (section,) = [section for section in document.sections if section.name == "confirmation"]
    assert section.sentences == ["Held by five seeds."]


def test_parts_speak_in_a_report_without_figures() -> None:
    document = compose(with_parts(make_study(), rules=part("Half of them held.")), [])
    assert "rules" in [section.name for section in document.sections]


def test_failures_are_listed_with_their_reason() -> None:
    document = compose(make_study(5, failed=2), [])
    (failures,) = [section for section in document.sections if section.name == "failures"]
    assert [row.cells[-1] for row in failures.tables[0].rows] == ["ValueError: it broke"] * 2
