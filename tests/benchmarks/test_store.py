"""The store benchmark: both sides record, and the figures have their form; no speed is judged."""

import json

import pytest
from widthwise.benchmarks.store import __main__ as command
from widthwise.benchmarks.store import measure, ours, stock
from widthwise.storage.database.database import Database, resolve_url
from widthwise.storage.ledger.queries import LedgerReader
from widthwise.storage.study.study import load_study


def trials_of(url, study_name):
    with Database.open(resolve_url(url, {})) as database:
        storage = database.optuna_storage()
        return storage.get_all_trials(storage.get_study_id_from_name(study_name))


def comparable(trial):
    attributes = {key: value for key, value in trial.user_attrs.items() if key != "slot"}
    return (
        trial.state,
        trial.values,
        trial.intermediate_values,
        trial.distributions,
        trial.constraints,
        attributes,
    )


@pytest.mark.parametrize("batch", [1, 32])
def test_both_sides_record_the_same_trials(database_url, batch):
    ours.prepare(database_url, 3, 40)
    stock.prepare(database_url, 3, 40)
    recorder = ours.Recorder(database_url, batch=batch)
    assert recorder.step() == batch
    recorder.close()
    recorder = stock.Recorder(database_url, batch=1)
    assert recorder.step() == 1
    recorder.close()
    our_trials, stock_trials = (
        trials_of(database_url, ours.STUDY),
        trials_of(database_url, stock.STUDY),
    )
    assert (len(our_trials), len(stock_trials)) == (3 + batch, 4)
    assert all(
        comparable(trial) == comparable(stock_trials[-1]) for trial in [*our_trials, *stock_trials]
    )


def test_a_claim_takes_one_trial_on_either_side(tmp_path):
    url = f"sqlite:///{tmp_path / 'w.db'}"
    for side, module in {"stock": stock, "one at a time": ours}.items():
        module.prepare(url, 1, 2 * measure.CLAIM_COUNT)
        assert measure.claim_ms(url, side) > 0
    assert len(trials_of(url, stock.STUDY)) == 1 + 2 * measure.CLAIM_COUNT
    with Database.open(resolve_url(url, {})) as database:
        counts = LedgerReader(database, load_study(database, ours.STUDY)).counts()
    assert (counts.complete, counts.running) == (1 + measure.CLAIM_COUNT, measure.CLAIM_COUNT)


def test_a_budget_that_is_spent_gives_no_more(tmp_path):
    url = f"sqlite:///{tmp_path / 'w.db'}"
    ours.prepare(url, 2, 1)
    recorder = ours.Recorder(url, batch=8)
    assert (recorder.step(), recorder.step()) == (1, 0)
    assert recorder.ledger.reader.counts().complete == 3
    recorder.close()


def test_the_command_writes_every_figure(tmp_path, monkeypatch, capsys):
    def rates(url, side, present, workers, seconds):
        assert url.startswith("sqlite:///")
        for number in workers:
            row = {"side": side, "present": present, "workers": number}
            yield {**row, "per_second": 2.0 if side == "stock" else 20.0, "cpu_ms": 3.0}

    monkeypatch.setattr(command, "rates", rates)
    monkeypatch.setattr(command, "measure_cold_start", lambda *_: (1.5, 0.5))
    monkeypatch.setattr(command, "claim_ms", lambda *_: 2.0)
    out = tmp_path / "out.json"
    assert command.main(["--quick", "--sqlite-only", "--json", str(out)]) == 0
    payload = json.loads(out.read_text())
    assert {row["side"] for row in payload["rates"]} == set(measure.SIDES)
    assert {row["ratio"] for row in payload["rates"]} == {1.0, 10.0}
    assert [(row["seconds"], row["cpu_seconds"]) for row in payload["first_claim"]] == [
        (1.5, 0.5)
    ] * 3
    assert {row["side"]: row["claim_ms"] for row in payload["claims"]} == {
        "stock": 2.0,
        "one at a time": 2.0,
    }
    assert "| sqlite | 100 | 2 | one at a time | 20 | 3 | 10 |" in capsys.readouterr().out
