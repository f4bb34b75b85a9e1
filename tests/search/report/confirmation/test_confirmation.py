"""What a confirmation says, and its table on a terminal of 80 columns."""

import io
import json

import pytest
from rich.console import Console
from widthwise.search.cli.printed_report import confirmation_table
from widthwise.search.report.confirmation.confirmation import Confirmation
from widthwise.search.report.confirmation.contender import Contender
from widthwise.search.report.confirmation.judgement import judge_confirmation
from widthwise.tests.search.report.confirmation.confirmation_inputs import (
    FIELD,
    LARGEST,
    RECOMMENDED,
    evidence,
    trainings,
)


def judged(*, tests: bool = True, field: list[Contender] | None = None) -> Confirmation:
    field = field or FIELD
    runs = []
    for rank, item in enumerate(field):
        for index, run in enumerate(trainings(item, [0.9] * 5)):
            value = 0.95 - 0.01 * rank + 0.001 * (index + rank) ** 0.5
            runs.append(
                type(run)(**{**vars(run), "value": value, "test": value - 0.01 if tests else None})
            )
    return judge_confirmation(field, runs, evidence())


def render(confirmation: Confirmation, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(confirmation_table(confirmation))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_fits_80_columns_and_breaks_no_number():
    names = ("largest that fits", "uniform scaling", "rule of thumb", "today")
    crowded = Contender(
        label="recommended",
        widths=RECOMMENDED.widths,
        costs=RECOMMENDED.costs,
        labels=("recommended", *names),
    )
    confirmation = judged(field=[crowded, *FIELD[1:]])
    text = render(confirmation, 80)
    assert all(len(line) <= 80 for line in text.splitlines())
    for row in confirmation.rows():
        for cell in row[1:]:
            assert cell in text
    assert "…" not in text


def test_rows_hold_seeds_means_differences_tests_and_shares():
    rows = {row[0]: row for row in judged().rows()}
    _, seeds, validation, difference, test, flops, parameters = rows["the search's pick"]
    assert seeds == "5"
    assert validation.startswith("0.951")
    assert difference.startswith("+")
    assert test == "0.9412"
    assert (flops, parameters) == ("40 %", "40 %")
    assert rows["largest that fits"][3] == "—"


def test_without_a_test_split_there_is_a_dash():
    assert {row[4] for row in judged(tests=False).rows()} == {"—"}


def test_json_is_plain_and_finite():
    values = judged().to_json()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["verdict"] == "gain"
    assert values["chosen"] == {"label": "recommended", "widths": {"hidden": 40}}
    assert [item["label"] for item in values["contenders"]] == [item.label for item in FIELD]
    assert values["contenders"][0]["validation"]["mean"] == pytest.approx(0.9513, abs=1e-4)


def test_json_of_a_single_training_has_no_interval():
    runs = trainings(RECOMMENDED, [0.9]) + trainings(LARGEST, [0.8])
    values = judge_confirmation([RECOMMENDED, LARGEST], runs, evidence(), first_seeds=1).to_json()
    json.dumps(values, allow_nan=False)
    assert values["contenders"][0]["validation"]["standard_error"] is None


def test_the_answer_comes_first():
    confirmation = judged()
    assert confirmation.sentences()[0] == confirmation.verdict_text
    assert "25 long trainings" in confirmation.sentences()[-1]
