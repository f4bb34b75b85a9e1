"""Tables of a report."""

from __future__ import annotations

from widthwise.search.report.page.tables import MAX_TRIALS, comparison, trials
from widthwise.tests.search.report.made_study import make_study


def test_of_many_trials_a_stated_selection_is_listed() -> None:
    study = make_study(300, names=("a", "b", "c"), limits={"parameters": 90_000})
    table = trials(study)
    assert len(table.rows) == MAX_TRIALS
    assert table.note.startswith("200 of 300 trials, from the best to the worst: the best 100,")
    values = [float(row.cells[3]) for row in table.rows]
    assert values == sorted(values, reverse=True)


def test_the_recommended_one_is_strong() -> None:
    study = make_study(8)
    assert study.recommended is not None
    for table in (trials(study), comparison(study)):
        assert len([row for row in table.rows if row.strong]) == 1
    (strong,) = [row for row in trials(study).rows if row.strong]
    assert strong.cells[0] == str(study.recommended.number)


def test_rows_fill_the_columns() -> None:
    for table in (trials(make_study(5)), comparison(make_study(5))):
        assert {len(row.cells) for row in table.rows} == {len(table.columns)}
