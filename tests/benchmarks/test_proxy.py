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
from widthwise.objectives.engines.base import Member, Training, Unsuitable
from widthwise.objectives.engines.choose import Choice
from widthwise.objectives.engines.plain import PlainEngine, PlainTeam
from widthwise.objectives.model.objective import make_objective
from widthwise.objectives.training.settings import ProxySettings

from benchmarks.learning_rate.signals import POINTS, signals
from benchmarks.proxy import __main__ as command
from benchmarks.proxy import honesty, search_cost, speed
from benchmarks.proxy.by_hand import by_hand
from benchmarks.proxy.difference import difference
from benchmarks.proxy.tables import search_table, speed_table
from benchmarks.proxy.transformer import build_transformer
from benchmarks.proxy.workloads import Workload, doubled, log_uniform, mlp, uniform, workloads

CPU = torch.device("cpu")
PLAN = speed.Plan(candidates=3, heavy=2, rows=100, epochs=2, rounds=1, compared=2)


class Slanted:
    """The plain engine at another rate."""

    name = "dense"

    def __init__(self, slant: float) -> None:
        self._slant = slant

    def start(self, training: Training, members: Sequence[Member]) -> PlainTeam:
        slanted = [replace(one, learning_rate=one.learning_rate * self._slant) for one in members]
        return PlainEngine().start(training, slanted)


class Choosy:
    """Serves nothing."""

    name = "stacked"

    def start(self, *_: object) -> PlainTeam:
        raise Unsuitable("it will not")


@pytest.fixture
def small() -> Workload:
    return mlp("4-8 uniform", uniform(4, 8), signals(100, 50, seed=0))


def test_every_workload_trains_and_its_candidates_differ() -> None:
    found = workloads(64)
    assert {one.family for one in found} >= {"mlp", "cnn", "transformer"}
    for one in found:
        candidates = one.candidates(3)
        assert len({tuple(c.widths.values()) for c in candidates}) == 3
        assert candidates == one.candidates(3)
        model = one.objective.build(candidates[0].widths)
        split = one.objective.data.train
        loss = one.objective.loss(model(split.inputs), split.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is not None for p in model.parameters())


def test_widths_are_drawn_as_they_say() -> None:
    random = np.random.default_rng(0)
    steps = {uniform(16, 64, step=16)(random) for _ in range(200)}
    assert steps == {16, 32, 48, 64}
    octaves = np.array([log_uniform(8, 256)(random) for _ in range(2000)])
    assert (octaves.min(), octaves.max()) == (8, 256)
    assert 0.45 < np.mean(octaves < np.sqrt(8 * 256)) < 0.55


def test_the_transformer_has_the_widths_asked_for() -> None:
    widths = {"model": 24, "heads": 3, "feed_forward": 10}
    model = build_transformer(widths, points=POINTS, outputs=4)
    shapes = {tuple(p.shape) for p in model.parameters()}
    assert {(24, 2), (24, 24), (10, 24), (24, 10), (4, 24), (20, 24)} <= shapes
    assert model(torch.zeros(5, POINTS)).shape == (5, 4)


def test_no_difference_is_found_where_there_is_none_and_one_where_there_is(
    small: Workload,
) -> None:
    candidates, settings = small.candidates(2), ProxySettings(epochs=1, patience=0)
    found = [
        difference(Slanted(slant), small.objective, candidates, settings, CPU)
        for slant in (1.0, 1 + 1e-6)
    ]
    assert found[0] == 0
    assert 1e-9 < found[1] < 1e-5


def test_an_objective_in_float64_starts_from_the_same_weights(small: Workload) -> None:
    widths = small.candidates(1)[0].widths
    models = []
    for objective in (small.objective, doubled(small.objective)):
        torch.manual_seed(0)
        models.append(objective.build(widths))
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert other.dtype == torch.float64
        assert torch.equal(one.double(), other)


def test_the_loop_by_hand_learns_what_the_plain_engine_learns() -> None:
    data = signals(400, 200, seed=0)
    work = mlp("32", uniform(32, 40), data)
    settings = ProxySettings(epochs=6, patience=0, learning_rate=3e-3)
    candidates = work.candidates(2)
    mine = by_hand(work.objective, candidates, settings, CPU)
    plain = search_cost._together(work, candidates, settings, PlainEngine())
    assert np.mean(mine) == pytest.approx(np.mean(plain), abs=0.1)
    assert min(mine) > 0.2


@pytest.fixture
def chooser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the chooser takes, the engine named last; the true one would compile for its trial."""
    names = ["plain"]
    monkeypatch.setattr(speed, "choose", lambda *_, **__: Choice(engine=speed.ENGINES[names[-1]]()))
    return names


def test_rows_say_who_serves_and_what_the_chooser_took(
    small: Workload, chooser: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = {"dense": lambda: Slanted(1.5), "stacked": Choosy, "replay": speed.ENGINES["replay"]}
    monkeypatch.setattr(speed, "ENGINES", engines)
    chooser.append("replay")
    rows = {row["engine"]: row for row in speed.measure(small, PLAN, list(engines), CPU, 32)}
    assert rows["stacked"]["refused"] == "it will not"
    assert rows["dense"]["equal"] is False
    assert rows["replay"]["equal"] is True
    assert rows["replay"]["max_error"] == 0
    assert rows["auto"]["chosen"] == "replay"
    assert rows["auto"]["ratios"] == rows["replay"]["ratios"]
    assert rows["loop by hand"]["ratio_to_plain"] > 0
    shown = speed_table(list(rows.values()))
    assert "does not serve: it will not" in shown
    assert "| NO |" in shown


@pytest.mark.usefixtures("chooser")
def test_the_chooser_taking_the_plain_engine_is_a_ratio_of_one(small: Workload) -> None:
    rows = {row["engine"]: row for row in speed.measure(small, PLAN, [], CPU, 32)}
    assert rows["auto"]["chosen"] == "plain"
    assert (rows["auto"]["ratio_to_plain"], rows["auto"]["equal"]) == (1.0, True)


def test_the_chooser_is_shown_the_narrowest_and_the_widest(
    small: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []

    def choose(_: Training, samples: Sequence[Member], **__: int) -> Choice:
        shown.extend(sum(one.widths.values()) for one in samples)
        return Choice(engine=PlainEngine())

    monkeypatch.setattr(speed, "choose", choose)
    list(speed.measure(small, PLAN, [], CPU, 32))
    sizes = [sum(one.widths.values()) for one in small.candidates(PLAN.candidates)]
    assert (shown[0], shown[-1]) == (min(sizes), max(sizes))


@pytest.mark.usefixtures("chooser")
def test_the_json_has_the_promised_form(
    tmp_path: Path,
    small: Workload,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "workloads", lambda _: [small])
    monkeypatch.setattr(speed, "QUICK", PLAN)
    out = tmp_path / "out.json"
    assert command.main(["--quick", "--engines", "replay,stacked", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert {"replay", "stacked"} <= {row["engine"] for row in rows}
    for row in rows:
        assert list(row) == list(command.PROMISED)
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
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_the_search_cost_names_the_true_winner(small: Workload) -> None:
    plan = search_cost.Plan(candidates=4, epochs=4, draws=1, firsts=(1.0,))
    rows = {row["way"]: row for row in search_cost.draws(small, plan, PlainEngine())}
    assert set(rows) == {search_cost.TRUTH, search_cost.HYPERBAND, "halving from 1, plain"}
    assert rows[search_cost.TRUTH]["same_winner"] is True
    assert rows[search_cost.HYPERBAND]["cheaper"] == 1
    shown = search_table(list(rows.values()))
    assert "The best of 4 MLPs, 4-8 uniform" in shown
    assert shown.count("1 of 1") >= 1
    for row in rows.values():
        assert row["same_winner"] is (row["regret"] == 0)
        assert row["regret"] >= 0


def test_further_draws_are_the_engines_alone(small: Workload) -> None:
    plan = search_cost.Plan(candidates=4, epochs=4, draws=1, more=2, firsts=(1.0,))
    rows = list(search_cost.draws(small, plan, PlainEngine()))
    further = [row for row in rows if row["draw"] > 0]
    assert [row["way"] for row in further] == ["halving from 1, plain"] * 2
    assert all(row["cheaper"] is None for row in further)
    shown = search_table(rows)
    assert "| full, plain |" in shown
    assert "of 3 |" in shown


def test_hyperband_trains_what_it_does_not_prune_as_everybody_does(small: Workload) -> None:
    settings, candidates = ProxySettings(epochs=9, patience=0), small.candidates(8)
    found = np.array(search_cost.hyperband(small.objective, candidates, settings))
    whole = np.array(search_cost._together(small, candidates, settings, PlainEngine()))
    kept = np.isfinite(found)
    assert 0 < kept.sum() < 8
    assert (found[kept] == whole[kept]).all()


TINY = honesty.Plan(
    candidates=5, rows=(64, 40, 50), lengths=(1, 2), epochs=3, truths=1, proxies=3, limit=20_000
)


def test_the_pools_are_what_they_are_called() -> None:
    free, full = honesty.pools(TINY).values()
    assert len(free) == len(full) == 5
    assert all(18_000 <= honesty.parameters(widths) <= 20_000 for widths in full)
    data = signals(20, 10, seed=0)
    model = make_objective(family="mlp", data=data, base=Path()).build(full[0])
    assert honesty.parameters(full[0]) == sum(p.numel() for p in model.parameters())


def test_tau_and_regret_by_hand() -> None:
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    found = honesty._figures(truth, [np.array([1, 2, 3, 4]), np.array([4, 3, 2, 1])])
    assert found == pytest.approx({"tau": 0, "standard_error": 1, "regret": 0.15})
    tied = honesty._figures(truth, [np.array([1, 1, 5, 5])])
    assert tied["regret"] == pytest.approx(0.05)
    assert tied["standard_error"] is None


def test_proxies_stand_next_to_parameter_count() -> None:
    rows: list[dict[str, Any]] = list(honesty.judge(TINY, "mup", PlainEngine()))
    names = {row["proxy"] for row in rows}
    assert names == {"parameter count", "1 epochs", "2 epochs", "2 epochs, halving"}
    assert {row.get("replicas") for row in rows} == {None, 1, 3}
    for row in rows:
        assert -1 <= row["tau"] <= 1
        assert row["regret"] >= 0
    spent = {(row["proxy"], row.get("replicas")): row["epochs"] for row in rows}
    assert spent["2 epochs", 3] == 6
    assert 1 < spent["2 epochs, halving", 1] < 2
