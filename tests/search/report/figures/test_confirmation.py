"""The figure of a confirmation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from widthwise.search.follow_up_kind import FollowUpKind
from widthwise.search.problem.seeds import confirmation_seed
from widthwise.search.report.figures.confirmation import draw_confirmation
from widthwise.search.report.figures.figures import draw_figures
from widthwise.search.report.figures.view import StudyView
from widthwise.search.report.page.document import compose
from widthwise.search.report.summary import build_summary
from widthwise.storage.ledger.slot import SlotRecord
from widthwise.tests.search.report.made_study import made_record, make_evidence, make_study


@pytest.fixture(scope="module")
def study() -> StudyView:
    """A study whose recommended and baselines were trained with five fresh seeds each."""
    evidence = make_evidence(12)
    summary = build_summary(evidence)
    assert summary.recommendation is not None
    named = [summary.recommendation.recommended, *summary.baselines.values()]
    records: list[SlotRecord] = []
    for candidate in named:
        for index in range(5):
            number = len(records)
            value = 0.95 + 0.001 * index + 0.002 * len(candidate.widths)
            seed = confirmation_seed(evidence.spec.study.seed, index)
            records.append(replace(made_record(number, candidate.widths, value), seed=seed))
    evidence = replace(evidence, follow_ups={FollowUpKind.CONFIRMATION: records})
    return StudyView(evidence=evidence, summary=build_summary(evidence))


def test_every_contender_has_its_row(study: StudyView) -> None:
    drawing = draw_confirmation(study)
    assert drawing is not None
    assert study.summary.confirmation is not None
    for result in study.summary.confirmation.results:
        assert result.contender.title[:20] in drawing.svg
    assert "one training, one seed" in drawing.svg
    assert "paired difference, points" in drawing.svg


def test_the_network_to_take_is_the_confirmed_one(study: StudyView) -> None:
    confirmation = study.summary.confirmation
    assert confirmation is not None
    assert confirmation.chosen is not None
    assert study.recommended is not None
    assert confirmation.complete
    assert study.summary.recommendation is not None
    pick = study.summary.recommendation.recommended
    assert dict(study.recommended.widths) == dict(confirmation.chosen.widths) != dict(pick.widths)
    assert study.recommended_title == confirmation.chosen.title
    document = compose(study, draw_figures(study))
    (section,) = [section for section in document.sections if section.name == "confirmation"]
    (table,) = section.tables
    assert len(table.rows) == len(confirmation.results)
    assert study.verdict_text not in section.sentences
    facts = dict(compose(study, []).facts)
    assert "±" in facts["validation accuracy, 5 fresh seeds (± s.e.)"]


def test_an_unconfirmed_study_has_none() -> None:
    assert draw_confirmation(make_study(5)) is None
