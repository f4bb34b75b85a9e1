"""The proxy benchmark: its figures mean what they say, and its JSON has the promised form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from widthwise.objectives.engines.base import EngineUnsupported, Member, Session, TrainingSetup
from widthwise.objectives.engines.choose import EngineChoice
from widthwise.objectives.engines.plain import PlainEngine
from widthwise.objectives.engines.registry import ENGINES
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.settings import ProxySettings

from benchmarks.learning_rate.signals import SIGNAL_LENGTH, signals
from benchmarks.proxy import __main__ as command
from benchmarks.proxy import honesty, search_cost, speed
from benchmarks.proxy.by_hand import train_by_hand
from benchmarks.proxy.difference import max_difference
from benchmarks.proxy.tables import search_table, speed_table
from benchmarks.proxy.transformer import build_transformer
from benchmarks.proxy.workloads import Workload, as_float64, log_uniform, mlp, uniform, workloads

CPU = torch.device("cpu")
PLAN = speed.Plan(candidates=3, heavy=2, rows=100, epochs=2, rounds=1, compared_candidates=2)


class SkewedRateEngine:
    """The plain engine at another rate."""

    name = "dense"

    def __init__(self, slant: float) -> None:
        self._slant = slant

    def start(self, training: TrainingSetup, members: Sequence[Member]) -> Session:
        slanted = [
            replace(member, learning_rate=member.learning_rate * self._slant) for member in members
        ]
        return PlainEngine().start(training, slanted)


class UnsupportedEngine:
    """Serves nothing."""

    name = "stacked"

    def start(self, *_: object) -> Session:
        raise EngineUnsupported("it will not")


@pytest.fixture
def small_workload() -> Workload:
    return mlp("4-8 uniform", uniform(4, 8), signals(100, 50, seed=0))


def test_every_workload_trains_and_its_candidates_differ() -> None:
    workloads_made = workloads(64)
    assert {workload.family for workload in workloads_made} >= {"mlp", "cnn", "transformer"}
    for workload in workloads_made:
        candidates = workload.candidates(3)
        assert len({tuple(c.widths.values()) for c in candidates}) == 3
        assert candidates == workload.candidates(3)
        model = workload.objective.build(candidates[0].widths)
        split = workload.objective.data.train
        loss = workload.objective.loss(model(split.inputs), split.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None for p in model.parameters())


def test_widths_are_sampled_as_documented() -> None:
    random = np.random.default_rng(0)
    steps = {uniform(16, 64, step=16)(random) for _ in range(200)}
    assert steps == {16, 32, 48, 64}
    octaves = np.array([log_uniform(8, 256)(random) for _ in range(2000)])
    assert (octaves.min(), octaves.max()) == (8, 256)
    assert 0.45 < np.mean(octaves < np.sqrt(8 * 256)) < 0.55


def test_the_transformer_has_the_widths_asked_for() -> None:
    widths = {"model": 24, "heads": 3, "feed_forward": 10}
    model = build_transformer(widths, points=SIGNAL_LENGTH, outputs=4)
    shapes = {tuple(p.shape) for p in model.parameters()}
    assert {(24, 2), (24, 24), (10, 24), (24, 10), (4, 24), (20, 24)} <= shapes
    assert model(torch.zeros(5, SIGNAL_LENGTH)).shape == (5, 4)


def test_no_difference_is_found_where_there_is_none_and_one_where_there_is(
    small_workload: Workload,
) -> None:
    candidates, settings = small_workload.candidates(2), ProxySettings(epochs=1, patience=0)
    actual = [
        max_difference(SkewedRateEngine(slant), small_workload.objective, candidates, settings, CPU)
        for slant in (1.0, 1 + 1e-6)
    ]
    assert actual[0] == 0
    assert 1e-9 < actual[1] < 1e-5


def test_an_objective_in_float64_starts_from_the_same_weights(small_workload: Workload) -> None:
    widths = small_workload.candidates(1)[0].widths
    models = []
    for objective in (small_workload.objective, as_float64(small_workload.objective)):
        torch.manual_seed(0)
        models.append(objective.build(widths))
    for parameter, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert other.dtype == torch.float64
        assert torch.equal(parameter.double(), other)


def test_the_loop_by_hand_learns_what_the_plain_engine_learns() -> None:
    data = signals(400, 200, seed=0)
    work = mlp("32", uniform(32, 40), data)
    settings = ProxySettings(epochs=6, patience=0, learning_rate=3e-3)
    candidates = work.candidates(2)
    by_hand_results = train_by_hand(work.objective, candidates, settings, CPU)
    plain = search_cost.train_all(work, candidates, settings, PlainEngine())
    assert np.mean(by_hand_results) == pytest.approx(np.mean(plain), abs=0.1)
    assert min(by_hand_results) > 0.2


def always(name: str) -> speed.Chooser:
    """A choice that is made beforehand: the true one would compile for its calibration."""
    return lambda *_, **__: EngineChoice(engine=ENGINES[name].create())


def test_rows_say_which_engines_serve_and_which_was_chosen(small_workload: Workload) -> None:
    engines = {
        "dense": replace(ENGINES["dense"], create=lambda: SkewedRateEngine(1.5)),
        "stacked": replace(ENGINES["stacked"], create=UnsupportedEngine),
        "replay": ENGINES["replay"],
    }
    measured = speed.measure(
        small_workload, PLAN, list(engines), CPU, 32, engines=engines, choose=always("replay")
    )
    rows = {row["engine"]: row for row in measured}
    assert rows["stacked"]["refused"] == "it will not"
    assert rows["dense"]["equal"] is False
    assert rows["replay"]["equal"] is True
    assert rows["replay"]["max_error"] == 0
    assert rows["auto"]["chosen"] == "replay"
    assert rows["auto"]["ratios"] == rows["replay"]["ratios"]
    assert rows["loop by hand"]["ratio_to_plain"] > 0
    output = speed_table(list(rows.values()))
    assert "does not serve: it will not" in output
    assert "| NO |" in output


def test_a_choice_of_the_plain_engine_is_a_ratio_of_one(small_workload: Workload) -> None:
    measured = speed.measure(small_workload, PLAN, [], CPU, 32, choose=always("plain"))
    rows = {row["engine"]: row for row in measured}
    assert rows["auto"]["chosen"] == "plain"
    assert (rows["auto"]["ratio_to_plain"], rows["auto"]["equal"]) == (1.0, True)


def test_the_engine_is_chosen_on_the_narrowest_and_the_widest(small_workload: Workload) -> None:
    sample_sizes: list[int] = []

    def choose(_: TrainingSetup, samples: Sequence[Member], **__: Any) -> EngineChoice:
        sample_sizes.extend(sum(member.widths.values()) for member in samples)
        return EngineChoice(engine=PlainEngine())

    list(speed.measure(small_workload, PLAN, [], CPU, 32, choose=choose))
    sizes = [
        sum(candidate.widths.values()) for candidate in small_workload.candidates(PLAN.candidates)
    ]
    assert (sample_sizes[0], sample_sizes[-1]) == (min(sizes), max(sizes))


def test_the_json_has_the_promised_form(
    tmp_path: Path,
    small_workload: Workload,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "workloads", lambda _: [small_workload])
    monkeypatch.setattr(speed, "QUICK", PLAN)
    out = tmp_path / "out.json"
    assert command.main(["--quick", "--engines", "replay,stacked", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert {"replay", "stacked"} <= {row["engine"] for row in rows}
    for row in rows:
        assert list(row) == list(command.JSON_KEYS)
        assert row["equal"] is True
        assert row["max_error"] <= 1e-9
        assert (row["family"], row["candidates"], row["device"]) == ("mlp", 3, "cpu")
    assert "GPU rows were not measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--device", "cuda:99"], "device 'cuda:99' is not there", id="no GPU"),
        pytest.param(["--engines", "magic"], "no engine 'magic'", id="engine"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    output = capsys.readouterr().err
    assert message in output
    assert output.count("\n") == 1


def test_the_search_cost_names_the_true_winner(small_workload: Workload) -> None:
    plan = search_cost.Plan(candidates=4, epochs=4, draw_count=1, first_rungs=(1.0,))
    rows = {
        row["way"]: row for row in search_cost.measure_draws(small_workload, plan, PlainEngine())
    }
    assert set(rows) == {search_cost.TRUTH, search_cost.HYPERBAND, "halving from 1, plain"}
    assert rows[search_cost.TRUTH]["same_winner"] is True
    assert rows[search_cost.HYPERBAND]["cheaper"] == 1
    output = search_table(list(rows.values()))
    assert "The best of 4 MLPs, 4-8 uniform" in output
    assert output.count("1 of 1") >= 1
    for row in rows.values():
        assert row["same_winner"] is (row["regret"] == 0)
        assert row["regret"] >= 0


def test_further_draws_are_the_engines_alone(small_workload: Workload) -> None:
    plan = search_cost.Plan(candidates=4, epochs=4, draw_count=1, extra_draws=2, first_rungs=(1.0,))
    rows = list(search_cost.measure_draws(small_workload, plan, PlainEngine()))
    further = [row for row in rows if row["draw"] > 0]
    assert [row["way"] for row in further] == ["halving from 1, plain"] * 2
    assert all(row["cheaper"] is None for row in further)
    output = search_table(rows)
    assert "| full, plain |" in output
    assert "of 3 |" in output


def test_hyperband_trains_what_it_does_not_prune_as_everybody_does(
    small_workload: Workload,
) -> None:
    settings, candidates = ProxySettings(epochs=9, patience=0), small_workload.candidates(8)
    actual = np.array(
        search_cost.train_with_hyperband(small_workload.objective, candidates, settings)
    )
    whole = np.array(search_cost.train_all(small_workload, candidates, settings, PlainEngine()))
    kept = np.isfinite(actual)
    assert 0 < kept.sum() < 8
    assert (actual[kept] == whole[kept]).all()


TINY = honesty.Plan(
    candidates=5,
    rows=(64, 40, 50),
    proxy_epochs=(1, 2),
    truth_epochs=3,
    truth_seeds=1,
    proxy_seeds=3,
    limit=20_000,
)


def test_the_pools_are_what_they_are_called() -> None:
    free, full = honesty.make_pools(TINY).values()
    assert len(free) == len(full) == 5
    assert all(18_000 <= honesty.parameter_count(widths) <= 20_000 for widths in full)
    data = signals(20, 10, seed=0)
    model = make_objective(family="mlp", data=data, base=Path()).build(full[0])
    assert honesty.parameter_count(full[0]) == sum(p.numel() for p in model.parameters())


def test_tau_and_regret_by_hand() -> None:
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    actual = honesty.rank_figures(truth, [np.array([1, 2, 3, 4]), np.array([4, 3, 2, 1])])
    assert actual == pytest.approx({"tau": 0, "standard_error": 1, "regret": 0.15})
    tied = honesty.rank_figures(truth, [np.array([1, 1, 5, 5])])
    assert tied["regret"] == pytest.approx(0.05)
    assert tied["standard_error"] is None


def test_proxies_stand_next_to_parameter_count() -> None:
    rows: list[dict[str, Any]] = list(honesty.measure_rank_fidelity(TINY, "mup", PlainEngine()))
    names = {row["proxy"] for row in rows}
    assert names == {"parameter count", "1 epochs", "2 epochs", "2 epochs, halving"}
    assert {row.get("replicas") for row in rows} == {None, 1, 3}
    for row in rows:
        assert -1 <= row["tau"] <= 1
        assert row["regret"] >= 0
    spent = {(row["proxy"], row.get("replicas")): row["epochs"] for row in rows}
    assert spent["2 epochs", 3] == 6
    assert 1 < spent["2 epochs, halving", 1] < 2
