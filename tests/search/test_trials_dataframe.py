"""`study.trials_dataframe()` of every kind of study, as somebody with Optuna alone reads it."""

from __future__ import annotations

import shutil
from typing import Any

import optuna
import pandas as pd
import pytest
from widthwise.search.trial.watch import Unwatched
from widthwise.storage.ledger.ledger import PlannedTrial
from widthwise.storage.projection.projection import Projection
from widthwise.tests.integrations.example import EXAMPLES
from widthwise.tests.search.bench import HarnessFactory, StudyHarness
from widthwise.tests.search.conftest import SPEC, CommandLine


def _table(url: str, name: str) -> pd.DataFrame:
    """Return the table, after everything that people do with one has been done."""
    table = optuna.load_study(study_name=name, storage=url).trials_dataframe()
    table.to_csv()
    str(table)
    if len(table):
        table.groupby("state")["number"].count()
    return table


def _of(study: StudyHarness) -> pd.DataFrame:
    return _table(str(study.database.url), study.row.name)


def test_an_empty_study_is_an_empty_table(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=3)
    Projection(study.database, study.row)  # makes Optuna's tables
    assert len(_of(study)) == 0


def test_whatever_came_of_a_trial_is_a_row(new_harness: HarnessFactory) -> None:
    faults = {2: "nan", 10: "memory", 4: "raise"}
    study = new_harness(trials=10, widths=10, at_once=1, faults=faults)
    study.run_worker()
    table = _of(study).set_index("params_a")
    records = {record.widths["a"]: record for record in study.records() if record.widths}
    assert set(table.index) == set(records)
    for width, record in records.items():
        row = table.loc[width]
        assert row["user_attrs_origin"] == record.origin
        assert row["user_attrs_parameters"] == 10 * width
        if record.value is None:
            assert pd.isna(row["value_width"])
            assert row["state"] == "FAIL"
        else:
            assert (row["value_width"], row["state"]) == (record.value, "COMPLETE")
    outcomes = table["user_attrs_outcome"].to_dict()
    assert {outcomes[2], outcomes[10]} == {"nan", "out_of_memory"}


def test_pruned_trials_are_rows(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=9, at_once=9, epochs=9, halving={"eta": 3, "first": 1}, widths=30)
    runner = study.runner()
    runner.run_batch(runner.ledger.claim_many(8), Unwatched())
    study.projection.repair()
    states = _of(study)["state"].value_counts().to_dict()
    counts = study.ledger().reader.counts()
    assert counts.pruned > 0
    assert states == {"COMPLETE": counts.complete, "PRUNED": counts.pruned}


def test_settings_of_planned_trials_are_columns(new_harness: HarnessFactory) -> None:
    study = new_harness(trials=1, limits={"parameters": 350})
    overrides: list[dict[str, Any]] = [
        {"proxy.learning_rate": 0.5},
        {"proxy.schedule": "constant", "proxy.halving": None},
        {"proxy.rate_factors": [0.5, 1.0]},
        {},
    ]
    planned = [
        PlannedTrial(widths={"a": 5}, seed=seed, origin="recommended", overrides=changes)
        for seed, changes in enumerate(overrides)
    ]
    too_large = PlannedTrial(widths={"a": 40}, seed=9, origin="recommended", overrides={})
    study.ledger().add_planned([*planned, too_large])
    study.run_worker(all_planned=True)
    table = _of(study)
    assert len(table) == 6
    assert table["user_attrs_proxy.learning_rate"].dropna().to_list() == [0.5]
    assert table["user_attrs_proxy.rate_factors"].dropna().to_list() == [[0.5, 1.0]]
    assert len(table[table["params_a"] == 5]["user_attrs_seed"].unique()) >= 4
    assert table[table["params_a"] == 40]["state"].to_list() == ["PRUNED"]


@pytest.mark.slow
def test_studies_that_follow_up_and_own_trainings_are_tables(cli: CommandLine) -> None:
    spec = SPEC.replace("trials = 8", "trials = 4").replace(
        "epochs = 2", 'epochs = 2\nreport = ["f1_macro"]'
    )
    cli.write("iris.toml", spec)
    for file in EXAMPLES.glob("policy_gradient.*"):
        shutil.copy(file, cli.folder)
    for arguments in (
        ["run", "iris.toml", "--no-confirm"],
        ["sweep", "iris", "--width", "a", "--values", "4,8", "--at", "b=4", "--seeds", "2"],
        ["sweep", "iris", "--rows", "0.5,1", "--at", "a=4,b=4", "--seeds", "2"],
        ["refine", "iris", "--trials", "3"],
        ["run", "policy_gradient.toml", "--trials", "1", "--no-confirm"],
    ):
        done = cli(*arguments)
        assert done.code == 0, done.err
    names = optuna.get_all_study_names(cli.storage)
    assert len(names) == 5
    for name in names:
        table = _table(cli.storage, name)
        assert len(table), name
        assert set(table["state"]) <= {"COMPLETE", "PRUNED"}, name
        [values] = [column for column in table.columns if column.startswith("value_")]
        assert table[values].notna().any(), name
        assert {"user_attrs_origin", "user_attrs_seed"} <= set(table.columns), name
    assert _table(cli.storage, "iris")["user_attrs_f1_macro"].between(0, 1).all()


@pytest.mark.slow
def test_a_confirmation_is_a_table(iris_cli: CommandLine) -> None:
    names = optuna.get_all_study_names(iris_cli.storage)
    assert set(names) <= {"iris", "iris/confirmation"}
    for name in names:
        table = _table(iris_cli.storage, name)
        assert table["value_accuracy"].notna().any()
